import type { FastifyRequest } from 'fastify'
import type { Foreign, Invalid, Outcome, Unavailable } from '../../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import { claimFault, clockFault, dateOf, freezeJson, isAhead, isInstant } from '../../jose/claims.js'
import type { Claims } from '../../jose/claims.js'
import type { VerificationKey } from '../../jose/jwk.js'
import { isCompact, parseCompact, parseObject, signatureFault } from '../../jose/jws.js'
import type { CompactJws } from '../../jose/jws.js'
import type { FoundKey } from '../../jose/remote/remote-keys.js'
import { authenticated, expired, foreign, invalid } from '../../kit/outcome.js'
import { principalFrom } from '../../kit/principal.js'
import { isNo, isThenable } from '../../util/answer.js'
import { createTokenCache, noCache } from '../../util/token-cache.js'
import type { CachedToken, TokenCache } from '../../util/token-cache.js'
import type { Trust, Trusted } from './issuers.js'
import type { JwtCredential, JwtSettings } from './options.js'

type Answer = Outcome<Principal, JwtCredential>

/** A token with a valid signature and valid claims. The clock and the mapping are checked on every request. */
interface Verified extends CachedToken {
  readonly trust: Trust
  readonly key: VerificationKey
  readonly credential: JwtCredential
  /** The principal, which is constant without a mapping; `null` with one. */
  readonly principal: Principal | null
}

/** A parsed token with the issuer that it claims. Nothing is verified yet. */
interface Presented {
  readonly token: string
  readonly jws: CompactJws
  readonly claims: Readonly<Record<string, unknown>>
  readonly trust: Trust
}

function isTrust (found: Exclude<ReturnType<Trusted['of']>, Promise<unknown>>): found is Trust {
  return Object.hasOwn(found, 'rules')
}

/** A parsed token before its issuer is looked up. */
type Opened = Omit<Presented, 'trust'>

/**
 * Authenticates requests by their tokens. Returns a promise only if a function of the application does, or if keys have
 * to be fetched. Does not throw for a refused token.
 */
export class TokenAuthenticator {
  readonly #trusted: Trusted
  readonly #settings: JwtSettings
  readonly #name: string
  readonly #cache: TokenCache<Verified>

  constructor (trusted: Trusted, settings: JwtSettings, name: string) {
    this.#trusted = trusted
    this.#settings = settings
    this.#name = name
    this.#cache = settings.cacheSize === 0 ? noCache : createTokenCache(settings.cacheSize)
  }

  authenticate (request: FastifyRequest): Answer | Promise<Answer> {
    const token = this.#settings.read(request)
    if (typeof token !== 'string') return token
    const known = this.#cache.get(token)
    if (known !== undefined) return this.#again(known, request)
    return this.#present(token, request)
  }

  /**
   * Authenticates a token that was verified before. If the keys may change, the key is looked up again: a key that is
   * no longer found is revoked.
   */
  #again (known: Verified, request: FastifyRequest): Answer | Promise<Answer> {
    if (known.trust.ring !== null) return this.#judge(known, request)
    const decide = (key: FoundKey): Answer | Promise<Answer> => {
      if (key === known.key) return this.#judge(known, request)
      return isUnavailable(key) ? key : this.#present(known.token, request)
    }
    const key = known.trust.find(known.credential.header)
    return key instanceof Promise ? key.then(decide) : decide(key)
  }

  #present (token: string, request: FastifyRequest): Answer | Promise<Answer> {
    if (!isCompact(token)) return foreign
    const jws = parseCompact(token)
    if (typeof jws === 'string') return invalid(jws)
    const claims = parseObject(jws.payload)
    if (claims === null) return invalid('the payload of the token is not a JSON object')
    const trust = this.#trusted.of(claims['iss'])
    const opened = { token, jws, claims }
    return trust instanceof Promise
      ? trust.then(found => this.#trust(opened, found, request))
      : this.#trust(opened, trust, request)
  }

  #trust (
    opened: Opened, trust: Trust | Foreign | Invalid | Unavailable, request: FastifyRequest
  ): Answer | Promise<Answer> {
    if (!isTrust(trust)) return trust
    const presented = { ...opened, trust }
    const key = trust.find(opened.jws.header)
    return key instanceof Promise
      ? key.then(found => this.#verify(presented, found, request))
      : this.#verify(presented, key, request)
  }

  #verify (presented: Presented, key: FoundKey, request: FastifyRequest): Answer | Promise<Answer> {
    if (key === null) return invalid('no key is known for the token')
    if (isUnavailable(key)) return key
    const { jws, trust } = presented
    const fault = signatureFault(jws, key)
    if (fault === null) return this.#accept(presented, key, request)
    const retry = (found: FoundKey): Answer | Promise<Answer> => {
      if (found === null) return invalid(fault)
      if (isUnavailable(found)) return found
      const still = signatureFault(jws, found)
      return still === null ? this.#accept(presented, found, request) : invalid(still)
    }
    const other = trust.findAnother(jws.header, key)
    return other instanceof Promise ? other.then(retry) : retry(other)
  }

  #accept (
    { token, jws, claims, trust }: Presented, key: VerificationKey, request: FastifyRequest
  ): Answer | Promise<Answer> {
    const fault = claimFault(jws.header, claims, trust.rules)
    if (fault !== null) return invalid(fault)
    const principal = this.#settings.mapping === null ? defaultPrincipal(claims, this.#realmOf(trust)) : null
    if (typeof principal === 'string') return invalid(principal)
    const credential = freezeJson({ claims: claims as Claims, header: jws.header })
    const verified = { token, trust, key, credential, principal }
    const late = clockFault(credential.claims, this.#settings.clock, Date.now() / 1000)
    if (late === null) this.#cache.add(verified)
    return this.#judge(verified, request)
  }

  /** Checks what may change between requests: the clock, and the result of the application's mapping. */
  #judge (verified: Verified, request: FastifyRequest): Answer | Promise<Answer> {
    const { claims } = verified.credential
    const late = clockFault(claims, this.#settings.clock, Date.now() / 1000)
    if (late !== null) return late.expired ? expired(late.detail) : invalid(late.detail)
    if (verified.principal !== null) return this.#admit(verified, verified.principal, request)
    const mapped: unknown = this.#settings.mapping?.(claims, request)
    return isThenable(mapped)
      ? Promise.resolve(mapped).then(input => this.#map(verified, input, request))
      : this.#map(verified, mapped, request)
  }

  #map (verified: Verified, input: unknown, request: FastifyRequest): Answer {
    if (isNo(input)) return invalid('the principal mapping of the scheme refused the claims')
    return this.#admit(verified, principalFrom(input as Principal, this.#realmOf(verified.trust)), request)
  }

  #admit (verified: Verified, principal: Principal, request: FastifyRequest): Answer {
    const { credential } = verified
    const { exp, iat = Infinity, auth_time: authTime } = credential.claims
    const { tolerance, maxAge } = this.#settings.clock
    const past = isInstant(authTime) && !isAhead(authTime, tolerance, Date.now() / 1000)
    return authenticated(principal, {
      credential,
      authenticatedAt: past ? dateOf(authTime) : null,
      // A token that was accepted within the tolerance must not be expired already.
      expiresAt: dateOf(Math.min(exp, iat + (maxAge ?? Infinity)) + tolerance),
      recheck: () => this.#again(verified, request)
    })
  }

  #realmOf (trust: Trust): string {
    return this.#settings.sign?.realm ?? trust.rules.issuer ?? this.#name
  }
}

/**
 * Returns the principal for claims without a mapping: the id from `sub`, scopes from `scope` (a string, RFC 8693, 4.2)
 * or `scp` (a string or a list), and roles from `roles`; or the reason why there is none, as text.
 */
function defaultPrincipal (claims: Readonly<Record<string, unknown>>, realm: string): Principal | string {
  const { sub, scope, scp, roles = [] } = claims
  if (typeof sub !== 'string') return 'the claim sub is missing'
  if (scope !== undefined && typeof scope !== 'string') return 'the claim scope is not a string'
  const scopes = words(scope ?? scp ?? [])
  if (scopes === null) return 'the claim scp is neither a string nor a list of strings'
  const names = Array.isArray(roles) ? words(roles) : null
  if (names === null) return 'the claim roles is not a list of strings'
  const input: PrincipalInput = { realm, id: sub, scopes, roles: names }
  return principalFrom(input, realm)
}

/** Returns the names in a claim without duplicates; `null` if it is neither a string nor a list of strings. */
function words (claim: unknown): readonly string[] | null {
  const list: unknown = typeof claim === 'string' ? claim.split(' ').filter(word => word !== '') : claim
  if (!Array.isArray(list) || !list.every(word => typeof word === 'string')) return null
  return [...new Set(list)]
}

function isUnavailable (key: FoundKey): key is Unavailable {
  return key !== null && Object.hasOwn(key, 'kind')
}
