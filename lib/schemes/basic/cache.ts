import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** A password that somebody sent from an address, for a user with a stored hash. */
export type Asked = readonly [username: string, password: string, stored: string, address: string]

/** Remembers, for a short while, which password was right for which user and stored hash, from which address. */
export interface VerifiedCache {
  /** Whether it was right from there a moment ago. Asked with others too often in between, it no longer says so. */
  remembers (asked: Asked): boolean
  /** What `verify` says, or said a moment ago when that was `true`. Never remembers a failure. Equal checks that are under way at the same time are one. */
  check (asked: Asked, verify: () => Promise<boolean>): Promise<boolean>
}

interface Verified {
  /** Of the password that was right. */
  readonly proof: Buffer
  readonly end: number
  /** Others that were tried since. */
  misses: number
}

/** Users that a cache remembers; beyond it, the ones that were verified first are verified again. */
const most = 10_000

/**
 * Other passwords for which an entry lasts. No limit of guesses stands before what is remembered: it would tell whoever tries long enough, and shares the
 * address, that a password is right, also while the account is locked.
 */
const mostMisses = 5

/**
 * Under an HMAC with a key of this process, over all that was asked: nothing here helps to guess a password, and a password that was changed is a stored hash that
 * nobody asked about yet.
 * @param ttl Seconds.
 * @param now Milliseconds of a clock that is never set.
 */
export function createVerifiedCache (ttl: number, size = most, now: () => number = () => performance.now()): VerifiedCache {
  const secret = randomBytes(32)
  const verified = new Map<string, Verified>()
  const pending = new Map<string, Promise<boolean>>()
  const mac = (...texts: readonly string[]): Buffer => createHmac('sha256', secret).update(JSON.stringify(texts)).digest()
  const placeOf = ([username, , stored, address]: Asked): string => mac(username, stored, address).toString('base64url')

  function remember (asked: Asked): void {
    const place = placeOf(asked)
    // the newest stands last
    verified.delete(place)
    const [oldest] = verified.keys()
    if (verified.size >= size && oldest !== undefined) verified.delete(oldest)
    verified.set(place, { proof: mac(...asked), end: now() + ttl * 1000, misses: 0 })
  }

  function isRight (asked: Asked, known: Verified | undefined): boolean {
    return known !== undefined && now() < known.end && timingSafeEqual(known.proof, mac(...asked))
  }

  async function settle (key: string, asked: Asked, verify: () => Promise<boolean>): Promise<boolean> {
    try {
      const valid = await verify()
      if (valid) remember(asked)
      return valid
    } finally {
      pending.delete(key)
    }
  }

  return {
    remembers (asked) {
      const place = placeOf(asked)
      const known = verified.get(place)
      const right = isRight(asked, known)
      if (!right && known !== undefined && ++known.misses >= mostMisses) verified.delete(place)
      return right
    },
    async check (asked, verify) {
      if (isRight(asked, verified.get(placeOf(asked)))) return true
      const key = mac(...asked).toString('base64url')
      const running = pending.get(key) ?? settle(key, asked, verify)
      pending.set(key, running)
      return running
    }
  }
}
