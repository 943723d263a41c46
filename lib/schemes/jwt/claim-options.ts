import type { Principal } from '../../../types/principal.js'
import { misconfigured } from '../../errors.js'
import { nameProblem } from '../../jose/claims.js'
import type { ClaimValue, RequiredClaims } from '../../jose/claims.js'
import { describeValue } from '../../util/describe.js'
import { isObject, isPlainObject, ownField } from '../../util/objects.js'
import { object, optional } from '../../util/options.js'

/** A claim by its name, or by the names on the way to it, such as `['realm_access', 'roles']`. */
export type ClaimPath = string | readonly [string, ...string[]]

/** The claims that a principal is made from. */
export interface ClaimNames {
  /** Default `'sub'`. */
  readonly id?: ClaimPath
  /** A string of words or a list. Default: `'scope'`, or else `'scp'`. */
  readonly scopes?: ClaimPath
  /** A list, or a string that is one role. Default: the list `'roles'`. */
  readonly roles?: ClaimPath
}

/** {@link ClaimNames}, parsed. */
export interface ClaimNameSettings {
  readonly id: readonly string[]
  /** `null` for the default. */
  readonly scopes: readonly string[] | null
  /** `null` for the default. */
  readonly roles: readonly string[] | null
}

type Claims = Readonly<Record<string, unknown>>

const subject: readonly string[] = Object.freeze(['sub'])

/** The claims of a scheme that does not name them. */
export const defaultClaimNames: ClaimNameSettings = Object.freeze({ id: subject, scopes: null, roles: null })

/** Parses the names of claims. @throws {AuthError} `AUTH_MISCONFIGURED` */
export const parseClaimNames = object({
  id: optional(parsePath, subject),
  scopes: optional(parsePath, null),
  roles: optional(parsePath, null)
})

/** The claims that are required where the option is left out. */
export const noClaims: RequiredClaims = Object.freeze([])

/** The claims that have options, or rules, of their own. */
const ruledClaims = ['iss', 'aud', 'exp', 'nbf', 'iat', 'cnf']

/** Parses the option `claims`. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseRequiredClaims (value: unknown, option: string): RequiredClaims {
  if (!isPlainObject(value) || Object.keys(value).length === 0) {
    throw misconfigured(`${option} must be an object from claims to their accepted values, such as ` +
      `{ token_use: 'access' }. Got ${describeValue(value)}.`)
  }
  return Object.freeze(Object.entries(value).map(([name, accepted]) => {
    const values: readonly unknown[] = Array.isArray(accepted) ? [...accepted] : [accepted]
    if (ruledClaims.includes(name)) {
      throw misconfigured(`${option}.${name} is not possible: the plugin checks this claim by rules of its own, such ` +
        'as the options issuer and audience.')
    }
    if (values.length > 0 && values.every(isClaimValue)) return Object.freeze([name, Object.freeze(values)] as const)
    throw misconfigured(`${option}.${name} must be the accepted value of the claim, or a list of them: strings, ` +
      `numbers, true or false. Got ${describeClaimText(accepted)}.`)
  }))
}

function isClaimValue (value: unknown): value is ClaimValue {
  return value === true || value === false || Number.isFinite(value) || isClaimText(value)
}

/** Returns true for a text that a claim may equal. With a line break of a file at its end, it would match no token. */
export function isClaimText (value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.trim() === value
}

/** Describes a value that is not accepted in place of such a text. */
export function describeClaimText (value: unknown): string {
  return typeof value === 'string' && value !== '' ? 'a text with white space around it' : describeValue(value)
}

function parsePath (value: unknown, option: string): readonly string[] {
  const path: readonly unknown[] = Array.isArray(value) ? [...value] : [value]
  if (path.length > 0 && path.every(name => typeof name === 'string' && name !== '')) {
    return Object.freeze(path as string[])
  }
  throw misconfigured(`${option} must be the name of a claim, or the list of names on the way to it, such as ` +
    `['realm_access', 'roles']. Got ${describeValue(value)}.`)
}

/**
 * Returns the principal for claims: scopes are the words of a string (RFC 8693, 4.2) or a list, roles a list. Returns
 * the reason why there is none, as text.
 */
export function principalOf (claims: Claims, names: ClaimNameSettings, realm: string): Principal | string {
  const id = claimAt(claims, names.id)
  if (id === undefined) return `the claim ${names.id.join('.')} is missing`
  const problem = nameProblem(id, names.id)
  if (problem !== null) return problem
  const scopes = scopesOf(claims, names.scopes)
  if (typeof scopes === 'string') return scopes
  const roles = rolesOf(claims, names.roles)
  if (typeof roles === 'string') return roles
  return Object.freeze({ realm, id: String(id), scopes, roles })
}

function scopesOf (claims: Claims, path: readonly string[] | null): readonly string[] | string {
  const { scope, scp } = claims
  if (path === null && scope !== undefined && typeof scope !== 'string') return 'the claim scope is not a string'
  const claim = path === null ? scope ?? scp : claimAt(claims, path)
  const words: unknown = typeof claim === 'string' ? claim.split(' ').filter(word => word !== '') : claim
  return namesIn(words) ?? `the claim ${path?.join('.') ?? 'scp'} is neither a string nor a list of strings`
}

function rolesOf (claims: Claims, path: readonly string[] | null): readonly string[] | string {
  if (path === null) return namesIn(claims['roles']) ?? 'the claim roles is not a list of strings'
  const claim = claimAt(claims, path)
  return namesIn(typeof claim === 'string' ? [claim] : claim) ??
    `the claim ${path.join('.')} is neither a string nor a list of strings`
}

/** Returns the names in a list without duplicates, and none for a missing claim; `null` for anything else. */
function namesIn (claim: unknown = []): readonly string[] | null {
  if (!Array.isArray(claim) || !claim.every(name => typeof name === 'string')) return null
  return Object.freeze(claim.length < 2 ? [...claim] : [...new Set(claim)])
}

function claimAt (claims: Claims, path: readonly string[]): unknown {
  return path.reduce<unknown>((found, name) => isObject(found) ? ownField(found, name) : undefined, claims)
}
