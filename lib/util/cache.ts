import { isThenable } from './objects.js'

interface Entry<V> { readonly at: number, readonly value: V }

interface Loading<V> { readonly at: number, readonly promise: Promise<V> }

/** Options of {@link TtlCache}. */
export interface TtlCacheOptions<V> {
  /** The lifetime of an entry in milliseconds, counted from the start of its loading. 0 disables the cache. */
  readonly ttlMs: number
  /** The maximum number of positive entries, and of negative ones. */
  readonly maxEntries: number
  /** Returns true for a negative value. These are kept apart, so that a flood of one kind does not evict the other. */
  readonly isNegative: (value: V) => boolean
}

/**
 * Caches a bounded number of values for a bounded time, and evicts the oldest first. Parallel callers of one key share
 * one load, unless it began longer ago than the lifetime: its value may be from before a change that later callers know
 * of. For the same reason, a value whose key is deleted while it is loading is not cached.
 */
export class TtlCache<V> {
  readonly #options: TtlCacheOptions<V>
  readonly #positive = new Map<string, Entry<V>>()
  readonly #negative = new Map<string, Entry<V>>()
  readonly #loading = new Map<string, Loading<V>>()

  constructor (options: TtlCacheOptions<V>) {
    this.#options = options
  }

  /** Returns the cached value, or loads it. Failures are not cached. */
  get (key: string, load: () => V | Promise<V>): V | Promise<V> {
    const entry = this.#positive.get(key) ?? this.#negative.get(key)
    if (entry !== undefined && this.#isFresh(entry)) return entry.value
    const loading = this.#loading.get(key)
    return loading !== undefined && this.#isFresh(loading) ? loading.promise : this.#load(key, load)
  }

  /** Returns true if a value is kept, even one whose lifetime is over. */
  has (key: string): boolean {
    return this.#positive.has(key) || this.#negative.has(key)
  }

  /** Removes a value, and ignores the result of a load that has already begun. */
  delete (key: string): void {
    this.#positive.delete(key)
    this.#negative.delete(key)
    this.#loading.delete(key)
  }

  /** Does the same as {@link delete} for all keys. */
  clear (): void {
    this.#positive.clear()
    this.#negative.clear()
    this.#loading.clear()
  }

  /** Returns true within the lifetime. If the clock was set back, nothing from before is fresh. */
  #isFresh ({ at }: { readonly at: number }): boolean {
    const age = Date.now() - at
    return age >= 0 && age < this.#options.ttlMs
  }

  #load (key: string, load: () => V | Promise<V>): V | Promise<V> {
    const at = Date.now()
    const result = load()
    if (!isThenable(result)) return this.#set(key, { at, value: result })
    const isWanted = (): boolean => this.#loading.get(key) === loading
    const settle = async (): Promise<V> => {
      try {
        const value = await result
        return isWanted() ? this.#set(key, { at, value }) : value
      } finally {
        if (isWanted()) this.#loading.delete(key)
      }
    }
    const loading: Loading<V> = { at, promise: settle() }
    this.#loading.set(key, loading)
    return loading.promise
  }

  #set (key: string, entry: Entry<V>): V {
    if (this.#options.ttlMs === 0) return entry.value
    const isNegative = this.#options.isNegative(entry.value)
    const [entries, others] = isNegative ? [this.#negative, this.#positive] : [this.#positive, this.#negative]
    others.delete(key)
    // Deleted first, so that the newest entry comes last.
    entries.delete(key)
    const [oldest] = entries.size < this.#options.maxEntries ? [] : entries.keys()
    if (oldest !== undefined) entries.delete(oldest)
    entries.set(key, entry)
    return entry.value
  }
}

/** An entry of a {@link TokenCache}. It has the whole token, because whole tokens are compared. */
export interface CachedToken {
  readonly token: string
}

/** Caches a bounded number of tokens whose signatures have been verified. */
export interface TokenCache<T extends CachedToken> {
  get (token: string): T | undefined
  add (entry: T): void
}

/**
 * The length of the key of an entry: 72 bits of the signature or the nonce, which is enough not to meet by chance. V8
 * copies so short a part of a text, and finds it in a map twice as fast as a longer one.
 */
const tailLength = 12

/**
 * Creates a cache with two generations of `maxTokens / 2`. When the young generation is full, it becomes the old one,
 * and the tokens of the old one that were not used since are dropped. Callers add only verified tokens, so that invalid
 * ones do not evict others. An entry is found by the end of its token and used only if the whole token is equal. The
 * comparison need not take constant time, because only the holder of the token knows the end of its signature.
 */
export function createTokenCache<T extends CachedToken> (maxTokens: number): TokenCache<T> {
  const half = Math.max(1, Math.floor(maxTokens / 2))
  let young = new Map<string, T>()
  let old = new Map<string, T>()

  function add (entry: T): void {
    if (young.size >= half) {
      old = young
      young = new Map()
    }
    young.set(entry.token.slice(-tailLength), entry)
  }

  function get (token: string): T | undefined {
    const tail = token.slice(-tailLength)
    const fresh = young.get(tail)
    if (fresh !== undefined) return fresh.token === token ? fresh : undefined
    const aged = old.get(tail)
    if (aged === undefined || aged.token !== token) return undefined
    old.delete(tail)
    add(aged)
    return aged
  }

  return { get, add }
}

/**
 * Remembers which signatures came before, in eight bytes for each of a fixed number, so that only tokens that come
 * again are cached. A wrong answer is harmless: a token is verified before it is cached, and each time until then. A
 * caller with enough tokens can displace those of others, which are then verified once more.
 */
export class Sightings {
  readonly #size: number
  readonly #seen: Uint32Array

  constructor (size: number) {
    this.#size = size
    this.#seen = new Uint32Array(2 * size)
  }

  /** Notes a signature of at least 12 bytes. Returns true if it was noted before and no other took its place since. */
  isRepeated (signature: Buffer): boolean {
    const at = 2 * (signature.readUInt32LE(0) % this.#size)
    const [high, low] = [signature.readUInt32LE(4), signature.readUInt32LE(8)]
    if (this.#seen[at] === high && this.#seen[at + 1] === low) return true
    this.#seen[at] = high
    this.#seen[at + 1] = low
    return false
  }
}

/** The cache for `cache: false`: it keeps nothing, so that every token is verified every time. */
export const noCache: TokenCache<never> = Object.freeze({ get: () => undefined, add: () => {} })
