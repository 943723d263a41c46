import { joinNames } from '../util/describe.js'
import type { JoseHeader } from './jws.js'

/**
 * The claims of a verified token (RFC 7519, 4). They are deep-frozen, because requests with the same token share them.
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

/** The rules for the tokens of one issuer that do not depend on the time. */
export interface ClaimRules {
  /** The required `iss`; `null`: any. */
  readonly issuer: string | null
  /** The accepted audiences. `aud` must contain at least one of them. `null`: `aud` is not checked. */
  readonly audience: readonly string[] | null
  /** The required media type, as {@link mediaType} returns it; `null`: no `typ`, JWT or at+jwt. */
  readonly typ: string | null
  /** Requires `iat`, because the age of tokens is limited. */
  readonly requiresIat: boolean
  /** The accepted values of further claims, by name. */
  readonly required: RequiredClaims
}

/** The claims about the time, in an object of their own, from which each request reads them. */
export interface TimeClaims extends Pick<Claims, 'exp' | 'nbf' | 'iat'> {
  readonly authTime: unknown
}

/** Returns the claims about the time of claims that {@link claimProblem} has accepted. */
export function timesOf ({ exp, nbf, iat, auth_time: authTime }: Claims): TimeClaims {
  return { exp, nbf, iat, authTime }
}

/** A value that a claim may be required to have. */
export type ClaimValue = string | number | boolean

/** The accepted values of claims. A claim must be one of them, or a list with one of them. */
export type RequiredClaims = ReadonlyArray<readonly [name: string, values: readonly ClaimValue[]]>

/** The rules for tokens that depend on the time. */
export interface ClockRules {
  /** The accepted clock difference in seconds. */
  readonly tolerance: number
  /** The maximum age in seconds; `null`: only `exp` limits it. */
  readonly maxAge: number | null
}

/** The reason why claims are refused at this time. */
export interface ClockProblem {
  readonly expired: boolean
  readonly detail: string
}

/** The last second that a `Date` can hold (ECMA-262, 21.4.1.1). */
const lastInstant = 8.64e12

/** The number of seconds that an issuer's clock may be ahead: `iat` is not meant as `nbf` (RFC 7519, 4.1.6). */
const clockSkew = 60

/**
 * Returns true for a NumericDate (RFC 7519, 2) that a `Date` can hold. `1e999` is valid JSON, but parsed as Infinity.
 */
export function isInstant (value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= lastInstant
}

/** Converts seconds since 1970 to a `Date`. Later instants than the last `Date` are converted to the last one. */
export function dateOf (seconds: number): Date {
  return new Date(Math.min(seconds, lastInstant) * 1000)
}

/**
 * Returns true if an instant that should be in the past (`iat`, `auth_time`) is more than the tolerance in the future.
 */
export function isAhead (instant: number, tolerance: number, now: number): boolean {
  return instant > now + Math.max(tolerance, clockSkew)
}

/** Normalises a `typ` for comparison: lower case, without `application/`, which may be left out (RFC 7515, 4.1.9). */
export function mediaType (typ: string): string {
  return typ.toLowerCase().replace(/^application\//, '')
}

/**
 * Returns the reason why the header or the claims break the rules, or `null`. The result does not depend on the time,
 * so that it can be cached.
 */
export function claimProblem (header: JoseHeader, claims: Raw, rules: ClaimRules): string | null {
  return typProblem(header.typ, rules.typ) ?? issuerProblem(claims['iss'], rules.issuer) ??
    audienceProblem(claims['aud'], rules.audience) ?? requiredProblem(claims, rules.required) ??
    bindingProblem(claims['cnf']) ?? shapeProblem(claims, rules.requiresIat)
}

function requiredProblem (claims: Raw, required: RequiredClaims): string | null {
  const missing = required.find(([name, values]) => {
    const claim = claims[name]
    const named: readonly unknown[] = Array.isArray(claim) ? claim : [claim]
    return !values.some(value => named.includes(value))
  })
  return missing === undefined ? null : `the claim ${missing[0]} has none of the required values`
}

/**
 * Refuses tokens that are bound to a key of the client (RFC 7800, 3.1; RFC 8705, 3; RFC 9449, 6): the proof of
 * possession is not supported yet, and without it a stolen token would work.
 */
function bindingProblem (cnf: unknown): string | null {
  return cnf === undefined ? null : 'the token is bound to a key (cnf), which is not supported'
}

/** Refuses tokens of another kind, such as refresh and logout tokens, which name it in `typ` (RFC 8725, 3.11). */
function typProblem (typ: string | undefined, only: string | null): string | null {
  const kind = typ === undefined ? null : mediaType(typ)
  const accepted = only === null ? kind === null || kind === 'jwt' || kind === 'at+jwt' : kind === only
  return accepted ? null : 'the token is of another kind (typ)'
}

function issuerProblem (iss: unknown, issuer: string | null): string | null {
  if (issuer === null) return iss === undefined || typeof iss === 'string' ? null : 'the claim iss is not a string'
  return iss === issuer ? null : 'the token is of another issuer (iss)'
}

function audienceProblem (aud: unknown, audience: readonly string[] | null): string | null {
  if (audience === null) return null
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (!named.every(each => typeof each === 'string')) {
    return 'the claim aud is missing, or not a string or a list of strings'
  }
  if (audience.some(each => named.includes(each))) return null
  return `the token is for another audience (aud) than ${joinNames(audience.slice(0, 3).map(each => `'${each}'`))}`
}

function shapeProblem (claims: Raw, requiresIat: boolean): string | null {
  const { exp, nbf, iat, sub } = claims
  if (!isInstant(exp)) return 'the claim exp is missing or not a finite number'
  if (nbf !== undefined && !isInstant(nbf)) return 'the claim nbf is not a finite number'
  if (iat !== undefined && !isInstant(iat)) return 'the claim iat is not a finite number'
  if (iat === undefined && requiresIat) return 'the claim iat is missing, and the age of tokens is limited'
  return sub === undefined ? null : nameProblem(sub, ['sub'])
}

/**
 * Returns the reason why the value of a claim cannot identify a person, or `null`.
 * @param path the names on the way to the claim.
 */
export function nameProblem (value: unknown, path: readonly string[]): string | null {
  if (typeof value !== 'string' || value === '') return `the claim ${path.join('.')} is not a non-empty string`
  // No store accepts such an owner.
  if (/\0|\p{Cs}/u.test(value)) return `the claim ${path.join('.')} contains NUL or a lone surrogate`
  return null
}

/**
 * Returns the reason why the claims are refused at this time, or `null`.
 * @param claims claims that {@link claimProblem} has accepted.
 * @param now seconds since 1970.
 */
export function clockProblem (
  { exp, nbf, iat }: Pick<Claims, 'exp' | 'nbf' | 'iat'>, { tolerance, maxAge }: ClockRules, now: number
): ClockProblem | null {
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
