import { hash, randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ApiKeyCredential } from '../../../types/api-keys.js'
import type { Authenticated, Outcome } from '../../../types/outcome.js'
import type { No, Principal, PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { CredentialSource, Features, Scheme, SchemeContext, SchemeFactory } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { bearerChallenge, fixedChallenge, type WriteChallenge } from '../../kit/challenge.js'
import { completeOutcome, foreign, invalid, validOutcome } from '../../kit/outcome.js'
import { answeredPrincipal, principalAtBoot, realmsOf } from '../../kit/principal.js'
import { markAmbient, describeSources } from '../../kit/sources.js'
import { checkSecret } from '../../secrets/check-secret.js'
import { noteSecret } from '../../secrets/secret-uses.js'
import { joinNames } from '../../util/describe.js'
import { getOrCreate, isThenable } from '../../util/objects.js'
import { digestOf, KeyFormat } from './key.js'
import { KeyLookup, type KeyOutcome, LastUsed } from './lookup.js'
import {
  type ApiKeyOptions, type ApiKeySettings, type KeyEntries, type ManagedApiKeyOptions, type ManagedSettings,
  parseApiKeyOptions
} from './options.js'
import { Owners } from './owners.js'
import { KeyService } from './service.js'

export type { ApiKeyOptions, ManagedApiKeyOptions }

/**
 * Creates a scheme for API keys. The cost of a look-up does not depend on the number of keys.
 *
 * @example
 * const service = apiKey({ keys: { [process.env.BILLING_KEY]: { id: 'billing', scopes: ['orders:read'] } } })
 * const issued = apiKey({ managed: { prefix: 'acme_live' } })              // see app.gatehouse.apiKeys
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, for a key that can be guessed, or a wrong option.
 */
export function apiKey<P extends PrincipalInput = PrincipalInput> (
  options: ManagedApiKeyOptions<P>
): SchemeFactory<PrincipalFrom<P>, ApiKeyCredential>
export function apiKey<P extends PrincipalInput> (options: ApiKeyOptions<P>): SchemeFactory<PrincipalFrom<P>, null>
export function apiKey (options: ApiKeyOptions | ManagedApiKeyOptions): SchemeFactory {
  return (app, name, context) => {
    const settings = parseApiKeyOptions(options, name)
    const { choice, sources, load, decorate } = settings
    const common = { ...describeSources(sources), challenge: createChallenge(settings, name), decorate }
    if (choice.kind !== 'managed') {
      const { authenticate, realms } = choice.kind === 'keys'
        ? authenticateWithTable(createTable(choice.keys, settings, name), settings)
        : { authenticate: authenticateWith(completeAnswers(choice.verify as Answer, name), settings), realms: [] }
      if (choice.kind === 'keys') noteKeys(app, choice.keys, settings)
      const marked = markAmbient(sources, authenticate)
      return { ...common, authenticate: marked, realms, ...load === null ? {} : { load } }
    }
    const { scheme, features } = createManagedKeys(choice.managed, settings, { app, name, context })
    return { scheme: { ...common, ...scheme, authenticate: markAmbient(sources, scheme.authenticate) }, features }
  }
}

/** Returns the complete principal of a key, or `null` for an unknown key. */
type Verify = (key: string, request: FastifyRequest) => Principal | null | Promise<Principal | null>

/** The option `verify`. */
type Answer = (key: string, request: FastifyRequest) => PrincipalInput | No | Promise<PrincipalInput | No>

/** The keys that the application lists. */
interface Table {
  /** Returns the outcome that all requests with a key share, `undefined` for an unknown key. */
  readonly find: (key: string) => Authenticated<Principal, null> | undefined
  /** The realms of the principals. */
  readonly realms: readonly string[]
}

/** Characters. Longer keys are refused before they are hashed. */
const maxKeyLength = 1024

/** Returns the `authenticate` of keys that the application verifies. */
function authenticateWith (verify: Verify, settings: ApiKeySettings): Scheme['authenticate'] {
  const form = createFormCheck(settings)
  const judge = (principal: Principal | null): Outcome<Principal, null> =>
    principal === null ? unknownKey : validOutcome(principal, { credential: null })
  return request => {
    const key = settings.take(request)
    if (typeof key !== 'string') return key
    const refused = form(key)
    if (refused !== null) return refused
    const found = verify(key, request)
    return isThenable(found) ? Promise.resolve(found).then(judge) : judge(found)
  }
}

/** Returns the `authenticate` of keys that the application lists. A key that is found needs no check of its form. */
function authenticateWithTable (
  { find, realms }: Table, settings: ApiKeySettings
): Pick<Scheme, 'authenticate'> & Pick<Table, 'realms'> {
  const form = createFormCheck(settings)
  return {
    realms,
    authenticate (request) {
      const key = settings.take(request)
      if (typeof key !== 'string') return key
      const known = key.length > maxKeyLength ? undefined : find(key)
      return known ?? form(key) ?? unknownKey
    }
  }
}

const unknownKey = Object.freeze(invalid('the API key is unknown'))

/** Creates the check of a key's form. It returns the outcome for a text that cannot be a key, and `null` for others. */
function createFormCheck ({ check, sources, prefix }: ApiKeySettings): (key: string) => Outcome<never, never> | null {
  const mayReadJwt = sources.includes('bearer') && prefix === ''
  return key => {
    const checked = check(key)
    if (typeof checked !== 'string') return checked
    if (!key.startsWith(prefix) || (mayReadJwt && looksLikeJwt(key))) return foreign
    return key.length > maxKeyLength ? invalid('the API key is too long') : null
  }
}

/**
 * Returns true for three base64url segments, the first of which starts like a JSON object: a token of another scheme.
 */
function looksLikeJwt (key: string): boolean {
  return /^eyJ[\w-]+\.[\w-]*\.[\w-]*$/.test(key)
}

function completeAnswers (verify: Answer, name: string): Verify {
  const complete = (answer: PrincipalInput | No): Principal | null => answeredPrincipal(answer, name)
  return (key, request) => {
    const found = verify(key, request)
    return isThenable(found) ? Promise.resolve(found).then(complete) : complete(found)
  }
}

/** The characters of a Bearer credential (RFC 6750, 2.1). */
const b64token = /^[A-Za-z0-9\-._~+/]+=*$/

/** Visible ASCII without the separators of headers and cookies. */
const visible = /^[\x21-\x2b\x2d-\x3a\x3c-\x7e]+$/

/**
 * Looks keys up by their digest, salted per process. No plaintext is kept, and the time of a look-up reveals nothing
 * about the keys, because nobody outside can choose or know a digest.
 */
function createTable (keys: KeyEntries, { sources, prefix, path }: ApiKeySettings, name: string): Table {
  const salt = randomBytes(24).toString('base64url')
  // the shortest text of a digest, which never leaves this table
  const digest = (key: string): string => hash('sha256', salt + key, 'binary')
  const outcomes = new Map<string, Authenticated<Principal, null>>()
  keys.forEach(([key, principal], i) => {
    const keyPath = `Key ${i + 1} of ${path}.keys`
    if (typeof key !== 'string') throw misconfigured(`${keyPath} is not a string.`)
    if (key === 'undefined') throw misconfigured(`${keyPath} is 'undefined', so its environment variable is not set.`)
    const isBearer = sources.includes('bearer')
    if (key.length > maxKeyLength || !(isBearer ? b64token : visible).test(key)) {
      const allowed = isBearer
        ? 'letters, digits and -._~+/, with = at the end only'
        : 'visible ASCII without commas and semicolons'
      throw misconfigured(`${keyPath} cannot be sent in ${joinNames(sources, 'and')}. Use up to ${maxKeyLength} ` +
        `characters of ${allowed}.`)
    }
    if (sources.includes('basic:username') && key.includes(':')) {
      throw misconfigured(
        `${keyPath} cannot be the user name of HTTP Basic, which ends at a colon. Use a key without one.`
      )
    }
    if (!key.startsWith(prefix)) {
      throw misconfigured(
        `${keyPath} does not begin with ${path}.prefix. Put '${prefix}' in front of the key, or remove the option.`
      )
    }
    // the prefix adds no entropy
    checkSecret(key.slice(prefix.length), { minBytes: 16, path: keyPath, hint: weakKeyAdvice(path) })
    const complete = principalAtBoot(principal as PrincipalInput, name, `key ${i + 1} of ${path}.keys`)
    outcomes.set(digest(key), completeOutcome(complete, { credential: null }))
  })
  const realms = realmsOf(Array.from(outcomes.values(), ({ principal }) => principal))
  return { find: key => outcomes.get(digest(key)), realms }
}

/** Notes the keys of a table for the doctor. */
function noteKeys (app: FastifyInstance, keys: KeyEntries, { path }: ApiKeySettings): void {
  keys.forEach(([key], i) => {
    noteSecret(app, { purpose: `keys of ${path}`, path: `key ${i + 1} of ${path}.keys` }, String(key))
  })
}

/**
 * Returns the advice for weak keys that clients already have: `verify` accepts any key that the application accepts.
 */
function weakKeyAdvice (path: string): string {
  return `If customers already hold this key, use ${path}.verify in place of keys: your function may accept any key.`
}

/** Returns the word in `Authorization` that the key travels with, or `null`. */
function authorizationWord (sources: readonly CredentialSource[]): string | null {
  const [word] = sources.flatMap(
    source => /^authorization:(.*)$/.exec(source)?.[1] ?? (source === 'basic:username' ? 'Basic' : [])
  )
  return word ?? null
}

/** Returns the challenge for every failure. A key that travels as Bearer has the one that RFC 6750, 3, requires. */
function createChallenge ({ challenge, sources, realm }: ApiKeySettings, name: string): WriteChallenge {
  if (sources.includes('bearer')) return bearerChallenge(realm ?? name)
  const params = Object.freeze({ realm: realm ?? (challenge === null ? name : undefined) })
  const fixed = Object.freeze({ scheme: challenge ?? authorizationWord(sources) ?? 'APIKey', params })
  // a 403 is not answered with another key
  return fixedChallenge(({ code }) => code === 'AUTH_ACCESS_DENIED' ? null : fixed)
}

interface ManagedContext {
  readonly app: FastifyInstance
  /** The name of the scheme. */
  readonly name: string
  readonly context: SchemeContext
}

interface ManagedScheme {
  readonly scheme: Pick<Scheme, 'authenticate' | 'load' | 'ownerUnknown'>
  readonly features: Features
}

function createManagedKeys (
  managed: ManagedSettings, { take, check, load: ownLoad }: ApiKeySettings, { app, name, context }: ManagedContext
): ManagedScheme {
  claimPrefix(app, managed.prefix, name)
  const { store, grants } = context
  const load = ownLoad ?? context.load
  const format = new KeyFormat(managed.prefix)
  const lastUsed = new LastUsed(store, app.log)
  const lookup = new KeyLookup({ ...managed, scheme: name, store, lastUsed, log: app.log })
  const owners = load === null ? null : new Owners({ app, scheme: name, load, grants, staleness: managed.staleness })
  app.addHook('onClose', async () => {
    lookup.close()
    await lastUsed.flush()
  })
  const authenticate = (request: FastifyRequest) => {
    const key = take(request)
    if (typeof key !== 'string') return key
    const id = format.fits(key) ? digestOf(key) : null
    // a known id means that the same key came before, and that its form was checked then
    if (id !== null && lookup.knows(id)) return authenticateOwner(lookup, owners, id)
    const checked = check(key)
    if (typeof checked !== 'string') return checked
    const form = format.formOf(key)
    if (form === 'foreign') return foreign
    if (form !== 'ours' || id === null) return invalid('the API key is mistyped or cut off')
    return authenticateOwner(lookup, owners, id)
  }
  // the scheme itself must not load the owner again: the result could give the key more rights
  const scheme = { authenticate, load: null, ...owners === null ? { ownerUnknown: true } : {} }
  return {
    scheme,
    features: {
      apiKeys: new KeyService({ scheme: name, format, store, lookup, owners, lastUsed, grants, log: app.log })
    }
  }
}

/** Returns the outcome of a key, its rights limited to those of its owner. */
function authenticateOwner (lookup: KeyLookup, owners: Owners | null, id: string): KeyOutcome | Promise<KeyOutcome> {
  const narrow = (outcome: KeyOutcome): KeyOutcome | Promise<KeyOutcome> =>
    outcome.kind === 'authenticated' && owners !== null
      ? owners.narrow(outcome, () => authenticateOwner(lookup, owners, id))
      : outcome
  const outcome = lookup.outcomeOf(id)
  return isThenable(outcome) ? outcome.then(narrow) : narrow(outcome)
}

/** Schemes by prefix: two schemes with the same prefix would accept each other's keys. */
const claimedPrefixes = new WeakMap<FastifyInstance, Map<string, string>>()

function claimPrefix (app: FastifyInstance, prefix: string, scheme: string): void {
  const claimed = getOrCreate(claimedPrefixes, app, () => new Map<string, string>())
  const owner = claimed.get(prefix)
  if (owner !== undefined) {
    throw misconfigured(`The option schemes.${scheme}.managed.prefix is '${prefix}', and so is the one of ` +
      `schemes.${owner}. Give one of them another prefix.`)
  }
  claimed.set(prefix, scheme)
}
