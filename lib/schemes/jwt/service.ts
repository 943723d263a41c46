import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Foreign, Invalid } from '../../../types/outcome.js'
import type { PrincipalInput } from '../../../types/principal.js'
import type { SchemeContext } from '../../../types/scheme.js'
import type { StoreOwner } from '../../../types/store.js'
import type {
  GrantedTokens, GrantOptions, IssuedTokens, PublicJwkSet, RefreshGrant, RefreshOptions, Revocation, TokenFeature,
  TokenService
} from '../../../types/tokens.js'
import { AuthError, misconfigured } from '../../errors.js'
import { publish } from '../../events/events.js'
import { clockProblem, type Claims } from '../../jose/claims.js'
import { publicJwkSet } from '../../jose/jwk.js'
import { principalFrom } from '../../kit/principal.js'
import { atRunTime } from '../../util/options.js'
import { report } from '../../util/reports.js'
import type { TokenAuthenticator } from './authenticate.js'
import { Grants } from './grants.js'
import type { JwtSettings } from './options.js'
import { type IsClient, isFamilyId, type LiveTokens, type OwnTokens } from './own-tokens.js'
import { clientPrefix, createIssue, createSigner, type Signer, type SignSetup } from './sign.js'

/** The parts of a signing scheme that its functions for applications use. */
export interface TokenParts {
  readonly setup: SignSetup
  readonly settings: JwtSettings
  readonly context: SchemeContext
  readonly authenticator: TokenAuthenticator
  readonly own: OwnTokens
  readonly live: LiveTokens | null
}

/** Creates the functions of a signing scheme for applications. */
export async function createTokens (app: FastifyInstance, parts: TokenParts): Promise<TokenFeature> {
  const { setup: { sign: { refresh }, trust: { rules }, name, path }, settings, context, live, own } = parts
  const signer = await createSigner(app, parts.setup)
  const issue = createIssue(signer)
  const { issuer, audience } = rules
  if (issuer === null || audience === null) {
    if (refresh === null) return Object.freeze({ issue })
    throw misconfigured(
      `The option ${path}.sign.refresh needs an issuer and an audience, which refresh tokens are bound to.`
    )
  }
  const { store, grants: hasPermission, load: pluginLoad } = context
  if (refresh !== null && settings.load === null && pluginLoad === null) {
    report(app, 'refresh-without-load', `${path}.sign.refresh`)
  }
  const resource = String(audience[0])
  const grants = new Grants({
    scheme: name,
    signer,
    issuer,
    resource,
    refresh,
    store,
    live,
    load: settings.load,
    pluginLoad,
    grants: hasPermission,
    hasClient: client => own.hasClient(client)
  })
  const service = new OwnTokenService({ ...parts, signer, grants, issuer, audiences: audience })
  const common = {
    issue,
    revoke: (token: string) => service.revoke(token, null),
    of: (owner: StoreOwner) => grants.of(owner),
    jwks: createJwksCall(app, service),
    service
  }
  if (refresh === null) return Object.freeze(common)
  return Object.freeze({
    ...common,
    grant: (principal: PrincipalInput, options: GrantOptions) => grants.grant(principal, options),
    refresh: async (request: FastifyRequest, token: unknown, { client = signer.client, scopes }: RefreshOptions) =>
      await service.refresh(request, token, { client, scopes }) as GrantedTokens | Invalid | Foreign
  })
}

/** Creates the call `jwks`. For keys that cannot be published, it stops the boot, and is a fault later. */
function createJwksCall (app: FastifyInstance, service: TokenService): () => PublicJwkSet {
  let isBooted = false
  app.addHook('onReady', async () => { isBooted = true })
  return () => isBooted ? atRunTime(() => service.jwks()) : service.jwks()
}

interface ServiceParts extends TokenParts {
  readonly signer: Signer
  readonly grants: Grants
  readonly issuer: string
  readonly audiences: readonly string[]
}

/** Issues and ends the tokens of one signing scheme. */
class OwnTokenService implements TokenService {
  readonly scheme: string
  readonly issuer: string
  readonly resource: string
  readonly audiences: readonly string[]
  readonly scopes: readonly string[] | null
  readonly realm: string
  readonly expiresIn: number
  readonly canRefresh: boolean
  readonly firstParty: string
  readonly #parts: ServiceParts

  constructor (parts: ServiceParts) {
    const { setup: { name, sign }, settings, signer, issuer, audiences } = parts
    this.scheme = name
    this.issuer = issuer
    this.resource = String(audiences[0])
    this.audiences = audiences
    this.scopes = settings.resource?.scopes ?? null
    this.realm = signer.realm
    this.expiresIn = signer.expiresIn
    this.canRefresh = sign.refresh !== null
    this.firstParty = signer.client
    this.#parts = parts
    Object.freeze(this)
  }

  begin: TokenService['begin'] = async grant => await this.#parts.grants.begin(grant)

  end: TokenService['end'] = async handle => await this.#parts.grants.end(handle)

  async clientToken (client: string, scopes: readonly string[]): Promise<IssuedTokens> {
    const { signer } = this.#parts
    const principal = principalFrom({ id: `${clientPrefix}${client}`, scopes, roles: [] }, this.issuer)
    const content = { principal, scopes, client, grant: null, authenticatedAt: null }
    const { accessToken, expiresIn, announce } = await signer.sign(content)
    announce()
    return { access_token: accessToken, token_type: 'Bearer', expires_in: expiresIn, scope: scopes.join(' ') }
  }

  async refresh (
    request: FastifyRequest, token: unknown, options: RefreshGrant
  ): Promise<IssuedTokens | Invalid | Foreign> {
    return await this.#parts.grants.refresh(request, token, options)
  }

  async holds (token: string, client: string): Promise<boolean> {
    return await this.#parts.grants.holds(token, client)
  }

  async revoke (token: string, client: string | null): Promise<Revocation> {
    const revoked = await this.#parts.grants.revoke(token, client)
    if (revoked !== 'unknown') return revoked
    const claims = await this.#verify(token)
    if (claims === null) return 'unknown'
    if (client !== null && claims['client_id'] !== client) return 'foreign client'
    return await this.#end(claims)
  }

  async introspect (request: FastifyRequest, token: string): Promise<Claims | null> {
    const { authenticator, live } = this.#parts
    const claims = await this.#verify(token)
    if (claims === null || await live?.isEndedNow(claims) === true) return null
    const outcome = await authenticator.authenticateToken(token, request)
    if (outcome.kind === 'unavailable') throw new AuthError('AUTH_UNAVAILABLE', outcome.detail)
    return outcome.kind === 'authenticated' ? claims : null
  }

  jwks (): PublicJwkSet {
    return publicJwkSet(this.#parts.signer.keys, this.#parts.setup.path)
  }

  checkClients (isClient: IsClient): void {
    this.#parts.own.checkClients(isClient)
  }

  /** Returns the claims of a token of this scheme that has a good signature and has not expired, otherwise `null`. */
  async #verify (token: string): Promise<Claims | null> {
    const verified = await this.#parts.authenticator.verify(token)
    if ('credential' in verified) {
      const { claims } = verified.credential
      return clockProblem(claims, this.#parts.settings.clock, Date.now() / 1000) === null ? claims : null
    }
    if (verified.kind === 'unavailable') throw new AuthError('AUTH_UNAVAILABLE', verified.detail)
    return null
  }

  /** Ends the grant of an access token, or a token that belongs to none. */
  async #end (claims: Claims): Promise<Revocation> {
    const { live, grants, settings, setup: { name }, signer } = this.#parts
    if (live === null) return 'unsupported'
    const { sid, jti = null, sub = '' } = claims
    if (isFamilyId(sid)) return await grants.endFamily(sid) ? 'revoked' : 'unknown'
    if (!await live.end(claims, settings.clock.tolerance)) return 'unknown'
    const client = claims['client_id'] === signer.client ? null : String(claims['client_id'])
    const realm = sub.startsWith(clientPrefix) ? this.issuer : this.realm
    publish('token-revoked', { scheme: name, grant: null, tokenId: jti, realm, id: sub, client })
    return 'revoked'
  }
}
