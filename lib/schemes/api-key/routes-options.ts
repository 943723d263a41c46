import type { ApiKeys } from '../../../types/api-keys.js'
import type { Duration } from '../../../types/duration.js'
import type { Gatehouse } from '../../../types/gatehouse.js'
import type { RateLimitRule } from '../../../types/limits.js'
import type { SchemeName } from '../../../types/registry.js'
import { AuthError, misconfigured } from '../../errors.js'
import { describeValue, joinNames } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import { duration, object, optional, type Parser, wholeNumber } from '../../util/options.js'
import { publicKeyFrom } from './leaks.js'

/** A reporter's public key (P-256, PEM) by its identifier, or `null`. What it throws is a 503: the reporter sends again. */
export type PublicKeyOf = (identifier: string) => string | null | Promise<string | null>

/** Who may report leaked keys. */
export interface LeakOptions {
  /** From identifier to PEM, or a function that looks it up and keeps what it found. It is asked for any identifier that anybody sends. */
  readonly publicKeys: Readonly<Record<string, string>> | ReadonlyMap<string, string> | PublicKeyOf
  /** Bytes of a report. Default 262,144. */
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
  /** Keys that a person may have at a time. Default 50. */
  readonly maxKeys?: number
  /** The longest that an old key may stay beside its successor. Default 7 days. */
  readonly maxOverlap?: Duration
  /** The limit that keys made here have. */
  readonly rateLimit?: RateLimitRule
  /** Opens `POST /leaks`. Left out, there is no such route. */
  readonly leaks?: LeakOptions
  /** Fastify's own. */
  readonly prefix?: string
}

/** {@link ApiKeyRoutesOptions}, checked and complete. Durations in seconds. */
export interface RouteSettings {
  readonly keys: ApiKeys
  readonly scheme: SchemeName
  readonly maxAge: number
  readonly maxKeys: number
  readonly maxOverlap: number
  readonly rateLimit: RateLimitRule | null
  readonly leaks: { readonly publicKeyOf: PublicKeyOf, readonly bodyLimit: number } | null
}

/** For options that somebody else reads: Fastify, or the plugin, which knows its schemes. */
const anything: Parser<unknown> = value => value

const parse = object({
  scheme: anything,
  keys: anything,
  maxAge: optional(duration(), 15 * 60),
  maxKeys: optional(wholeNumber(), 50),
  maxOverlap: optional(duration(), 7 * 86_400),
  rateLimit: optional(object({ max: wholeNumber(), window: duration() }), null),
  leaks: optional(object({ publicKeys: parsePublicKeys, bodyLimit: optional(wholeNumber(), 262_144) }), null),
  prefix: anything,
  logLevel: anything,
  logSerializers: anything
})

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the fix. */
export function routeSettings (options: unknown, gatehouse: Gatehouse): RouteSettings {
  const { scheme, keys, maxAge, maxKeys, maxOverlap, rateLimit, leaks } = parse(options, 'The options of apiKeyRoutes')
  return Object.freeze({
    keys: keysOf(keys, gatehouse),
    scheme: schemeOf(scheme, gatehouse.sessions.schemes),
    maxAge,
    maxKeys,
    maxOverlap: Math.floor(maxOverlap),
    rateLimit,
    leaks: leaks === null ? null : Object.freeze({ publicKeyOf: leaks.publicKeys, bodyLimit: leaks.bodyLimit })
  })
}

function keysOf (name: unknown, gatehouse: Gatehouse): ApiKeys {
  try {
    return name === undefined ? gatehouse.apiKeys : gatehouse.apiKeysOf(String(name) as SchemeName)
  } catch (error) {
    if (!(error instanceof AuthError)) throw error
    throw misconfigured(`apiKeyRoutes found no scheme that manages keys: ${error.detail}. Add apiKey({ managed: { prefix } }) to the schemes; with several, name one as the option keys.`)
  }
}

/** A token or a key must not make keys: who stole one would keep it for good. */
function schemeOf (name: unknown, sessions: readonly SchemeName[]): SchemeName {
  const [only] = sessions
  if (only === undefined) throw misconfigured('apiKeyRoutes accepts only sessions, and no scheme of this application keeps them. Add session() to the schemes.')
  if (name === undefined && sessions.length === 1) return only
  const found = sessions.find(each => each === name)
  if (found !== undefined) return found
  throw misconfigured(name === undefined
    ? `apiKeyRoutes needs the option scheme: ${joinNames(sessions, 'and')} keep sessions.`
    : `The option scheme of apiKeyRoutes must be a scheme that keeps sessions: ${joinNames(sessions)}; it is ${describeValue(name)}.`)
}

function parsePublicKeys (given: unknown, place: string): PublicKeyOf {
  if (typeof given === 'function') return given as PublicKeyOf
  if (!(given instanceof Map) && !isObject(given)) {
    throw misconfigured(`${place} must be an object or a Map from identifier to PEM, or a function. Got ` +
      `${describeValue(given)}.`)
  }
  const keys = new Map<string, unknown>(given instanceof Map ? given as ReadonlyMap<string, unknown> : Object.entries(given))
  const wrong = [...keys].find(([, pem]) => publicKeyFrom(pem) === null)
  if (wrong !== undefined) {
    throw misconfigured(`${place} has under ${describeValue(wrong[0])} no public key of the curve P-256 in PEM.`)
  }
  return identifier => (keys as ReadonlyMap<string, string>).get(identifier) ?? null
}
