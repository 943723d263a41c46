import type { Agent } from 'node:http'
import type { Unavailable } from '../../../types/outcome.js'
import { publish } from '../../events/events.js'
import type { Algorithm } from '../algorithms.js'
import type { VerificationKey } from '../jwk.js'
import type { JoseHeader } from '../jws.js'
import { ringOf } from '../keyring.js'
import type { Keyring } from '../keyring.js'
import { Discovery, fixedLocation } from './discovery.js'
import type { KeyLocation } from './discovery.js'
import { elapsed } from './elapsed.js'
import type { Elapsed } from './elapsed.js'
import { fetchJson } from './fetch-json.js'
import type { FetchedJson, FetchFailure } from './fetch-json.js'
import { usableKeys } from './key-set.js'
import type { UsableKeys } from './key-set.js'

const timeout = 5_000
const maxBytes = 262_144

const minute = 60_000
const hour = 60 * minute
/** How long keys are fresh of which the source does not say it, in milliseconds. */
const defaultFreshness = 10 * minute
/** How long after its freshness a key is used while it is fetched anew. */
const besideFor = hour
/** The first pause between fetches while no key is known. */
const firstPause = 1_000

/** The key of a token, `null` where its issuer has none for it, or that nobody can tell now. */
export type FoundKey = VerificationKey | null | Unavailable

/** What all key sources of a scheme have in common. */
export interface RemoteOptions {
  readonly scheme: string
  /** Milliseconds between two fetches for unknown keys, and after a failed one. */
  readonly cooldown: number
  /** Milliseconds after the last success for which known keys are used while the source fails. */
  readonly staleFor: number
  readonly insecureHosts: readonly string[]
  readonly agent: Agent | null
  readonly warn: (fields: object, message: string) => void
  /** Every fetch that runs: closing the application ends them. */
  readonly fetches: Set<AbortController>
}

/** Where the keys of one issuer are, and what they may be. */
export type RemoteSource = {
  readonly algorithms: readonly Algorithm[] | null, readonly check: (key: VerificationKey) => void
} & (
  | { readonly issuer: string | null, readonly url: URL }
  /** The JWK set is where the metadata of the issuer says. */
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
 * The keys of one issuer, fetched from its JWK set when the first token comes. Answers at once while a key is known: it
 * is fetched anew beside, and is waited for only an hour past its freshness. At most one fetch runs at a time.
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
  /** Since the last success. */
  #age: Elapsed = () => Infinity
  /** Since the last fetch, when that failed. */
  #sinceFailure: Elapsed | null = null
  #failures = 0
  /** Since the last fetch for an unknown key. */
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

  /** Finds the key that a header selects. Returns no promise when it is known. */
  find (header: JoseHeader): FoundKey | Promise<FoundKey> {
    const key = this.#select(header)
    if (key === null) return this.#findUnknown(header, null)
    const age = this.#age()
    return age < this.#freshFor ? key : this.#findAged(header, key, age)
  }

  /**
   * Finds another key where one that the token did not name by `kid` failed to verify it: the key of the issuer may
   * have been replaced since. A key that was named is the only one that could be meant.
   */
  findAnother (header: JoseHeader, failed: VerificationKey): FoundKey | Promise<FoundKey> {
    return failed.kid !== null && header.kid === failed.kid ? null : this.#findUnknown(header, failed)
  }

  #select (header: JoseHeader): VerificationKey | null {
    return this.#ring === null ? null : this.#ring.find(header.alg, header.kid ?? null)
  }

  /** What is past its freshness is fetched beside; while the source fails, known keys are used until `staleFor`. */
  #findAged (header: JoseHeader, key: VerificationKey, age: number): FoundKey | Promise<FoundKey> {
    if (this.#pause() === 0) this.#fetch()
    const usable = this.#sinceFailure === null ? age < this.#freshFor + besideFor : age < this.#options.staleFor
    return usable ? key : this.#settle(header, null)
  }

  /**
   * An unknown key is fetched for once in a cooldown; while no key is known at all, as soon as the pause after a
   * failure is over.
   */
  #findUnknown (header: JoseHeader, failed: VerificationKey | null): FoundKey | Promise<FoundKey> {
    const due = this.#ring === null || this.#sinceUnknown() >= this.#options.cooldown
    if (due && this.#fetching === null && this.#pause() === 0) {
      if (this.#ring !== null) this.#sinceUnknown = elapsed()
      this.#fetch()
    }
    return this.#settle(header, failed)
  }

  /** Answers by what is known when the fetch that runs has ended. */
  #settle (header: JoseHeader, failed: VerificationKey | null): FoundKey | Promise<FoundKey> {
    return this.#fetching === null
      ? this.#answer(header, failed)
      : this.#fetching.then(() => this.#answer(header, failed))
  }

  #answer (header: JoseHeader, failed: VerificationKey | null): FoundKey {
    const key = this.#select(header)
    if (this.#sinceFailure === null) return key === failed ? null : key
    const isUsable = this.#age() < Math.max(this.#freshFor, this.#options.staleFor)
    if (key !== null && key !== failed && isUsable) return key
    return {
      kind: 'unavailable',
      detail: 'the keys of the issuer cannot be fetched',
      retryAfter: Math.max(1, Math.ceil(this.#pause() / 1000))
    }
  }

  /** Milliseconds until the source may be asked again after a failure; 0 when it may. */
  #pause (): number {
    if (this.#sinceFailure === null) return 0
    const { cooldown } = this.#options
    const pause = this.#ring === null ? Math.min(firstPause * 2 ** (this.#failures - 1), cooldown) : cooldown
    return Math.max(0, pause - this.#sinceFailure())
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
    await fetchJson(url, { timeout, maxBytes, agent: this.#options.agent, lookup: null, signal })

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
    this.#ring = ringOf(keys)
    this.#age = elapsed()
    this.#freshFor = maxAge === null ? defaultFreshness : Math.min(Math.max(maxAge * 1000, minute), hour)
    this.#sinceFailure = null
    this.#failures = 0
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
    this.#sinceFailure = elapsed()
    this.#failures++
    const { scheme, warn } = this.#options
    const event = { scheme, issuer: this.#source.issuer, url, reason: failure, keys: this.#ring?.keys.length ?? 0 }
    warn(event, 'fastify-gatehouse: the keys of the issuer cannot be fetched')
    publish('keys-failed', event)
  }
}
