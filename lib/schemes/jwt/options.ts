import type { Agent } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { Duration } from '../../../types/options.js'
import type { Unavailable } from '../../../types/outcome.js'
import type { No, PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { CredentialSource, Load } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { ClaimValue, Claims, ClockRules, RequiredClaims } from '../../jose/claims.js'
import { mediaType } from '../../jose/claims.js'
import { parseAlgorithms } from '../../jose/jwk.js'
import type { JoseHeader } from '../../jose/jws.js'
import type { KeyResolver, StaticKeys } from '../../jose/keyring.js'
import { isKeysUrl, parseAgent, parseHosts } from '../../jose/remote/fetch-json.js'
import type { RemoteOptions } from '../../jose/remote/remote-keys.js'
import { decorateOption } from '../../kit/principal.js'
import { parseSources } from '../../kit/read-credential.js'
import type { Source } from '../../kit/read-credential.js'
import { describeValue } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import {
  asGiven, duration, functionOf, isHttpToken, listOf, object, oneOf, optional, text
} from '../../util/options.js'
import type { Parsed, Parser } from '../../util/options.js'
import {
  defaultClaimNames, describeClaimText, isClaimText, noClaims, parseClaimNames, parseRequiredClaims
} from './claim-options.js'
import type { ClaimNames, ClaimNameSettings } from './claim-options.js'
import { parseDescription } from './openapi.js'
import type { TokenDescription } from './openapi.js'
import { parseResource } from './resource.js'
import type { ResourceOptions, ResourceSettings } from './resource.js'
import { parseSign } from './sign-options.js'
import type { SignOptions, SignSettings } from './sign-options.js'

/** Holds the verified content of a token for handlers, deep-frozen. It does not contain the token itself. */
export interface JwtCredential {
  readonly claims: Claims
  readonly header: JoseHeader
}

/** Configuration of one issuer whose tokens are accepted. */
export interface JwtIssuer {
  /** The exact value of the claim `iss`, usually a URL. */
  readonly issuer: string | undefined
  /**
   * The value of the claim `aud` for this application, usually its URL, or a list of values of which a token must have
   * at least one. `false` also accepts tokens for other applications.
   */
  readonly audience: string | readonly string[] | false | undefined
  /**
   * Claims that tokens must have, each with its accepted value or a list of accepted values, such as `{ token_use:
   * 'access' }`. If the claim of a token is a list, it must contain one of these values. Default: none.
   */
  readonly claims?: Readonly<Record<string, ClaimValue | readonly ClaimValue[]>>
  /**
   * Secrets (at least as long as the hash), public keys, a JWK set, the https URL of a JWK set, or a function that
   * returns the key for a header. Default: the keys in the metadata of the issuer (RFC 8414, OpenID Connect Discovery).
   */
  readonly keys?: StaticKeys | URL | KeyResolver | undefined
  /**
   * The accepted algorithms. Default: the `alg` of each JWK, or the usual algorithm of the kind of key: HS256, RS256,
   * or that of the curve.
   */
  readonly algorithms?: readonly Algorithm[]
}

/**
 * Returns the configuration of an issuer by its `iss`. The `iss` is not verified yet: compare it with known values, and
 * build no URL or query from it. `null`, `undefined` or `false` makes tokens of that issuer *foreign*. Configurations
 * are cached without expiry, negative results for a minute. Throw an `AuthError` with the code `AUTH_UNAVAILABLE` if
 * the issuer cannot be looked up now (503). Any other error is answered with 500.
 */
export type IssuerResolver = (iss: string) => IssuerAnswer | Promise<IssuerAnswer>

type IssuerAnswer = Omit<JwtIssuer, 'issuer'> | Unavailable | No

/**
 * Maps the claims of a token to a principal, on every request. `null`, `undefined`, `false` or `{ valid: false }`
 * refuses the token with 401. An error is answered with 500.
 */
export type ClaimsMapping<P extends PrincipalInput> =
  (claims: Claims, request: FastifyRequest) => P | No | Promise<P | No>

interface JwtCommon<P extends PrincipalInput> {
  /** The source of the token. Default `'bearer'`. A token in a cookie is refused in cross-site requests. */
  readonly from?: CredentialSource | readonly CredentialSource[]
  /** The realm in the challenge. Default: the name of the scheme. */
  readonly realm?: string
  /** The accepted difference between the clocks of the issuer and this machine. Default 0. */
  readonly clockTolerance?: Duration
  /** The longest time after `iat` for which a token is valid, even if its `exp` is later. */
  readonly maxTokenAge?: Duration
  /** The only accepted `typ`, such as `'at+jwt'`. Default: no `typ`, `JWT` and `at+jwt` are accepted. */
  readonly typ?: string
  /**
   * Describes the first audience as a protected resource (RFC 9728): the plugin serves the document, and every
   * challenge of the scheme names it. The audience must be an https URL.
   */
  readonly resource?: true | ResourceOptions
  /** The maximum number of cached tokens. Default 4,096; `false` turns the cache off. */
  readonly cache?: number | false
  /**
   * Maps the claims of a token to a principal, or names the claims that it is made from. Default: `id` from `sub`,
   * `scopes` from `scope` or `scp`, `roles` from `roles`. The `realm` is the `iss`, unless a mapping returns another.
   */
  readonly principal?: ClaimsMapping<P> | ClaimNames
  readonly load?: Load<PrincipalFrom<P>>
  /**
   * For a scheme that signs: `true` if all routes of the scheme are meant for clients that act for a person. Default:
   * their tokens are refused on routes without a `scopes` rule.
   */
  readonly delegated?: boolean
  /**
   * Describes in OpenAPI where tokens come from, such as the flows of an identity provider. Default: the flows of the
   * OAuth 2.0 server of this application if the scheme signs for it, otherwise HTTP Bearer, or the place in `from`.
   */
  readonly openapi?: TokenDescription
  /** Adds a property to every request: the principal of this scheme, or `null`. `true` for the scheme's own name. */
  readonly decorate?: true | string
  /**
   * For fetched keys: the shortest time between two fetches because of unknown keys, and after a failed fetch. Default
   * `'30s'`.
   */
  readonly cooldown?: Duration
  /** For fetched keys: the time for which they are used after the last success if fetches fail. Default `'24h'`. */
  readonly staleFor?: Duration
  /** For fetched keys: host names, in addition to loopback ones, that need no TLS. Default: none. */
  readonly insecureHosts?: readonly string[]
  /**
   * For fetched keys: the agent of the requests, for proxies and private certificate authorities. Default: the global
   * agent.
   */
  readonly agent?: Agent
}

/** The options of {@link jwt}, with one `issuer` and its keys, or several `issuers`. */
export type JwtOptions<P extends PrincipalInput = PrincipalInput> = JwtCommon<P> & (
  | Omit<JwtIssuer, 'issuer'> & {
    /** The exact value of the claim `iss`, usually a URL. `false` accepts tokens with any issuer, or none. */
    readonly issuer: string | false | undefined
    /** Lets the scheme sign tokens too: `app.gatehouse.tokens.issue`. */
    readonly sign?: true | SignOptions
    readonly issuers?: never
  }
  | {
    readonly issuers: readonly JwtIssuer[] | IssuerResolver
    readonly issuer?: never
    readonly audience?: never
    readonly claims?: never
    readonly keys?: never
    readonly algorithms?: never
    readonly sign?: never
  }
)

type Mapping = ClaimsMapping<PrincipalInput>

/** {@link JwtIssuer}, parsed. */
export interface IssuerSettings {
  /** `null` accepts any issuer. */
  readonly issuer: string | null
  /** The accepted values; `null` accepts any audience. */
  readonly audience: readonly string[] | null
  readonly claims: RequiredClaims
  readonly algorithms: readonly Algorithm[] | null
  /** The option `keys`, not parsed yet: key material, a URL or a function; `undefined` if the keys are discovered. */
  readonly keys: unknown
  /** The path of these options, for messages: `schemes.user.issuers[0]`. */
  readonly path: string
}

/** {@link JwtOptions}, parsed and complete. */
export interface JwtSettings extends Source {
  readonly sources: readonly CredentialSource[]
  readonly realm: string
  readonly clock: ClockRules
  readonly typ: string | null
  /** 0 if tokens are not cached. */
  readonly cacheSize: number
  /** `null` if the principal is made from the claims of `claimNames`. */
  readonly mapping: Mapping | null
  readonly claimNames: ClaimNameSettings
  readonly load: Load | null
  /** `true` if delegated tokens may use routes without a `scopes` rule. */
  readonly delegated: boolean
  /** `null` if the audience is not described as a protected resource. */
  readonly resource: ResourceSettings | null
  /** `null` for a description by `from`. */
  readonly openapi: TokenDescription | null
  readonly decorate: true | string | null
  /** `null` if the scheme does not sign tokens. */
  readonly sign: SignSettings | null
  readonly issuers: readonly IssuerSettings[] | ((iss: string) => unknown)
  readonly remote: RemoteSettings
  /** The path of these options, for messages: `schemes.user`. */
  readonly path: string
}

/** Configures how keys are fetched. */
export type RemoteSettings = Pick<RemoteOptions, 'cooldown' | 'staleFor' | 'insecureHosts' | 'agent'>

const common = {
  from: (value = 'bearer', option) => parseSources(value, option),
  realm: optional(text, null),
  clockTolerance: optional(duration({ max: 600, reason: 'Set the clocks instead.' }), 0),
  maxTokenAge: optional(duration({ positive: true, reason: 'It would refuse every token.' }), null),
  typ: optional(parseTyp, null),
  cache: optional(parseCacheSize, 4096),
  resource: optional(parseResource, null),
  principal: optional(parsePrincipal, defaultClaimNames),
  load: optional(functionOf<Load>('(principal, { scheme, request }) => principal or null'), null),
  delegated: optional(oneOf(true, false), null),
  openapi: optional(parseDescription, null),
  decorate: optional(decorateOption, null),
  cooldown: optional(duration({ positive: true, reason: 'Every unknown key would cause a fetch.' }), null),
  staleFor: optional(duration(), null),
  insecureHosts: optional(parseHosts, null),
  agent: optional(parseAgent, null)
} satisfies Record<string, Parser<unknown>>

const issuerKeys = {
  audience: parseAudience,
  claims: optional(parseRequiredClaims, noClaims),
  keys: asGiven,
  algorithms: optional(parseAlgorithms, null)
} satisfies Record<string, Parser<unknown>>

const parseOneIssuer = object({ ...common, issuer: parseIssuer, ...issuerKeys, sign: optional(parseSign, null) })

const parseSeveralIssuers = object({
  ...common,
  issuer: missing('Write it in each of the issuers'),
  audience: missing('Write it in each of the issuers'),
  claims: missing('Write it in each of the issuers'),
  keys: missing('Write it in each of the issuers'),
  algorithms: missing('Write it in each of the issuers'),
  sign: missing('A scheme that signs has one issuer'),
  issuers: asGiven
})

const parseEntry = object({ issuer: parseIssuerOfSeveral, ...issuerKeys })

/** Parses the result of a function in the option `issuers`. */
export const parseIssuerAnswer = object(issuerKeys)

/** Parses the options of the scheme `name`. @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option. */
export function parseJwtOptions (options: unknown, name: string): JwtSettings {
  const path = `schemes.${name}`
  if (isObject(options) && Object.hasOwn(options, 'issuers')) {
    const { issuers, ...rest } = parseSeveralIssuers(options, `The options of ${path}`)
    return complete(rest, { name, path, issuers: parseIssuers(issuers, `${path}.issuers`), sign: null })
  }
  const { issuer, audience, claims, keys, algorithms, sign, ...rest } =
    parseOneIssuer(options, `The options of ${path}`)
  if (sign !== null && claims.length > 0) {
    throw misconfigured(`The option ${path}.claims is about tokens of others, but the scheme signs its own. Leave it ` +
      'out.')
  }
  const issuers = Object.freeze([{ issuer, audience, claims, keys, algorithms, path }])
  return complete(rest, { name, path, issuers, sign })
}

type Rest = Pick<JwtSettings, 'issuers' | 'sign' | 'path'> & { readonly name: string }

function complete (parsed: Parsed<typeof common>, { name, path, issuers, sign }: Rest): JwtSettings {
  const { from, realm, clockTolerance, maxTokenAge, typ, cache, resource, ...rest } = parsed
  const { principal, load, delegated, openapi, decorate, ...remote } = rest
  if (delegated !== null && sign === null) {
    throw misconfigured(`The option ${path}.delegated is about tokens that the scheme signs, but it has no sign. ` +
      'Leave it out.')
  }
  checkRemote(remote, issuers, path)
  const { cooldown, staleFor, insecureHosts, agent } = remote
  return Object.freeze({
    ...from,
    realm: realm ?? name,
    clock: Object.freeze({ tolerance: clockTolerance, maxAge: maxTokenAge }),
    typ: parseTokenType(typ, sign, path),
    cacheSize: cache,
    mapping: typeof principal === 'function' ? principal : null,
    claimNames: typeof principal === 'function' ? defaultClaimNames : principal,
    load,
    delegated: delegated === true,
    resource,
    openapi,
    decorate,
    sign,
    issuers,
    remote: Object.freeze({
      cooldown: (cooldown ?? 30) * 1000,
      staleFor: (staleFor ?? 86_400) * 1000,
      insecureHosts: insecureHosts ?? [],
      agent
    }),
    path
  })
}

/** Rejects options about fetched keys if no keys are fetched, because they would have no effect. */
function checkRemote (remote: object, issuers: JwtSettings['issuers'], path: string): void {
  const given = Object.entries(remote).find(([, value]) => value !== null)?.[0]
  const isRemote = typeof issuers === 'function' || issuers.some(({ keys }) => keys === undefined || isKeysUrl(keys))
  if (given === undefined || isRemote) return
  throw misconfigured(`The option ${path}.${given} is about fetched keys, but all keys are given. Leave it out.`)
}

function parseTyp (value: unknown, option: string): string {
  const typ = mediaType(text(value, option))
  if (typ.split('/').every(isHttpToken)) return typ
  throw misconfigured(`${option} must be the typ of the tokens, such as 'at+jwt'. Got ${describeValue(value)}.`)
}

/** Returns the only accepted `typ`. A scheme that signs accepts only the `typ` that it writes (RFC 9068, 4). */
function parseTokenType (typ: string | null, sign: SignSettings | null, path: string): string | null {
  if (sign === null || typ === 'at+jwt') return typ
  if (typ === null) return 'at+jwt'
  throw misconfigured(`The option ${path}.typ must be 'at+jwt' in a scheme that signs, because that is the typ of ` +
    'its tokens. Leave it out.')
}

function parseIssuers (issuers: unknown, path: string): JwtSettings['issuers'] {
  if (typeof issuers === 'function') return issuers as (iss: string) => unknown
  if (!Array.isArray(issuers) || issuers.length === 0) {
    throw misconfigured(`The option ${path} must be a non-empty list of { issuer, audience, keys }, or a function. ` +
      `Got ${describeValue(issuers)}.`)
  }
  const entries = listOf(parseEntry)(issuers, `The option ${path}`)
  if (new Set(entries.map(({ issuer }) => issuer)).size !== entries.length) {
    throw misconfigured(`The option ${path} names an issuer twice. Give its keys and audiences in one entry.`)
  }
  return Object.freeze(entries.map((entry, i) => Object.freeze({ ...entry, path: `${path}[${i}]` })))
}

function missing (hint: string): Parser<null> {
  return (value, option) => {
    if (value === undefined) return null
    throw misconfigured(`${option} cannot be combined with issuers. ${hint}.`)
  }
}

function parseIssuer (value: unknown, option: string): string | null {
  if (value === false) return null
  if (isClaimText(value)) return value
  throw misconfigured(`${option} must be the exact 'iss' of the tokens, or false to accept tokens of any issuer. Got ` +
    `${describeClaimText(value)}.`)
}

function parseIssuerOfSeveral (value: unknown, option: string): string {
  if (isClaimText(value)) return value
  throw misconfigured(`${option} must be the exact 'iss' of the tokens, which identifies each of several issuers. ` +
    `Got ${describeClaimText(value)}.`)
}

function parseAudience (value: unknown, option: string): readonly string[] | null {
  if (value === false) return null
  const list: readonly unknown[] = Array.isArray(value) ? [...value] : [value]
  if (list.length > 0 && list.every(isClaimText)) return Object.freeze(list)
  const wrong = list.length === 1 ? list[0] : value
  throw misconfigured(`${option} must be the 'aud' of this application, a list of them, or false to accept tokens ` +
    `for any audience. Got ${describeClaimText(wrong)}.`)
}

function parsePrincipal (value: unknown, option: string): Mapping | ClaimNameSettings {
  if (isObject(value)) return parseClaimNames(value, option)
  if (typeof value === 'function') return value as Mapping
  throw misconfigured(`${option} must be a function (claims) => principal or null, or an object with the names of ` +
    `claims: { id, scopes, roles }. Got ${describeValue(value)}.`)
}

function parseCacheSize (value: unknown, option: string): number {
  if (value === false) return 0
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 2) return value
  throw misconfigured(`${option} must be a number of tokens, 2 or more, or false. Got ${describeValue(value)}.`)
}
