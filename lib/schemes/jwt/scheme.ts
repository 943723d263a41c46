import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { GrantOptions, RefreshOptions, TokenFeature } from '../../../types/features.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Load, Scheme, SchemeContext, SchemeFactory } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { bearerChallenge } from '../../kit/challenge.js'
import { markAmbient, traits } from '../../kit/read-credential.js'
import { TokenAuthenticator } from './authenticate.js'
import { Grants } from './grants.js'
import { createIssuers } from './issuers.js'
import { parseJwtOptions } from './options.js'
import type { JwtCredential, JwtOptions } from './options.js'
import { createResource } from './resource.js'
import { createIssue, createSigner, type SignSetup } from './sign.js'

export type {
  ClaimsMapping, IssuerResolver, JwtCredential, JwtIssuer, JwtOptions, SignOptions, TokenClaims
} from './options.js'
export type { RefreshTokenOptions } from './refresh-options.js'
export type { ResourceOptions } from './resource.js'
export type { Algorithm } from '../../jose/algorithms.js'
export type { Claims } from '../../jose/claims.js'
export type { JoseHeader } from '../../jose/jws.js'
export type { JwkSet, StaticKeys } from '../../jose/keyring.js'
export type { Jwk, KeyMaterial } from '../../jose/key-material.js'
export type { KeyResolver } from '../../jose/keyring.js'

/**
 * Creates a scheme for JSON Web Tokens (RFC 7519, 8725, 9068). A token of another issuer, or a text that is not a JWT,
 * is *foreign*: the guard tries the next scheme. The verified claims are in `request.auth.credential.claims`.
 *
 * @example
 * const user = jwt({
 *   keys: process.env.JWT_SECRET,
 *   issuer: 'https://id.example.com',
 *   audience: 'https://api.example.com'
 * })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, for a weak key or a wrong option.
 */
export function jwt<P extends PrincipalInput = PrincipalInput> (
  options: JwtOptions<P>
): SchemeFactory<PrincipalFrom<P>, JwtCredential> {
  return (app, name, context) => {
    const settings = parseJwtOptions(options, name)
    const { sign, typ, clock, path } = settings
    const fetches = new Set<AbortController>()
    const remote = {
      ...settings.remote,
      scheme: name,
      warn: (about: object, message: string) => { app.log.warn(about, message) },
      fetches
    }
    const issuers = createIssuers(
      settings.issuers, { rules: { typ, requiresIat: clock.maxAge !== null }, remote }, path
    )
    if (issuers.isRemote) app.addHook('onClose', async () => { for (const fetch of fetches) fetch.abort() })
    const resource = settings.resource === null ? null : createResource(settings.resource, settings)
    const described = Object.freeze(resource === null ? {} : { routes: resource.routes })
    const authenticator = new TokenAuthenticator(issuers, settings, name)
    const scheme: Scheme = {
      ...traits(settings.places, 'JWT'),
      reportsAuthTime: true,
      decorate: settings.decorate,
      ...settings.load === null ? {} : { load: settings.load },
      authenticate: markAmbient(settings.places, request => authenticator.authenticate(request)),
      challenge: bearerChallenge(settings.realm, { descriptions, resourceMetadata: resource?.metadataUrl ?? null })
    }
    const typed = scheme as Scheme<PrincipalFrom<P>, JwtCredential>
    if (sign === null || issuers.first === undefined) return { scheme: typed, features: described }
    const setup = { sign, trust: issuers.first, typ, name, path }
    return createTokens(app, setup, { context, load: settings.load ?? context.load })
      .then(tokens => ({ scheme: typed, features: Object.freeze({ ...described, tokens }) }))
  }
}

interface Lookup {
  readonly context: SchemeContext
  /** The `load` of the scheme, or else of the plugin. */
  readonly load: Load | null
}

/** Creates the functions of a signing scheme for applications. */
async function createTokens (app: FastifyInstance, setup: SignSetup, { context, load }: Lookup): Promise<TokenFeature> {
  const { sign: { refresh }, trust: { rules }, name, path } = setup
  const signer = await createSigner(app, setup)
  const issue = createIssue(signer)
  if (refresh === null) return Object.freeze({ issue })
  if (rules.issuer === null || rules.audience === null) {
    throw misconfigured(
      `The option ${path}.sign.refresh needs an issuer and an audience, which refresh tokens are bound to.`
    )
  }
  if (load === null) {
    app.log.warn(`${path}.sign.refresh has no load function, so people keep the scopes and roles that they were ` +
      'granted until the grant ends. Give the scheme or the plugin a load function')
  }
  const { store, grants: hasPermission } = context
  const grants = new Grants({
    scheme: name,
    signer,
    issuer: rules.issuer,
    resource: String(rules.audience[0]),
    refresh,
    store,
    load,
    grants: hasPermission
  })
  return Object.freeze({
    issue,
    grant: (principal: PrincipalInput, options: GrantOptions) => grants.grant(principal, options),
    refresh: (
      request: FastifyRequest, token: unknown, options: RefreshOptions
    ) => grants.refresh(request, token, options)
  })
}

const descriptions = {
  AUTH_INVALID_CREDENTIALS: 'The token is invalid',
  AUTH_TOKEN_EXPIRED: 'The token expired',
  AUTH_STEP_UP_REQUIRED: 'A more recent authentication is required'
} as const
