import { deepFreeze } from '../util/objects.js'
import type { JoseHeader } from './jws.js'

/**
 * The claims of a token whose signature verified (RFC 7519, 4), deep-frozen: requests that send the same token share
 * them.
 */
export interface Claims {
  readonly iss?: string
  readonly sub?: string
  readonly aud?: string | readonly string[]
  /** Seconds since 1970; every accepted token has it. */
  readonly exp: number
  readonly nbf?: number
  readonly iat?: number
  readonly jti?: string
  readonly [name: string]: unknown
}

type Raw = Readonly<Record<string, unknown>>

/** What one issuer's tokens must say, whatever the time. */
export interface ClaimRules {
  /** `null`: not asked. */
  readonly issuer: string | null
  /** One of these; `null`: not asked. */
  readonly audience: readonly string[] | null
  /** The one accepted media type, as {@link mediaType} writes it; `null`: none, JWT or at+jwt. */
  readonly typ: string | null
  /** `iat` must be there, because the age of a token is limited. */
  readonly dated: boolean
}

/** What the clock says of a token. */
export interface ClockRules {
  /** Seconds. */
  readonly tolerance: number
  /** Seconds; `null`: no limit but `exp`. */
  readonly maxAge: number | null
}

/** Why the claims are refused now. */
export interface ClockFault {
  readonly expired: boolean
  readonly detail: string
}

/** The last second that a `Date` can hold (ECMA-262, 21.4.1.1). */
const lastInstant = 8.64e12

/** Seconds that the clock of an issuer may be ahead: `iat` is no `nbf` (RFC 7519, 4.1.6), and clocks differ. */
const clockSkew = 60

/** Whether a value is a NumericDate (RFC 7519, 2) that means an instant: `1e999` is valid JSON and Infinity here. */
export function isInstant (value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= lastInstant
}

/** Converts seconds since 1970 to a `Date`. What is later than the last `Date` becomes the last one. */
export function dateOf (seconds: number): Date {
  return new Date(Math.min(seconds, lastInstant) * 1000)
}

/**
 * Returns true if an instant in the past of the issuer (`iat`, `auth_time`) is further ahead of this clock than clocks
 * differ.
 */
export function isAhead (instant: number, tolerance: number, now: number): boolean {
  return instant > now + Math.max(tolerance, clockSkew)
}

/** A `typ` as it is compared: case-insensitive, and `application/` may be left out (RFC 7515, 4.1.9). */
export function mediaType (typ: string): string {
  return typ.toLowerCase().replace(/^application\//, '')
}

/**
 * Why the header and claims are not what the rules ask for, or `null`. Does not look at the clock, so that its answer
 * holds for as long as the token does.
 */
export function claimFault (header: JoseHeader, claims: Raw, rules: ClaimRules): string | null {
  return typFault(header.typ, rules.typ) ?? issuerFault(claims['iss'], rules.issuer) ??
    audienceFault(claims['aud'], rules.audience) ?? bindingFault(claims['cnf']) ?? shapeFault(claims, rules.dated)
}

/**
 * Refuses tokens that are bound to a key of the client (RFC 7800, 3.1; RFC 8705, 3; RFC 9449, 6): proof of that key
 * cannot be checked yet, and without it the token would be good for whoever stole it.
 */
function bindingFault (cnf: unknown): string | null {
  return cnf === undefined ? null : 'the token is bound to a key (cnf), which is not supported'
}

/** RFC 8725, 3.11: a token of another kind (a refresh token, a logout token) says so in its `typ`. */
function typFault (typ: string | undefined, only: string | null): string | null {
  const kind = typ === undefined ? null : mediaType(typ)
  const accepted = only === null ? kind === null || kind === 'jwt' || kind === 'at+jwt' : kind === only
  return accepted ? null : 'the token is of another kind (typ)'
}

function issuerFault (iss: unknown, issuer: string | null): string | null {
  if (issuer === null) return iss === undefined || typeof iss === 'string' ? null : 'the claim iss is not a string'
  return iss === issuer ? null : 'the token is of another issuer (iss)'
}

function audienceFault (aud: unknown, audience: readonly string[] | null): string | null {
  if (audience === null) return null
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!named.every(each => typeof each === 'string')) {
    return 'the claim aud is missing, or not a string or a list of strings'
  }
  return audience.some(each => named.includes(each)) ? null : 'the token is for another audience (aud)'
}

function shapeFault (claims: Raw, dated: boolean): string | null {
  const { exp, nbf, iat, sub } = claims
  if (!isInstant(exp)) return 'the claim exp is missing, or no instant'
  if (nbf !== undefined && !isInstant(nbf)) return 'the claim nbf is no instant'
  if (iat !== undefined && !isInstant(iat)) return 'the claim iat is no instant'
  if (iat === undefined && dated) return 'the claim iat is missing, and the age of tokens is limited'
  return subjectFault(sub)
}

function subjectFault (sub: unknown): string | null {
  if (sub === undefined) return null
  if (typeof sub !== 'string' || sub === '') return 'the claim sub is not a non-empty string'
  // No store accepts such a name of an owner.
  if (/\0|\p{Cs}/u.test(sub)) return 'the claim sub contains NUL or a lone surrogate'
  return null
}

/** Why the claims are refused at this second, or `null`. Their shapes were checked by {@link claimFault}. */
export function clockFault (claims: Claims, { tolerance, maxAge }: ClockRules, now: number): ClockFault | null {
  const { exp, nbf, iat } = claims
  // RFC 7519, 4.1.4: on or after exp
  if (now >= exp + tolerance) return { expired: true, detail: 'the token expired (exp)' }
  if (nbf !== undefined && now + tolerance < nbf) return { expired: false, detail: 'the token is not valid yet (nbf)' }
  if (iat === undefined) return null
  if (isAhead(iat, tolerance, now)) return { expired: false, detail: 'the token was issued in the future (iat)' }
  if (maxAge !== null && now >= iat + maxAge + tolerance) {
    return { expired: true, detail: 'the token is older than the scheme allows (iat)' }
  }
  return null
}

/**
 * Freezes a JSON value all the way down, and takes the prototype from the objects in it, so that a claim that is
 * missing is `undefined`. Does not recurse: the depth is the token's to choose.
 */
export function freezeJson<T extends object> (value: T): T {
  const open: object[] = [value]
  for (let each = open.pop(); each !== undefined; each = open.pop()) {
    for (const inner of Object.values(each)) {
      if (typeof inner === 'object' && inner !== null) {
        open.push(Array.isArray(inner) ? inner : Object.setPrototypeOf(inner, null) as object)
      }
    }
  }
  return deepFreeze(value)
}
