import type { Agent } from 'node:http'
import type { Unavailable } from '../../../types/outcome.js'
import { publish } from '../../events/events.js'
import { isObject, ownFields } from '../../util/objects.js'
import type { Algorithm } from '../algorithms.js'
import { parseVerificationKey, type VerificationKey } from '../jwk.js'
import type { JoseHeader } from '../jws.js'
import { createKeyring, type Keyring } from '../keyring.js'
import { Discovery, fixedLocation, type KeyLocation } from './discovery.js'
import { Backoff, elapsed, type Elapsed, type FetchedJson, type FetchFailure, fetchJson } from './fetch-json.js'

const timeout = 5_000
const maxBytes = 262_144

const minute = 60_000
const hour = 60 * minute
/** The time for which keys are fresh if the source sends no `max-age`, in milliseconds. */
const defaultFreshness = 10 * minute
/** The time after its freshness for which a key is used while it is fetched in the background, in milliseconds. */
const backgroundFor = hour
/** The pause after the first failed fetch while no key is known, in milliseconds. */
const firstPause = 1_000

/** The key of a token; `null` if its issuer has none; *unavailable* if the keys cannot be fetched. */
export type FoundKey = VerificationKey | null | Unavailable

/** The options that all key sources of a scheme share. */
export interface RemoteOptions {
  readonly scheme: string
  /** The minimum time between two fetches for unknown keys, and after a failed fetch, in milliseconds. */
  readonly cooldown: number
  /** The time after the last success for which known keys are used while fetches fail, in milliseconds. */
  readonly staleFor: number
  readonly insecureHosts: readonly string[]
  readonly agent: Agent | null
  readonly warn: (fields: object, message: string) => void
  /** All running fetches, which are aborted when the application closes. */
  readonly fetches: Set<AbortController>
}

/** The source of one issuer's keys, and the rules for them. */
export type RemoteSource = {
  readonly algorithms: readonly Algorithm[] | null, readonly check: (key: VerificationKey) => void
} & (
  | { readonly issuer: string | null, readonly url: URL }
  /** The metadata of the issuer has the URL of the JWK set. */
  | { readonly issuer: string, readonly url: null }
)

interface Loaded extends UsableKeys {
  readonly url: string
  readonly maxAge: number | null
}

interface Failed {
  readonly url: string
  readonly failure: string
}

/**
 * Fetches the keys of one issuer from its JWK set when the first token arrives. Returns known keys at once and
 * refreshes them in the background; only an hour after the end of their freshness, requests wait for the fetch. At most
 * one fetch runs at a time.
 *
 * @example
 * const keys = new RemoteKeys({ issuer: 'https://id.example.com', url: null, algorithms: null }, options)
 * const key = await keys.find({ alg: 'RS256', kid: '2026-11' })
 */
export class RemoteKeys {
  readonly #source: RemoteSource
  readonly #options: RemoteOptions
  readonly #location: KeyLocation
  #ring: Keyring | null = null
  #freshFor = 0
  /** The time since the last successful fetch. */
  #age: Elapsed = () => Infinity
  readonly #backoff = new Backoff()
  /** The time since the last fetch for an unknown key. */
  #sinceUnknown: Elapsed = () => Infinity
  #fetching: Promise<void> | null = null
  #warned: ReadonlySet<string> = new Set()

  constructor (source: RemoteSource, options: RemoteOptions) {
    this.#source = source
    this.#options = options
    this.#location = source.url === null
      ? new Discovery(source.issuer, { fetch: this.#get, insecureHosts: options.insecureHosts })
      : fixedLocation(source.url)
  }

  /** Finds the key that a header selects. Returns a promise only if the key has to be fetched. */
  find (header: JoseHeader): FoundKey | Promise<FoundKey> {
    const key = this.#select(header)
    if (key === null) return this.#findUnknown(header, null)
    const age = this.#age()
    return age < this.#freshFor ? key : this.#findAged(header, key, age)
  }

  /**
   * Finds another key for a token without a `kid`, after a key has failed to verify it: the issuer may have replaced
   * its key. If the token has a `kid`, it means that key and no other.
   */
  findAnother (header: JoseHeader, failed: VerificationKey): FoundKey | Promise<FoundKey> {
    return failed.kid !== null && header.kid === failed.kid ? null : this.#findUnknown(header, failed)
  }

  #select (header: JoseHeader): VerificationKey | null {
    return this.#ring === null ? null : this.#ring.find(header.alg, header.kid ?? null)
  }

  /**
   * Refreshes keys in the background that are no longer fresh. Until that has succeeded, known keys are used: for an
   * hour after they stopped being fresh, or after a failed fetch, but never longer than `staleFor`.
   */
  #findAged (header: JoseHeader, key: VerificationKey, age: number): FoundKey | Promise<FoundKey> {
    if (this.#pause() === 0) this.#fetch()
    const usable = this.#backoff.hasFailed
      ? age < this.#options.staleFor && this.#backoff.failureAge < backgroundFor
      : age < this.#freshFor + backgroundFor
    return usable ? key : this.#settle(header, null)
  }

  /**
   * Fetches the keys because of an unknown one, at most once in a cooldown; while no key is known at all, as soon as
   * the pause after a failure is over.
   */
  #findUnknown (header: JoseHeader, failed: VerificationKey | null): FoundKey | Promise<FoundKey> {
    const due = this.#ring === null || this.#sinceUnknown() >= this.#options.cooldown
    if (due && this.#fetching === null && this.#pause() === 0) {
      if (this.#ring !== null) this.#sinceUnknown = elapsed()
      this.#fetch()
    }
    return this.#settle(header, failed)
  }

  /** Selects the key after the running fetch has ended, or at once if there is none. */
  #settle (header: JoseHeader, failed: VerificationKey | null): FoundKey | Promise<FoundKey> {
    return this.#fetching === null
      ? this.#answer(header, failed)
      : this.#fetching.then(() => this.#answer(header, failed))
  }

  #answer (header: JoseHeader, failed: VerificationKey | null): FoundKey {
    const key = this.#select(header)
    if (!this.#backoff.hasFailed) return key === failed ? null : key
    const isUsable = this.#age() < Math.max(this.#freshFor, this.#options.staleFor)
    if (key !== null && key !== failed && isUsable) return key
    return {
      kind: 'unavailable',
      detail: 'the keys of the issuer cannot be fetched',
      retryAfter: Math.max(1, Math.ceil(this.#pause() / 1000))
    }
  }

  /** Returns the milliseconds before the next fetch after a failure; 0 if there is no need to wait. */
  #pause (): number {
    const { cooldown } = this.#options
    return this.#backoff.remaining({ first: this.#ring === null ? firstPause : cooldown, longest: cooldown })
  }

  #fetch (): void {
    this.#fetching ??= this.#run()
  }

  async #run (): Promise<void> {
    const abort = new AbortController()
    this.#options.fetches.add(abort)
    const loaded = await this.#load(abort.signal)
    this.#options.fetches.delete(abort)
    this.#fetching = null
    if ('failure' in loaded) this.#failed(loaded)
    else this.#succeeded(loaded)
  }

  readonly #get = async (url: URL, signal: AbortSignal): Promise<FetchedJson | FetchFailure> =>
    await fetchJson(url, { timeout, maxBytes, agent: this.#options.agent, signal })

  async #load (signal: AbortSignal): Promise<Loaded | Failed> {
    const found = await this.#location.find(signal)
    if ('failure' in found) return found
    const url = found.href.slice(0, 200)
    const fetched = await this.#get(found, signal)
    if ('failure' in fetched) return this.#lost(url, fetched.failure)
    const { algorithms, check } = this.#source
    const keys = usableKeys(fetched.value, { algorithms, check, previous: this.#ring?.keys ?? [] })
    return typeof keys === 'string' ? this.#lost(url, keys) : { ...keys, url, maxAge: fetched.maxAge }
  }

  #lost (url: string, failure: string): Failed {
    this.#location.forget()
    return { url, failure }
  }

  #succeeded ({ keys, ignored, url, maxAge }: Loaded): void {
    this.#ring = createKeyring(keys)
    this.#age = elapsed()
    this.#freshFor = maxAge === null ? defaultFreshness : Math.min(Math.max(maxAge * 1000, minute), hour)
    this.#backoff.noteSuccess()
    const { scheme, warn } = this.#options
    const { issuer } = this.#source
    const texts = ignored.map(each => JSON.stringify(each))
    ignored.forEach((each, i) => {
      if (!this.#warned.has(`${texts[i]}`)) {
        warn({ scheme, issuer, url, ...each }, 'fastify-gatehouse: a key of the issuer cannot be used')
      }
    })
    this.#warned = new Set(texts)
    publish(
      'keys-fetched',
      {
        scheme,
        issuer,
        url,
        kids: keys.flatMap(key => key.kid?.slice(0, 100) ?? []),
        keys: keys.length,
        ignored: ignored.length
      }
    )
  }

  #failed ({ url, failure }: Failed): void {
    this.#backoff.noteFailure()
    const { scheme, warn } = this.#options
    const event = { scheme, issuer: this.#source.issuer, url, reason: failure, keys: this.#ring?.keys.length ?? 0 }
    warn(event, 'fastify-gatehouse: the keys of the issuer cannot be fetched')
    publish('keys-failed', event)
  }
}

const maxKeys = 100

/** The keys of a fetched JWK set. */
interface UsableKeys {
  readonly keys: readonly VerificationKey[]
  readonly ignored: readonly IgnoredKey[]
}

/** A key of a set that cannot be used. */
export interface IgnoredKey {
  /** The `kid` in the set, truncated to 100 characters; `null` if it has none. */
  readonly kid: string | null
  readonly reason: string
}

/** Options of {@link usableKeys}. */
export interface KeySetRules {
  /** The algorithms that the application allows; `null`: all. */
  readonly algorithms: readonly Algorithm[] | null
  /** The keys of the previous set. A key that has not changed stays the same object. */
  readonly previous: readonly VerificationKey[]
  /** Throws to refuse a key, such as one whose private key has been published. */
  readonly check: (key: VerificationKey) => void
}

/**
 * Parses a JWK set (RFC 7517, 5). Ignores secrets, private keys, keys for encryption and weak keys, and all keys that
 * share a `kid`, because it is ambiguous which of them a token means. Returns the reason if the document is not a JWK
 * set, or has no usable key.
 */
export function usableKeys (document: unknown, rules: KeySetRules): UsableKeys | string {
  const entries: unknown = isObject(document) ? ownFields(document)['keys'] : undefined
  if (!Array.isArray(entries)) return 'the answer is not a JWK set'
  if (entries.length > maxKeys) return `the JWK set has more than ${maxKeys} keys`
  const judged = entries.map(
    (jwk: unknown) => isObject(jwk) ? checkKey(ownFields(jwk), rules) : ignoredKey(null, 'it is not an object')
  )
  const read = judged.flatMap(each => isIgnored(each) ? [] : [each])
  const repeated = new Set(read.map(key => key.kid).filter((kid, i, all) => kid !== null && all.indexOf(kid) !== i))
  const keys = read.filter(key => !repeated.has(key.kid))
  const ambiguous = read.filter(key => repeated.has(key.kid)).map(
    key => ignoredKey(key.kid, 'another key of the set has the same kid')
  )
  if (keys.length === 0) return 'the JWK set has no key that can be used'
  return { keys, ignored: [...judged.filter(isIgnored), ...ambiguous] }
}

function isIgnored (each: VerificationKey | IgnoredKey): each is IgnoredKey {
  return Object.hasOwn(each, 'reason')
}

function checkKey (
  jwk: Readonly<Record<string, unknown>>, { algorithms, previous, check }: KeySetRules
): VerificationKey | IgnoredKey {
  const { kty, kid, d: privatePart } = jwk
  if (kty === 'oct') return ignoredKey(kid, 'it is a secret: everybody who reads the set could sign')
  if (privatePart !== undefined) return ignoredKey(kid, 'it is a private key: everybody who reads the set could sign')
  try {
    const key = parseVerificationKey(jwk, { algorithms, path: 'it' })
    check(key)
    return previous.find(
      known => known.kid === key.kid && known.algorithm === key.algorithm && known.key.equals(key.key)
    ) ?? key
  } catch (error) {
    // The first sentence says what is wrong; the others are advice for keys of the application.
    return ignoredKey(kid, String((error as Error).message).replace(/\. [^]*$/, ''))
  }
}

function ignoredKey (kid: unknown, reason: string): IgnoredKey {
  return { kid: typeof kid === 'string' ? kid.slice(0, 100) : null, reason: reason.slice(0, 200) }
}
