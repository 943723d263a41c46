import { createPublicKey, type KeyObject } from 'node:crypto'
import type { ApiKeyFeature, GatehouseApiKeys } from '../../../types/api-keys.js'
import type { Gatehouse } from '../../../types/gatehouse.js'
import type { RateLimitRule } from '../../../types/limits.js'
import type { SchemeName } from '../../../types/names.js'
import type { Duration } from '../../../types/options.js'
import { misconfigured } from '../../errors.js'
import { describeValue, joinNames } from '../../util/describe.js'
import { isMap, isPlainObject } from '../../util/objects.js'
import { duration, object, optional, type Parser, wholeNumber } from '../../util/options.js'

/**
 * Returns a reporter's public key (P-256, PEM) by its identifier, or `null`. If it throws, the response is a 503 and
 * the reporter tries again.
 */
export type PublicKeyOf = (identifier: string) => string | null | Promise<string | null>

/** The option `leaks` of `apiKeyRoutes`. */
export interface LeakOptions {
  /**
   * The public keys of reporters: PEM by identifier, or a function that looks one up. The function is called with any
   * identifier that a client sends, and should cache its results.
   */
  readonly publicKeys: Readonly<Record<string, string>> | ReadonlyMap<string, string> | PublicKeyOf
  /** The largest report, in bytes. Default 262,144. */
  readonly bodyLimit?: number
}

/** The options of `apiKeyRoutes`. */
export interface ApiKeyRoutesOptions {
  /** The scheme whose sessions are accepted; needed only when several keep sessions. */
  readonly scheme?: SchemeName
  /** The scheme that manages the keys; needed only when several do. */
  readonly keys?: SchemeName
  /** The longest time since the person logged in. Default 15 minutes. */
  readonly maxAge?: Duration
  /** Live keys per person. Default 50. */
  readonly maxKeys?: number
  /** The longest time for which an old key may stay valid beside its successor. Default 7 days. */
  readonly maxOverlap?: Duration
  /** The rate limit of keys that are created here. */
  readonly rateLimit?: RateLimitRule
  /** Adds the route `POST /leaks`. */
  readonly leaks?: LeakOptions
  /** The prefix of the routes, which Fastify reads. */
  readonly prefix?: string
}

/** {@link ApiKeyRoutesOptions}, parsed and complete. Durations are in seconds. */
export interface RouteSettings {
  /** The keys of the chosen scheme. */
  readonly keys: Pick<ApiKeyFeature, 'of' | 'revokeLeaked'>
  readonly scheme: SchemeName
  readonly maxAge: number
  readonly maxKeys: number
  readonly maxOverlap: number
  readonly rateLimit: RateLimitRule | null
  readonly leaks: { readonly publicKeyOf: PublicKeyOf, readonly bodyLimit: number } | null
}

/** Accepts any value: for the options that Fastify reads, and for scheme names, which are checked below. */
const anything: Parser<unknown> = value => value

const parse = object({
  scheme: anything,
  keys: anything,
  maxAge: optional(duration(), 15 * 60),
  maxKeys: optional(wholeNumber(), 50),
  maxOverlap: optional(duration(), 7 * 86_400),
  rateLimit: optional(object({ max: wholeNumber(), window: duration({ min: 1 }) }), null),
  leaks: optional(object({ publicKeys: parsePublicKeys, bodyLimit: optional(wholeNumber(), 262_144) }), null),
  prefix: anything,
  logLevel: anything,
  logSerializers: anything
})

/** Parses the options of `apiKeyRoutes`. @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the fix. */
export function parseRoutesOptions (options: unknown, gatehouse: Gatehouse): RouteSettings {
  const { scheme, keys, maxAge, maxKeys, maxOverlap, rateLimit, leaks } = parse(options, 'The options of apiKeyRoutes')
  return Object.freeze({
    keys: keysOf(keys, gatehouse.apiKeys),
    scheme: schemeOf(scheme, gatehouse.sessions.schemes),
    maxAge,
    maxKeys,
    maxOverlap,
    rateLimit,
    leaks: leaks === null ? null : Object.freeze({ publicKeyOf: leaks.publicKeys, bodyLimit: leaks.bodyLimit })
  })
}

function keysOf (name: unknown, apiKeys: GatehouseApiKeys): RouteSettings['keys'] {
  const { schemes } = apiKeys
  if (schemes.length === 0) {
    throw misconfigured(
      'apiKeyRoutes needs a scheme that manages keys. Add apiKey({ managed: { prefix } }) to the schemes.'
    )
  }
  const scheme = choose(name, schemes, { option: 'keys', verb: 'manage keys' })
  return {
    of: owner => apiKeys.of(owner, { scheme }),
    revokeLeaked: key => apiKeys.revokeLeaked(key, { scheme })
  }
}

/** Accepts sessions only: with a stolen token or key, an attacker could otherwise create a key that lasts. */
function schemeOf (name: unknown, schemes: readonly SchemeName[]): SchemeName {
  if (schemes.length === 0) {
    throw misconfigured('apiKeyRoutes accepts only sessions, and no scheme of this application keeps them. Add ' +
      'session() to the schemes.')
  }
  return choose(name, schemes, { option: 'scheme', verb: 'keep sessions' })
}

/** Returns the scheme that an option names, or the only one there is. */
function choose (
  name: unknown, schemes: readonly SchemeName[], { option, verb }: { readonly option: string, readonly verb: string }
): SchemeName {
  const [only, ...others] = name === undefined ? schemes : schemes.filter(each => each === name)
  if (only !== undefined && others.length === 0) return only
  throw misconfigured(name === undefined
    ? `apiKeyRoutes needs the option ${option}: the schemes ${joinNames(schemes, 'and')} ${verb}.`
    : `The option apiKeyRoutes.${option} must be a scheme that can ${verb}: ${joinNames(schemes)}. Got ` +
      `${describeValue(name)}.`)
}

function parsePublicKeys (given: unknown, option: string): PublicKeyOf {
  if (typeof given === 'function') return given as PublicKeyOf
  if (!isMap(given) && !isPlainObject(given)) {
    throw misconfigured(`${option} must be an object or a Map from identifier to PEM, or a function. Got ` +
      `${describeValue(given)}.`)
  }
  const keys = new Map<string, unknown>(
    isMap(given) ? given as ReadonlyMap<string, unknown> : Object.entries(given)
  )
  const wrong = [...keys].find(([, pem]) => parsePublicKey(pem) === null)
  if (wrong !== undefined) {
    throw misconfigured(`${option} has under ${describeValue(wrong[0])} no public key of the curve P-256 in PEM.`)
  }
  return identifier => (keys as ReadonlyMap<string, string>).get(identifier) ?? null
}

/** Parses a public key of the curve P-256 in PEM. Returns `null` for anything else, including a private key. */
export function parsePublicKey (pem: unknown): KeyObject | null {
  if (typeof pem !== 'string' || !/^\s*-----BEGIN PUBLIC KEY-----/.test(pem)) return null
  try {
    const key = createPublicKey(pem)
    return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : null
  } catch {
    return null
  }
}
