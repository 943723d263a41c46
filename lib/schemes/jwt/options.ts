import type { Agent } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { No } from '../../../types/answer.js'
import type { Duration } from '../../../types/duration.js'
import type { Unavailable } from '../../../types/outcome.js'
import type { Place } from '../../../types/place.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Load } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { Claims, ClockRules } from '../../jose/claims.js'
import { mediaType } from '../../jose/claims.js'
import type { JoseHeader } from '../../jose/jws.js'
import type { KeyMaterial } from '../../jose/key-material.js'
import type { StaticKeys, KeyResolver } from '../../jose/keyring.js'
import { reader } from '../../kit/read-credential.js'
import type { Reading } from '../../kit/read-credential.js'
import { parseDuration } from '../../util/duration.js'
import { optional, readOptions } from '../../util/options.js'
import { remoteOptionNames } from './remote.js'

/** What a handler may know of a token: never the token itself. Frozen whole. */
export interface JwtCredential {
  readonly claims: Claims
  readonly header: JoseHeader
}

/** Whose tokens are accepted, and by which keys. */
export interface JwtIssuer {
  /** The exact `iss`. */
  readonly issuer: string | undefined
  /** The `aud` of this application; one of several; `false` accepts tokens that were made for anybody. */
  readonly audience: string | readonly string[] | false | undefined
  /**
   * Secrets (at least as long as the hash), public keys, a JWK set, the https URL of one, or a function that finds the key of a header. Left out, the keys are found by
   * the metadata of the issuer (RFC 8414, OpenID Connect Discovery).
   */
  readonly keys?: StaticKeys | URL | KeyResolver | undefined
  /** Left out, each key has the `alg` of its JWK, or the usual algorithm of its kind: HS256, RS256, the curve's. */
  readonly algorithms?: readonly Algorithm[]
}

/**
 * Says what is accepted of an issuer, by its exact `iss`, of which nothing is verified yet: compare it with what is known, and build nothing from it. A no (`null`,
 * `undefined`, `false`) makes tokens of that issuer *foreign*. Asked once for each issuer that it accepts; a no is asked again after a minute. An `AuthError` of
 * `AUTH_UNAVAILABLE` means that it cannot tell now: 503. What else it throws is a 500.
 */
export type IssuerResolver = (iss: string) => IssuerAnswer | Promise<IssuerAnswer>

type IssuerAnswer = Omit<JwtIssuer, 'issuer'> | Unavailable | No

/**
 * How {@link JwtOptions} makes a principal of claims. A no (`null`, `undefined`, `false` or `{ valid: false }`) refuses the token with 401; what it throws is a 500.
 * Runs on every request.
 */
export type ClaimsMapping<P extends PrincipalInput> = (claims: Claims, request: FastifyRequest) => P | No | Promise<P | No>

/** How tokens are signed. */
export interface SignOptions {
  /** The secret or private key; left out, the first of `keys` that can sign. It must belong to one of `keys`. */
  readonly key?: KeyMaterial | undefined
  /** The `kid` in the header; left out, that of the key. */
  readonly kid?: string
  /** Until a token expires, unless the call says otherwise. Default `'15m'`. */
  readonly expiresIn?: Duration
}

interface JwtCommon<P extends PrincipalInput> {
  /** Where the token travels. Default `'bearer'`. A cookie is checked for cross-site requests. */
  readonly from?: Place | readonly Place[]
  /** Of the challenge. Default: the scheme's name. */
  readonly realm?: string
  /** How far the clocks of the issuer and this machine may be apart. Default 0. */
  readonly clockTolerance?: Duration
  /** How long after `iat` a token is good for, however late its `exp`. */
  readonly maxTokenAge?: Duration
  /** The one accepted `typ`, such as `'at+jwt'`. Left out: none, `JWT` or `at+jwt`. */
  readonly typ?: string
  /** How many verified tokens are remembered. Default 4,096; `false`: none. */
  readonly cache?: number | false
  /** Default: `id` from `sub`, `scopes` from `scope` or `scp`, `roles` from `roles`, `realm` from `iss`. */
  readonly principal?: ClaimsMapping<P>
  readonly load?: Load<PrincipalFrom<P>>
  /** Of fetched keys: the least time between two fetches for keys that are not known, and after a failed one. Default `'30s'`. */
  readonly cooldown?: Duration
  /** Of fetched keys: how long after the last success they are used while their source fails. Default `'24h'`. */
  readonly staleFor?: Duration
  /** Of fetched keys: host names that may be asked without TLS, beside loopback ones. Default: none. */
  readonly insecureHosts?: readonly string[]
  /** Of fetched keys: the agent of their requests, for proxies and private certificate authorities. Default: the global one. */
  readonly agent?: Agent
}

/** The options of {@link jwt}: one issuer and its keys, or several `issuers`. */
export type JwtOptions<P extends PrincipalInput = PrincipalInput> = JwtCommon<P> & (
  | Omit<JwtIssuer, 'issuer'> & {
    /** The exact `iss`; `false` accepts tokens that say nothing of their issuer, or anything. */
    readonly issuer: string | false | undefined
    /** Makes the scheme sign tokens too: `app.gatehouse.tokens.issue`. */
    readonly sign?: true | SignOptions
    readonly issuers?: never
  }
  | {
    readonly issuers: readonly JwtIssuer[] | IssuerResolver
    readonly issuer?: never
    readonly audience?: never
    readonly keys?: never
    readonly algorithms?: never
    readonly sign?: never
  }
)

type Mapping = ClaimsMapping<PrincipalInput>

/** The options that are about the scheme and not about an issuer, complete. */
export interface Settings {
  readonly read: (request: FastifyRequest) => Reading
  readonly places: readonly Place[]
  readonly realm: string
  readonly clock: ClockRules
  readonly typ: string | null
  /** 0: none. */
  readonly cacheSize: number
  /** `null`: the default. */
  readonly mapping: Mapping | null
  readonly load: Load | null
  /** `null`: does not sign. */
  readonly sign: Readonly<Record<string, unknown>> | null
}

const issuerKeys = ['issuer', 'audience', 'keys', 'algorithms'] as const
const known = [...issuerKeys, 'issuers', 'from', 'realm', 'clockTolerance', 'maxTokenAge', 'typ', 'cache', 'principal', 'load', 'sign', ...remoteOptionNames]

/** The options with only known keys, and of `issuers` and the keys for one issuer exactly one. */
export function checkedOptions (options: unknown, place: string): Readonly<Record<string, unknown>> {
  const said = readOptions(options, known, `The options of ${place}`)
  const beside = [...issuerKeys, 'sign'].find(key => key in said)
  if ('issuers' in said && beside !== undefined) throw misconfigured(`${place} has '${beside}' beside 'issuers'. ${beside === 'sign' ? 'A scheme that signs has one issuer.' : 'Write it in each of the issuers.'}`)
  return said
}

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option. */
export function settings (said: Readonly<Record<string, unknown>>, name: string, place: string): Settings {
  const { from = 'bearer', clockTolerance = 0, maxTokenAge } = said
  return {
    read: reader(from, `The option from of ${place}`),
    places: [from].flat() as Place[],
    realm: text(said, 'realm', place) ?? name,
    clock: {
      tolerance: toleranceOf(clockTolerance, place),
      maxAge: maxTokenAge === undefined ? null : positive(parseDuration(maxTokenAge, `The option maxTokenAge of ${place}`), `The option maxTokenAge of ${place}`)
    },
    typ: typ(text(said, 'typ', place)),
    cacheSize: optional(cacheSize, 4096)(said['cache'], place),
    mapping: fn(said, 'principal', '(claims) => principal or null', place) as Mapping | null,
    load: fn(said, 'load', '(principal, { scheme, request }) => principal or null', place) as Load | null,
    sign: signFields(said['sign'], place)
  }
}

function signFields (sign: unknown, place: string): Settings['sign'] {
  if (sign === undefined) return null
  return sign === true ? {} : readOptions(sign, ['key', 'kid', 'expiresIn'], `The option sign of ${place}`)
}

function typ (said: string | null): string | null {
  return said === null ? null : mediaType(said)
}

function positive (value: number, option: string): number {
  if (value > 0) return value
  throw misconfigured(`${option} must be more than 0: it would refuse every token.`)
}

function cacheSize (value: unknown, place: string): number {
  if (value === false) return 0
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 2) return value
  throw misconfigured(`The option cache of ${place} must be a number of tokens, 2 or more, or false.`)
}

/** A non-empty string option, or `null` when it was left out. */
export function text (said: Readonly<Record<string, unknown>>, option: string, place: string): string | null {
  const value = said[option]
  if (value === undefined) return null
  if (typeof value === 'string' && value !== '') return value
  throw misconfigured(`The option ${option} of ${place} must be a non-empty string.`)
}

function fn (said: Readonly<Record<string, unknown>>, option: string, signature: string, place: string): unknown {
  const value = said[option]
  if (value === undefined) return null
  if (typeof value === 'function') return value
  throw misconfigured(`The option ${option} of ${place} must be a function ${signature}.`)
}

/** Clocks that differ by more than this are to be set, not tolerated: every second of it is one in which an expired token is good. */
const longestTolerance = 600

function toleranceOf (value: unknown, place: string): number {
  const tolerance = parseDuration(value, `The option clockTolerance of ${place}`)
  if (tolerance <= longestTolerance) return tolerance
  throw misconfigured(`The option clockTolerance of ${place} is above ${longestTolerance} seconds. Set the clocks instead.`)
}
