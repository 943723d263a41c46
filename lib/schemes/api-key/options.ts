import type { FastifyRequest } from 'fastify'
import type { Duration } from '../../../types/options.js'
import type { No, PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { CredentialSource, Load } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { parseRealm } from '../../kit/challenge.js'
import { decorateOption } from '../../kit/principal.js'
import { parseSources } from '../../kit/read-credential.js'
import { describeValue } from '../../util/describe.js'
import { isMap, isObject } from '../../util/objects.js'
import { duration, exactlyOne, functionOf, isHttpToken, object, optional, string } from '../../util/options.js'
import { isPrefix } from './key.js'

interface ApiKeyCommon {
  /** The source of the key in requests. Default `'header:x-api-key'`. */
  readonly from?: CredentialSource | readonly CredentialSource[]
  /** The realm of the challenge. Default: the name of the scheme; none when `challenge` is given. */
  readonly realm?: string
  /**
   * The HTTP authentication scheme of the challenge, such as `'X-API-Key'`. Default `'APIKey'`. A key that travels as
   * Bearer always has the challenge `Bearer`.
   */
  readonly challenge?: string
  /** Adds a property to every request: the principal of this scheme, or `null`. `true` for the scheme's own name. */
  readonly decorate?: true | string
}

interface GivenKeys extends ApiKeyCommon {
  /** The prefix of every key of this scheme. A key without it is *foreign*: the next scheme is tried. */
  readonly prefix?: string
  readonly load?: Load
  readonly managed?: never
}

/** The options of `apiKey` for keys that the application stores or verifies: `keys` or `verify`. */
export type ApiKeyOptions<P extends PrincipalInput = PrincipalInput> = GivenKeys & (
  | {
    /**
     * Principals by key. Each key must have at least 128 random bits after decoding. Only digests of the keys are
     * kept.
     */
    readonly keys: Readonly<Record<string, P>> | ReadonlyMap<string, P>
    readonly verify?: never
  }
  | {
    /**
     * Returns the principal of a key, or `null`, `undefined`, `false` or `{ valid: false }` for an unknown one. If it
     * throws, the response is a 500.
     */
    readonly verify: (key: string, request: FastifyRequest) => P | No | Promise<P | No>
    readonly keys?: never
  })

/** The options of `apiKey` for keys that are created, listed, rotated and revoked at run time. */
export interface ManagedApiKeyOptions<P extends PrincipalInput = PrincipalInput> extends ApiKeyCommon {
  readonly managed: ManagedOptions
  /**
   * Returns the owner of a key: the owner's current scopes and roles limit those of the key, and other fields are
   * added to the principal. Returns `null` for an owner that does not exist or is disabled, whose keys are then
   * invalid. Called with a principal without scopes and roles, and without a request. Default: the `load` of the
   * plugin; without either, the key's own scopes and roles count.
   */
  readonly load?: Load<PrincipalFrom<P>>
  readonly keys?: never
  readonly verify?: never
  readonly prefix?: never
}

/** The option `managed` of `apiKey`. */
export interface ManagedOptions {
  /**
   * The prefix of every key, followed by an underscore. Choose one that secret scanners can attribute to you, such as
   * `acme_live`. Letters, digits and single underscores between them.
   */
  readonly prefix: string
  /**
   * The time for which this process caches a key's record, and its owner from `load`. A key that was revoked by another
   * instance stays valid here for up to this time. At most 60 seconds; 0 disables the cache. Default 5 seconds.
   */
  readonly staleness?: Duration
}

/** {@link ManagedOptions}, parsed and complete. */
export interface ManagedSettings {
  readonly prefix: string
  /** Seconds. */
  readonly staleness: number
}

type Verify = (key: string, request: FastifyRequest) => unknown

/** The option of the scheme that decides how keys are checked: a table, a function of the application, or the store. */
export type KeyChoice =
  | { readonly kind: 'keys', readonly keys: KeyEntries }
  | { readonly kind: 'verify', readonly verify: Verify }
  | { readonly kind: 'managed', readonly managed: ManagedSettings }

/** The entries of the option `keys`, from key to principal. Neither is checked yet. */
export type KeyEntries = ReadonlyArray<readonly [key: unknown, principal: unknown]>

/** {@link ApiKeyOptions} or {@link ManagedApiKeyOptions}, parsed and complete. */
export interface ApiKeySettings extends ReturnType<typeof parseSources> {
  readonly choice: KeyChoice
  /** Empty: keys need no prefix. */
  readonly prefix: string
  readonly realm: string | null
  /** `null`: the default challenge. */
  readonly challenge: string | null
  readonly load: Load | null
  readonly decorate: true | string | null
  /** The path of these options, for messages: `schemes.service`. */
  readonly path: string
}

const parseManaged = object({
  prefix: parsePrefix,
  staleness: optional(
    duration({ max: 60, reason: 'A key that another instance revoked stays valid here for this time.' }), 5
  )
})

const parse = object({
  keys: optional(parseKeys, null),
  verify: optional(functionOf<Verify>('(key, request) that returns a principal or null'), null),
  managed: optional(parseManaged, null),
  from: (value = 'header:x-api-key', option) => parseSources(value, option),
  prefix: optional(string, null),
  realm: optional(parseRealm, null),
  challenge: optional(parseChallenge, null),
  load: optional(functionOf<Load>('(principal, { scheme, request }) that returns a principal or null'), null),
  decorate: optional(decorateOption, null)
})

/** Parses the options of the scheme `name`. @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option. */
export function parseApiKeyOptions (options: unknown, name: string): ApiKeySettings {
  const path = `schemes.${name}`
  const { keys, verify, managed, from, ...settings } = parse(options, `The options of ${path}`)
  const choice = exactlyOne<KeyChoice>({
    keys: keys === null ? null : { kind: 'keys', keys },
    verify: verify === null ? null : { kind: 'verify', verify },
    managed: managed === null ? null : { kind: 'managed', managed }
  }, `The options of ${path}`)
  if (choice.kind === 'managed' && settings.prefix !== null) {
    throw misconfigured(
      `The option ${path}.prefix cannot be used with managed keys. Write the prefix as managed.prefix.`
    )
  }
  if (settings.challenge !== null && from.sources.includes('bearer')) {
    throw misconfigured(`The option ${path}.challenge cannot be used with a key that travels as Bearer, whose ` +
      "challenge is always Bearer (RFC 6750). Leave challenge out, or 'bearer' out of the option from.")
  }
  return Object.freeze({ ...settings, ...from, choice, prefix: settings.prefix ?? '', path })
}

function parseKeys (keys: unknown, option: string): KeyEntries {
  if (!isMap(keys) && !isObject(keys)) {
    throw misconfigured(`${option} must be an object or a Map from key to principal. Got ${describeValue(keys)}.`)
  }
  const entries = isMap(keys) ? [...keys] : Object.entries(keys)
  if (entries.length === 0) throw misconfigured(`${option} is empty. Add a key, or use verify.`)
  return entries
}

function parsePrefix (prefix: unknown, option: string): string {
  if (isPrefix(prefix)) return prefix
  throw misconfigured(`${option} must be 2 to 32 letters and digits with single underscores between them, a letter ` +
    `first, such as 'acme_live'. Got ${describeValue(prefix)}.`)
}

function parseChallenge (challenge: unknown, option: string): string {
  if (typeof challenge === 'string' && isHttpToken(challenge)) return challenge
  const hint = typeof challenge === 'string' && challenge.includes('realm')
    ? ' Write the realm as the option realm.'
    : ''
  throw misconfigured(`${option} must be the name of an HTTP authentication scheme, such as 'X-API-Key'. Got ` +
    `${describeValue(challenge)}.${hint}`)
}
