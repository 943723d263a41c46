import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** A password from an address, for a user with a stored hash. */
export type Attempt = readonly [username: string, password: string, stored: string, address: string]

/** Caches for a short time which password was right for which user, stored hash and address. */
export interface VerifiedCache {
  /** Returns true for an attempt in the cache. Several other passwords in between remove it. */
  has (attempt: Attempt): boolean
  /**
   * Returns the result of `verify`, from the cache if it was `true`. A failure is never cached. Equal attempts at the
   * same time share one call.
   */
  check (attempt: Attempt, verify: () => Promise<boolean>): Promise<boolean>
}

interface Verified {
  /** The HMAC of the attempt. */
  readonly mac: Buffer
  /** The time of the clock at which the entry expires. */
  readonly end: number
  /** Other passwords that were tried since. */
  misses: number
}

/** Cached users; beyond it, the oldest entries are dropped. */
const defaultMaxEntries = 10_000

/**
 * Other passwords after which an entry is dropped. A look-up in the cache is not a limited guess: without this,
 * somebody with the same address could find out a password, even while the account is locked.
 */
const maxMisses = 5

/**
 * Creates a cache that stores only HMACs with a key of this process, so that nothing in it helps to guess a password.
 * The HMAC covers the stored hash, so that a changed password is verified again.
 * @param ttl seconds.
 * @param now a monotonic clock, in milliseconds.
 */
export function createVerifiedCache (
  ttl: number, maxEntries = defaultMaxEntries, now: () => number = () => performance.now()
): VerifiedCache {
  const secret = randomBytes(32)
  const verified = new Map<string, Verified>()
  const pending = new Map<string, Promise<boolean>>()
  const mac = (...texts: readonly string[]): Buffer => createHmac('sha256', secret).update(
    JSON.stringify(texts)
  ).digest()
  const keyOf = ([username, , stored, address]: Attempt): string => mac(username, stored, address).toString('base64url')

  function add (attempt: Attempt): void {
    const key = keyOf(attempt)
    // the newest entry is the last one
    verified.delete(key)
    const [oldest] = verified.keys()
    if (verified.size >= maxEntries && oldest !== undefined) verified.delete(oldest)
    verified.set(key, { mac: mac(...attempt), end: now() + ttl * 1000, misses: 0 })
  }

  function isRight (attempt: Attempt, known: Verified | undefined): boolean {
    return known !== undefined && now() < known.end && timingSafeEqual(known.mac, mac(...attempt))
  }

  async function settle (key: string, attempt: Attempt, verify: () => Promise<boolean>): Promise<boolean> {
    try {
      const valid = await verify()
      if (valid) add(attempt)
      return valid
    } finally {
      pending.delete(key)
    }
  }

  return {
    has (attempt) {
      const key = keyOf(attempt)
      const known = verified.get(key)
      const right = isRight(attempt, known)
      if (!right && known !== undefined && ++known.misses >= maxMisses) verified.delete(key)
      return right
    },
    async check (attempt, verify) {
      if (isRight(attempt, verified.get(keyOf(attempt)))) return true
      const key = mac(...attempt).toString('base64url')
      const running = pending.get(key) ?? settle(key, attempt, verify)
      pending.set(key, running)
      return running
    }
  }
}
