import { createHmac, randomBytes } from 'node:crypto'
import { seconds } from '../../duration.js'
import { misconfigured } from '../../errors.js'
import { fields } from '../../shape.js'

/** Remembers, for a short while, which password was right for which user and stored hash. */
export interface VerifiedCache {
  /** Whether it was right a moment ago. */
  remembers (asked: readonly [username: string, password: string, stored: string]): boolean
  /** What `verify` says, or said a moment ago when that was `true`. Never remembers a failure. Equal checks that are under way at the same time are one. */
  check (asked: readonly [username: string, password: string, stored: string], verify: () => Promise<boolean>): Promise<boolean>
}

/** Users that a cache remembers; beyond it, the ones that were verified first are verified again. */
const most = 10_000

/** Five minutes: as long, at most, as a password that leaked goes on where nobody changed it. */
const longest = 300

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming `place`. */
export function cacheFrom (option: unknown, place: string): VerifiedCache {
  const { ttl } = fields(option, ['ttl'], `The option cache of ${place}`)
  const length = seconds(ttl, `The option cache.ttl of ${place}`)
  if (length === 0 || length > longest) throw misconfigured(`The option cache.ttl of ${place} must be more than zero and at most ${longest / 60} minutes.`)
  return makeCache(length)
}

/**
 * Keyed by an HMAC under a key of this process, over all that was asked: nothing here helps to guess a password, and a password that was changed is a stored hash that
 * nobody asked about yet.
 * @param ttl Seconds.
 * @param now Milliseconds of a clock that is never set.
 */
export function makeCache (ttl: number, size = most, now: () => number = () => performance.now()): VerifiedCache {
  const secret = randomBytes(32)
  const verified = new Map<string, number>()
  const pending = new Map<string, Promise<boolean>>()

  function remember (key: string): void {
    const [oldest] = verified.keys()
    if (verified.size >= size && oldest !== undefined) verified.delete(oldest)
    verified.set(key, now() + ttl * 1000)
  }

  function isFresh (key: string): boolean {
    const end = verified.get(key)
    if (end === undefined) return false
    if (now() < end) return true
    verified.delete(key)
    return false
  }

  async function settle (key: string, verify: () => Promise<boolean>): Promise<boolean> {
    try {
      const valid = await verify()
      if (valid) remember(key)
      return valid
    } finally {
      pending.delete(key)
    }
  }

  const keyOf = (asked: readonly string[]): string => createHmac('sha256', secret).update(JSON.stringify(asked)).digest('base64url')

  return {
    remembers: asked => isFresh(keyOf(asked)),
    async check (asked, verify) {
      const key = keyOf(asked)
      if (isFresh(key)) return true
      const running = pending.get(key) ?? settle(key, verify)
      pending.set(key, running)
      return running
    }
  }
}
