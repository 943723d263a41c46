import type { FastifyRequest } from 'fastify'
import type { Foreign, Invalid, Outcome, Unavailable } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import { claimProblem, clockProblem, dateOf, isAhead, isInstant, timesOf } from '../../jose/claims.js'
import type { Claims, TimeClaims } from '../../jose/claims.js'
import type { VerificationKey } from '../../jose/jwk.js'
import { isCompact, parseCompact, parseMembers, signatureProblem } from '../../jose/jws.js'
import type { CompactJws, JoseHeader } from '../../jose/jws.js'
import { isUnavailable } from '../../jose/keyring.js'
import type { FoundKey } from '../../jose/remote/remote-keys.js'
import { completeOutcome, expired, invalid, validOutcome } from '../../kit/outcome.js'
import { principalFrom } from '../../kit/principal.js'
import { createTokenCache, noCache, Sightings, type CachedToken, type TokenCache } from '../../util/cache.js'
import { isNo, isThenable } from '../../util/objects.js'
import { principalOf } from './claim-options.js'
import type { Trust, Trusted } from './issuers.js'
import type { JwtCredential, JwtSettings } from './options.js'
import { isOfClient, type Bearer, type OwnTokens } from './own-tokens.js'

type Answer = Outcome<Principal, JwtCredential>

/** A token with a valid signature and valid claims. The clock and the mapping are checked on every request. */
export interface Verified extends CachedToken {
  readonly trust: Trust
  readonly key: VerificationKey
  readonly credential: JwtCredential
  readonly times: TimeClaims
  /** The principal, if it only depends on the claims; `null` if a mapping returns it for each request. */
  readonly principal: Principal | null
  /** The outcome of a cached token, if it is the same for all requests; otherwise `null`. */
  outcome: Answer | null
}

/** A parsed token with the issuer that it claims. Nothing is verified yet. */
interface Presented {
  readonly token: string
  readonly jws: CompactJws
  readonly claims: Readonly<Record<string, unknown>>
  readonly trust: Trust
}

/** The maximum number of cached headers. An issuer may write another header into each token: these are parsed. */
const maxHeaders = 64

function isTrust (found: Exclude<ReturnType<Trusted['of']>, Promise<unknown>>): found is Trust {
  return Object.hasOwn(found, 'rules')
}

/** A parsed token before its issuer is looked up. */
type Opened = Omit<Presented, 'trust'>

/** The result of a verification: a token, or the outcome for one that is not accepted. */
type Verification = Verified | Foreign | Invalid | Unavailable

/** Configuration of {@link TokenAuthenticator}. */
export interface AuthenticatorOptions {
  readonly name: string
  readonly settings: JwtSettings
  readonly trusted: Trusted
  /** Checks the tokens of a scheme that signs; `null` for a scheme that does not. */
  readonly own: OwnTokens | null
}

const noToken: Foreign = Object.freeze({ kind: 'foreign', detail: 'it is not a JSON Web Token' })

/**
 * Authenticates requests by their tokens. Returns a promise only if a function of the application does, or if keys have
 * to be fetched. Does not throw for a refused token.
 */
export class TokenAuthenticator {
  readonly #trusted: Trusted
  readonly #settings: JwtSettings
  readonly #name: string
  readonly #own: OwnTokens | null
  /** True if the outcome of a token is the same for all requests, because there is no mapping and no grant to check. */
  readonly #isShared: boolean
  readonly #cache: TokenCache<Verified>
  /** The tokens that came before, so that only tokens that come again are cached. */
  readonly #sightings: Sightings
  /**
   * The parsed headers of accepted tokens, by their text. Refused tokens add none, so that attackers cannot fill the
   * cache.
   */
  readonly #headers = new Map<string, JoseHeader>()

  constructor ({ name, settings, trusted, own }: AuthenticatorOptions) {
    this.#trusted = trusted
    this.#settings = settings
    this.#name = name
    this.#own = own
    this.#isShared = settings.mapping === null && own === null
    this.#cache = settings.cacheSize === 0 ? noCache : createTokenCache(settings.cacheSize)
    this.#sightings = new Sightings(settings.cacheSize)
  }

  authenticate (request: FastifyRequest): Answer | Promise<Answer> {
    const { take, check } = this.#settings
    const token = take(request)
    if (typeof token !== 'string') return token
    // a cached token was checked when it came for the first time
    const known = this.#cache.get(token)
    if (known !== undefined) return this.#settle(this.#again(known), request)
    const verified = this.#present(token)
    // a token that verifies is base64url, whose characters every source allows
    const checked = verified instanceof Promise || isVerified(verified) ? token : check(token)
    return typeof checked === 'string' ? this.#settle(verified, request) : checked
  }

  /** Authenticates a token that is not the credential of the request, such as one that is introspected. */
  authenticateToken (token: string, request: FastifyRequest): Answer | Promise<Answer> {
    return this.#settle(this.verify(token), request)
  }

  /** Verifies the signature and the claims of a token, but not its times. */
  verify (token: string): Verification | Promise<Verification> {
    const known = this.#cache.get(token)
    return known === undefined ? this.#present(token) : this.#again(known)
  }

  #recheck (verified: Verified, request: FastifyRequest): Answer | Promise<Answer> {
    return this.#settle(this.#again(verified), request)
  }

  #settle (verified: Verification | Promise<Verification>, request: FastifyRequest): Answer | Promise<Answer> {
    return verified instanceof Promise
      ? verified.then(settled => this.#judge(settled, request))
      : this.#judge(verified, request)
  }

  /**
   * Verifies a token that was verified before. If the keys may change, the key is looked up again: a key that is no
   * longer found is revoked.
   */
  #again (known: Verified): Verification | Promise<Verification> {
    if (known.trust.ring !== null) return known
    const decide = (key: FoundKey): Verification | Promise<Verification> => {
      if (key === known.key) return known
      return isUnavailable(key) ? key : this.#present(known.token)
    }
    const key = known.trust.find(known.credential.header)
    return key instanceof Promise ? key.then(decide) : decide(key)
  }

  #present (token: string): Verification | Promise<Verification> {
    if (!isCompact(token)) return noToken
    const jws = parseCompact(token, this.#headers)
    if (typeof jws === 'string') return invalid(jws)
    const claims = parseMembers(jws.payload)
    if (claims === null) return invalid('the payload of the token is not a JSON object')
    const trust = this.#trusted.of(claims['iss'])
    const opened = { token, jws, claims }
    return trust instanceof Promise ? trust.then(found => this.#trust(opened, found)) : this.#trust(opened, trust)
  }

  #trust (opened: Opened, trust: Trust | Foreign | Invalid | Unavailable): Verification | Promise<Verification> {
    if (!isTrust(trust)) return trust
    const { token, jws, claims } = opened
    const presented = { token, jws, claims, trust }
    const key = trust.find(jws.header)
    return key instanceof Promise ? key.then(found => this.#check(presented, found)) : this.#check(presented, key)
  }

  #check (presented: Presented, key: FoundKey): Verification | Promise<Verification> {
    if (key === null) return invalid('no key is known for the token')
    if (isUnavailable(key)) return key
    const { jws, trust } = presented
    const problem = signatureProblem(jws, key)
    if (problem === null) return this.#accept(presented, key)
    const retry = (found: FoundKey): Verification => {
      if (found === null) return invalid(problem)
      if (isUnavailable(found)) return found
      const still = signatureProblem(jws, found)
      return still === null ? this.#accept(presented, found) : invalid(still)
    }
    const other = trust.findAnother(jws.header, key)
    return other instanceof Promise ? other.then(retry) : retry(other)
  }

  #accept ({ token, jws, claims, trust }: Presented, key: VerificationKey): Verification {
    const problem = claimProblem(jws.header, claims, trust.rules)
    if (problem !== null) {
      return this.#own?.isOfAnother(claims) === true ? { kind: 'foreign', detail: problem } : invalid(problem)
    }
    const realm = this.#realmOf(trust, claims as Claims)
    const principal = this.#settings.mapping === null ? principalOf(claims, this.#settings.claimNames, realm) : null
    if (typeof principal === 'string') return invalid(principal)
    const times = timesOf(claims as Claims)
    const credential = Object.freeze({ claims: Object.freeze(claims) as Claims, header: jws.header })
    const verified = { token, trust, key, credential, times, principal, outcome: null }
    const late = clockProblem(times, this.#settings.clock, Date.now() / 1000)
    if (late === null) this.#remember(verified, jws)
    return verified
  }

  /** Caches a token that has come for the second time, and its header at once. */
  #remember (verified: Verified, { header, signature, input }: CompactJws): void {
    const segment = input.slice(0, input.indexOf('.'))
    if (this.#headers.size < maxHeaders && !this.#headers.has(segment)) this.#headers.set(segment, header)
    if (this.#settings.cacheSize === 0 || !this.#sightings.isRepeated(signature)) return
    // a shared outcome costs more to create than any other, and saves time from the second request on
    if (this.#isShared) verified.outcome = this.#share(verified)
    this.#cache.add(verified)
  }

  /** Checks what may change between requests: the clock, the grant, and the result of the application's mapping. */
  #judge (verified: Verification, request: FastifyRequest): Answer | Promise<Answer> {
    if (!isVerified(verified) || verified.outcome !== null) return this.#judgeShared(verified)
    const late = this.#late(verified)
    if (late !== null) return late
    const problem = this.#own?.check(verified.credential.claims) ?? null
    if (problem === null) return this.#identify(verified, request)
    return isThenable(problem) ? problem.then(settled => settled ?? this.#identify(verified, request)) : problem
  }

  /** Judges a token whose outcome is the same for all requests. Only the clock may change it. */
  #judgeShared (verified: Verification): Answer {
    if (!isVerified(verified)) return verified
    return this.#late(verified) ?? (verified.outcome ??= this.#share(verified))
  }

  #share (verified: Verified): Answer {
    const judge = (settled: Verification): Answer => this.#judgeShared(settled)
    const { credential } = verified
    return completeOutcome(verified.principal as Principal, {
      delegated: false,
      credential,
      authenticatedAt: this.#authenticatedAt(verified.times),
      expiresAt: this.#expiresAt(verified.times),
      recheck: () => {
        const again = this.#again(verified)
        return again instanceof Promise ? again.then(judge) : judge(again)
      }
    })
  }

  /** Returns the outcome of a token that is not valid at this time, or `null`. */
  #late ({ times }: Verified): Invalid | null {
    const late = clockProblem(times, this.#settings.clock, Date.now() / 1000)
    if (late === null) return null
    return late.expired ? expired(late.detail) : invalid(late.detail)
  }

  #identify (verified: Verified, request: FastifyRequest): Answer | Promise<Answer> {
    if (verified.principal !== null) return this.#complete(verified, verified.principal, request)
    const mapped: unknown = this.#settings.mapping?.(verified.credential.claims, request)
    return isThenable(mapped)
      ? Promise.resolve(mapped).then(input => this.#map(verified, input, request))
      : this.#map(verified, mapped, request)
  }

  #map (verified: Verified, input: unknown, request: FastifyRequest): Answer | Promise<Answer> {
    if (isNo(input)) return invalid('the principal mapping of the scheme refused the claims')
    const realm = this.#realmOf(verified.trust, verified.credential.claims)
    const source = `the result of schemes.${this.#name}.principal`
    return this.#complete(verified, principalFrom(input as Principal, realm, source), request)
  }

  #complete (verified: Verified, principal: Principal, request: FastifyRequest): Answer | Promise<Answer> {
    if (this.#own === null) return this.#admit(verified, { principal, owner: null, delegated: false }, request)
    const bearer = this.#own.complete(principal, verified.credential.claims, request)
    const admit = (settled: Bearer | Invalid): Answer =>
      'kind' in settled ? settled : this.#admit(verified, settled, request)
    return isThenable(bearer) ? bearer.then(admit) : admit(bearer)
  }

  #admit (verified: Verified, { principal, owner, delegated }: Bearer, request: FastifyRequest): Answer {
    const { credential } = verified
    return validOutcome(principal, {
      owner,
      delegated,
      credential,
      authenticatedAt: this.#authenticatedAt(verified.times),
      expiresAt: this.#expiresAt(verified.times),
      onRevoked: this.#own?.watchOf(credential.claims) ?? null,
      recheck: () => this.#recheck(verified, request)
    })
  }

  #authenticatedAt ({ authTime }: TimeClaims): Date | null {
    const { tolerance } = this.#settings.clock
    const past = isInstant(authTime) && !isAhead(authTime, tolerance, Date.now() / 1000)
    return past ? dateOf(authTime) : null
  }

  /** A token that was accepted within the tolerance must not be expired already. */
  #expiresAt ({ exp, iat = Infinity }: TimeClaims): Date {
    const { tolerance, maxAge } = this.#settings.clock
    return dateOf(Math.min(exp, iat + (maxAge ?? Infinity)) + tolerance)
  }

  /** Returns the realm of people, or that of the clients that a scheme signs for: the issuer. */
  #realmOf (trust: Trust, claims: Claims): string {
    const own = this.#own === null || isOfClient(claims) ? null : this.#settings.sign?.realm
    return own ?? trust.rules.issuer ?? this.#name
  }
}

function isVerified (verification: Verification): verification is Verified {
  return Object.hasOwn(verification, 'credential')
}
