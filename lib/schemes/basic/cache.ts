import { hash, randomBytes, timingSafeEqual } from 'node:crypto'

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
  /** The digest of the password. */
  readonly digest: Buffer
  /** The stored hash that it was verified with. */
  readonly stored: string
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
 * Creates a cache that holds no password, only digests of passwords with a secret of this process in front. Nobody
 * outside can compute or see one, so that the cache does not help to guess a password. An entry counts for one user,
 * address and stored hash, so that a changed password is verified again.
 * @param ttl seconds.
 * @param now a monotonic clock, in milliseconds.
 */
export function createVerifiedCache (
  ttl: number, maxEntries = defaultMaxEntries, now: () => number = () => performance.now()
): VerifiedCache {
  const secret = randomBytes(32).toString('latin1')
  const verified = new Map<string, Verified>()
  const pending = new Map<string, Promise<boolean>>()
  const digestOf = ([, password]: Attempt): Buffer => hash('sha256', secret + password, 'buffer')
  // an address has no space
  const keyOf = ([username, , , address]: Attempt): string => `${address} ${username}`

  function add (attempt: Attempt, digest: Buffer): void {
    const [, , stored] = attempt
    const key = keyOf(attempt)
    // the newest entry is the last one
    verified.delete(key)
    const [oldest] = verified.keys()
    if (verified.size >= maxEntries && oldest !== undefined) verified.delete(oldest)
    verified.set(key, { digest, stored, end: now() + ttl * 1000, misses: 0 })
  }

  function find (attempt: Attempt): Verified | null {
    const [, , stored] = attempt
    const known = verified.get(keyOf(attempt))
    return known !== undefined && known.stored === stored && now() < known.end ? known : null
  }

  async function settle (key: string, valid: Promise<boolean>, add: () => void): Promise<boolean> {
    try {
      if (!await valid) return false
      add()
      return true
    } finally {
      pending.delete(key)
    }
  }

  return {
    has (attempt) {
      const known = find(attempt)
      if (known === null) return false
      if (timingSafeEqual(known.digest, digestOf(attempt))) return true
      if (++known.misses >= maxMisses) verified.delete(keyOf(attempt))
      return false
    },
    async check (attempt, verify) {
      const digest = digestOf(attempt)
      const known = find(attempt)
      if (known !== null && timingSafeEqual(known.digest, digest)) return true
      const [username, , stored, address] = attempt
      const key = JSON.stringify([username, stored, address, digest.toString('base64url')])
      const running = pending.get(key) ?? settle(key, verify(), () => { add(attempt, digest) })
      pending.set(key, running)
      return running
    }
  }
}
