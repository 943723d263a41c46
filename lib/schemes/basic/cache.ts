import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import { getOrCreate } from '../../util/objects.js'

/** A password from an address, for a user with a stored hash. */
export type Attempt = readonly [username: string, password: string, stored: string, address: string]

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
 * Caches for a short time which password was right for which user, stored hash and address. It holds no password, only
 * digests of passwords with a secret of this process in front. Nobody outside can compute or see one, so that the cache
 * does not help to guess a password. An entry counts for one user, address and stored hash, so that a changed password
 * is verified again.
 */
export class VerifiedCache {
  readonly #ttlMs: number
  readonly #maxEntries: number
  readonly #now: () => number
  readonly #secret = randomBytes(32).toString('latin1')
  readonly #verified = new Map<string, Verified>()
  readonly #pending = new Map<string, Promise<boolean>>()

  /** @param now a monotonic clock, in milliseconds. */
  constructor (ttlMs: number, maxEntries = defaultMaxEntries, now: () => number = () => performance.now()) {
    this.#ttlMs = ttlMs
    this.#maxEntries = maxEntries
    this.#now = now
  }

  /** Returns true for an attempt in the cache. Several other passwords in between remove it. */
  has (attempt: Attempt): boolean {
    const known = this.#find(attempt)
    if (known === null) return false
    if (timingSafeEqual(known.digest, this.#digestOf(attempt))) return true
    if (++known.misses >= maxMisses) this.#verified.delete(keyOf(attempt))
    return false
  }

  /**
   * Returns the result of `verify`, from the cache if it was `true`. A failure is never cached. Equal attempts at the
   * same time share one call.
   */
  async check (attempt: Attempt, verify: () => Promise<boolean>): Promise<boolean> {
    const digest = this.#digestOf(attempt)
    const known = this.#find(attempt)
    if (known !== null && timingSafeEqual(known.digest, digest)) return true
    const [username, , stored, address] = attempt
    const key = JSON.stringify([username, stored, address, digest.toString('base64url')])
    return getOrCreate(this.#pending, key, () =>
      this.#settle(key, verify(), () => { this.#add(attempt, digest) }))
  }

  async #settle (key: string, valid: Promise<boolean>, add: () => void): Promise<boolean> {
    try {
      if (!await valid) return false
      add()
      return true
    } finally {
      this.#pending.delete(key)
    }
  }

  #add (attempt: Attempt, digest: Buffer): void {
    const [, , stored] = attempt
    const key = keyOf(attempt)
    // the newest entry is the last one
    this.#verified.delete(key)
    const [oldest] = this.#verified.keys()
    if (this.#verified.size >= this.#maxEntries && oldest !== undefined) this.#verified.delete(oldest)
    this.#verified.set(key, { digest, stored, end: this.#now() + this.#ttlMs, misses: 0 })
  }

  #find (attempt: Attempt): Verified | null {
    const [, , stored] = attempt
    const known = this.#verified.get(keyOf(attempt))
    return known !== undefined && known.stored === stored && this.#now() < known.end ? known : null
  }

  #digestOf ([, password]: Attempt): Buffer {
    return hash('sha256', this.#secret + password, 'buffer')
  }
}

function keyOf ([username, , , address]: Attempt): string {
  // an address has no space
  return `${address} ${username}`
}
