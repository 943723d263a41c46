/** What a {@link TokenCache} keeps: with it the whole token, because that is what has to be equal. */
export interface CachedToken {
  readonly token: string
}

/** Remembers tokens whose signature verified, a bounded number of them. */
export interface TokenCache<T extends CachedToken> {
  get (token: string): T | undefined
  add (entry: T): void
}

/** Characters of the tail: 192 bits of a signature. Looking up by it costs a third of hashing the token. */
const tailLength = 32

/**
 * A cache in two generations of `size / 2`: when the young one is full, it becomes the old one and what the old one held and nobody asked for is forgotten.
 * Only what verified is added, so that bad tokens neither fill it nor push others out. An entry is found by the end of its token and believed when the whole is equal:
 * who knows the end of the signature knows the token, so the comparison needs no constant time.
 */
export function tokenCache<T extends CachedToken> (size: number): TokenCache<T> {
  const half = Math.max(1, Math.floor(size / 2))
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

/** For `cache: false`: every token is verified every time. */
export const noCache: TokenCache<never> = Object.freeze({ get: () => undefined, add: () => {} })
