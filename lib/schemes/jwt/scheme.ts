import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Scheme, SchemeFactory } from '../../../types/scheme.js'
import { bearerChallenge } from '../../kit/challenge.js'
import { markAmbient, traits } from '../../kit/read-credential.js'
import { TokenAuthenticator } from './authenticate.js'
import { createIssuers } from './issuers.js'
import { parseJwtOptions } from './options.js'
import type { JwtCredential, JwtOptions } from './options.js'
import { createResource } from './resource.js'
import { issuer } from './sign.js'

export type { ClaimsMapping, IssuerResolver, JwtCredential, JwtIssuer, JwtOptions, SignOptions } from './options.js'
export type { ResourceOptions } from './resource.js'
export type { Algorithm } from '../../jose/algorithms.js'
export type { Claims } from '../../jose/claims.js'
export type { JoseHeader } from '../../jose/jws.js'
export type { JwkSet, StaticKeys } from '../../jose/keyring.js'
export type { Jwk, KeyMaterial } from '../../jose/key-material.js'
export type { KeyResolver } from '../../jose/keyring.js'

/**
 * JSON Web Tokens (RFC 7519, 8725, 9068). A token of another issuer, or what is no JWT, is *foreign*: the next scheme is asked. The verified claims are at
 * `request.auth.credential.claims`.
 *
 * @example
 * const user = jwt({ keys: process.env.JWT_SECRET, issuer: 'https://id.example.com', audience: 'https://api.example.com' })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, for a weak key or a wrong option.
 */
export function jwt<P extends PrincipalInput = PrincipalInput> (options: JwtOptions<P>): SchemeFactory<PrincipalFrom<P>, JwtCredential> {
  return (app, name) => {
    const settings = parseJwtOptions(options, name)
    const { sign, typ, clock, path } = settings
    const fetches = new Set<AbortController>()
    const remote = { ...settings.remote, scheme: name, warn: (about: object, message: string) => { app.log.warn(about, message) }, fetches }
    const issuers = createIssuers(settings.issuers, { rules: { typ, requiresIat: clock.maxAge !== null }, remote }, path)
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
    if (sign === null || issuers.first === null) return { scheme: typed, features: described }
    return issuer(app, { sign, trust: issuers.first, typ, name, path })
      .then(issue => ({ scheme: typed, features: Object.freeze({ ...described, tokens: Object.freeze({ issue }) }) }))
  }
}

const descriptions = {
  AUTH_INVALID_CREDENTIALS: 'The token is invalid',
  AUTH_TOKEN_EXPIRED: 'The token expired',
  AUTH_STEP_UP_REQUIRED: 'A more recent authentication is required'
} as const
