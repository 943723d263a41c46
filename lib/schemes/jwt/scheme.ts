import type { FastifyInstance } from 'fastify'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Scheme, SchemeContext, SchemeFactory } from '../../../types/scheme.js'
import { isSymmetric } from '../../jose/algorithms.js'
import { isKeysUrl } from '../../jose/remote/fetch-json.js'
import { bearerChallenge } from '../../kit/challenge.js'
import { markAmbient, describeSources } from '../../kit/sources.js'
import { noteSecret } from '../../secrets/secret-uses.js'
import { report } from '../../util/reports.js'
import { TokenAuthenticator } from './authenticate.js'
import { createIssuers, joinIssuer, type Trust } from './issuers.js'
import { parseJwtOptions } from './options.js'
import type { JwtCredential, JwtOptions, JwtSettings } from './options.js'
import { LiveTokens, OwnTokens } from './own-tokens.js'
import { createResource } from './resource.js'
import { createTokens } from './service.js'

export type { JwtCredential, JwtIssuer, JwtOptions } from './options.js'
export type { Claims } from '../../jose/claims.js'
export type { Jwk } from '../../jose/key-material.js'

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
    reportHttp(app, settings)
    noteSecrets(app, settings, issuers.all)
    if (issuers.isRemote) app.addHook('onClose', async () => { for (const fetch of fetches) fetch.abort() })
    const resource = settings.resource === null ? null : createResource(settings.resource, settings)
    const described = Object.freeze(resource === null ? {} : { routes: resource.routes })
    const [isOfAnother] = issuers.all.map(trust => joinIssuer(app, { path, trust, sign }))
    const checks = sign === null || isOfAnother === undefined
      ? null
      : createChecks(app, name, { settings, context, isOfAnother })
    const authenticator = new TokenAuthenticator({ name, settings, trusted: issuers, own: checks?.own ?? null })
    const scheme: Scheme = {
      ...describeSources(settings.sources, 'JWT'),
      ...settings.openapi === null ? {} : { openapi: settings.openapi },
      reportsAuthTime: true,
      accepts: acceptsOf(settings),
      realms: realmsOf(settings),
      decorate: settings.decorate,
      ...loadOf(settings, checks),
      ...checks === null ? {} : { delegated: settings.delegated },
      authenticate: markAmbient(settings.sources, request => authenticator.authenticate(request)),
      challenge: bearerChallenge(settings.realm, { descriptions, resourceMetadata: resource?.metadataUrl ?? null })
    }
    const typed = scheme as Scheme<PrincipalFrom<P>, JwtCredential>
    if (sign === null || issuers.first === undefined || checks === null) return { scheme: typed, features: described }
    const setup = { sign, trust: issuers.first, name, path }
    return createTokens(app, { setup, settings, context, authenticator, ...checks })
      .then(tokens => ({ scheme: typed, features: Object.freeze({ ...described, tokens }) }))
  }
}

/** The longest `reuseGrace` in seconds that the doctor finds sensible. */
const sensibleGrace = 120

/** Notes the secrets of a scheme for the doctor. All schemes of an issuer have the same secrets, for one purpose. */
function noteSecrets (app: FastifyInstance, { sign, path }: JwtSettings, trusts: readonly Trust[]): void {
  for (const { rules: { issuer }, ring } of trusts) {
    for (const { algorithm, key } of ring?.keys ?? []) {
      if (!isSymmetric(algorithm)) continue
      noteSecret(app, { purpose: `tokens of ${issuer}`, path: `${path}.keys` }, key.export())
    }
    for (const secret of sign?.refresh?.secrets ?? []) {
      noteSecret(app, { purpose: `refresh tokens of ${issuer}`, path: `${path}.sign.refresh.secret` }, secret)
    }
  }
  if (sign?.refresh != null && sign.refresh.reuseGrace > sensibleGrace) {
    report(app, 'long-reuse-grace', `${path}.sign.refresh.reuseGrace`)
  }
}

/**
 * Reports URLs with plain http: those of keys, of issuers whose keys are discovered, and of issuers that sign here,
 * whose keys other applications discover. Any other issuer is only a name, from which nothing is fetched.
 */
function reportHttp (app: FastifyInstance, { issuers, sign, remote: { insecureHosts }, path }: JwtSettings): void {
  if (typeof issuers === 'function') {
    for (const host of insecureHosts) report(app, 'insecure-hosts', `${path}.insecureHosts: ${host}`)
    return
  }
  for (const { issuer, keys, path: keysPath } of issuers) {
    const isFetched = keys === undefined || isKeysUrl(keys)
    const url = isKeysUrl(keys) ? String(keys).trim() : isFetched || sign !== null ? issuer : null
    // an issuer that signs here may be a text that is not a URL
    const [origin, host] = /^http:\/\/([^/?#]+)/i.exec(String(url)) ?? []
    if (host === undefined) continue
    const isAccepted = isFetched && insecureHosts.includes(host.toLowerCase().replace(/:\d+$/, ''))
    report(app, isAccepted ? 'insecure-hosts' : 'plain-http', `${keysPath}: ${origin}`)
  }
}

interface Checks {
  readonly own: OwnTokens
  readonly live: LiveTokens | null
}

interface ChecksSetup {
  readonly settings: JwtSettings
  readonly context: SchemeContext
  readonly isOfAnother: (aud: unknown) => boolean
}

/** Creates the checks of a signing scheme for its own tokens, in addition to signatures. */
function createChecks (app: FastifyInstance, scheme: string, { settings, context, isOfAnother }: ChecksSetup): Checks {
  const { sign, load } = settings
  const staleness = sign?.staleness ?? null
  const live = staleness === null
    ? null
    : new LiveTokens({ store: context.store, stalenessMs: staleness * 1000, log: app.log })
  if (live !== null) app.addHook('onClose', async () => { live.close() })
  const own = new OwnTokens({
    scheme, firstParty: String(sign?.client), live, load: load ?? context.load, grants: context.grants, isOfAnother
  })
  return { own, live }
}

/** Returns the issuers, audiences and types of the tokens that a scheme accepts, for the audit. */
function acceptsOf ({ issuers, typ }: JwtSettings): NonNullable<Scheme['accepts']> {
  const onlyType = typ === null ? {} : { typ }
  if (typeof issuers === 'function') return Object.freeze({ issuers: 'by a function', ...onlyType })
  return Object.freeze({
    ...onlyType,
    issuers: issuers.map(({ issuer, audience, algorithms, claims }) => ({
      issuer, audience, algorithms, ...claims.length === 0 ? {} : { claims: Object.fromEntries(claims) }
    }))
  })
}

/** Returns the realm of the people whom a scheme signs for, if it is not the issuer's own. */
function realmsOf ({ sign, issuers }: JwtSettings): readonly string[] {
  const realm = sign?.realm ?? null
  const isOwn = typeof issuers !== 'function' && issuers[0]?.issuer === realm
  return Object.freeze(realm === null || isOwn ? [] : [realm])
}

/** Returns the `load` that the guard calls: none for a scheme that signs, which calls it itself for people only. */
function loadOf ({ load }: JwtSettings, checks: Checks | null): Pick<Scheme, 'load'> {
  if (checks !== null) return { load: null }
  return load === null ? {} : { load }
}

const descriptions = {
  AUTH_INVALID_CREDENTIALS: 'The token is invalid',
  AUTH_TOKEN_EXPIRED: 'The token expired',
  AUTH_STEP_UP_REQUIRED: 'A more recent authentication is required'
} as const
