import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Scheme, SchemeFactory } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { bearerChallenge } from '../../kit/bearer-challenge.js'
import { markAmbient, traits } from '../../kit/read-credential.js'
import { TokenAuthenticator } from './authenticate.js'
import { trusted } from './issuers.js'
import { checkedOptions, settings } from './options.js'
import type { JwtCredential, JwtOptions } from './options.js'
import { remoteOptionNames, remoteSettings } from './remote.js'
import { issuer } from './sign.js'

export type { ClaimsMapping, IssuerResolver, JwtCredential, JwtIssuer, JwtOptions, SignOptions } from './options.js'
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
    const place = `jwt() of the scheme '${name}'`
    const said = checkedOptions(options, place)
    const set = settings(said, name, place)
    const fetches = new Set<AbortController>()
    const remote = { ...remoteSettings(said, place), scheme: name, warn: (about: object, message: string) => { app.log.warn(about, message) }, fetches }
    const issuers = trusted(said, { rules: { typ: set.typ, dated: set.clock.maxAge !== null }, remote }, place)
    if (issuers.isRemote) app.addHook('onClose', async () => { for (const fetch of fetches) fetch.abort() })
    else checkLocal(said, place)
    const authenticator = new TokenAuthenticator(issuers, set, name)
    const scheme: Scheme = {
      ...traits(set.places, 'JWT'),
      dated: true,
      ...set.load === null ? {} : { load: set.load },
      authenticate: markAmbient(set.places, request => authenticator.authenticate(request)),
      challenge: failure => bearerChallenge(set.realm, failure)
    }
    const typed = scheme as Scheme<PrincipalFrom<P>, JwtCredential>
    if (set.sign === null || issuers.first === null) return typed
    return issuer(app, { sign: set.sign, trust: issuers.first, typ: set.typ, name, place }).then(issue => ({ ...typed, issue }))
  }
}

/** An option that would count for nothing is a mistake. */
function checkLocal (options: Readonly<Record<string, unknown>>, place: string): void {
  const beside = remoteOptionNames.find(name => name in options)
  if (beside !== undefined) throw misconfigured(`${place} has '${beside}', which is about fetched keys, and all of its keys are given. Leave it out.`)
}
