/** An entry of a {@link TokenCache}. It has the whole token, because that is what is compared. */
export interface CachedToken {
  readonly token: string
}

/** Caches a bounded number of tokens whose signatures have been verified. */
export interface TokenCache<T extends CachedToken> {
  get (token: string): T | undefined
  add (entry: T): void
}

/** The length of the key of an entry: 192 bits of the signature. This costs a third of hashing the token. */
const tailLength = 32

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
 * Tells tokens that come again from those that are used once, in eight bytes for each of a fixed number of signatures.
 * It decides only which tokens are cached: their signatures were verified, and are again for each that is not cached.
 * Who has enough tokens of their own to push out the others costs these one more verification.
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
