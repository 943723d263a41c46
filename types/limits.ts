import type { Duration } from './duration.js'

/** So many requests of one principal in a window. */
export interface RateLimitRule {
  readonly max: number
  readonly window: Duration
}

/** The limit that a credential brings along (an API key's own), and what is counted under it: requests on all routes. */
export interface OwnRateLimit extends RateLimitRule {
  /** Of the credential, among those of its scheme; never a secret. */
  readonly id: string
}

/** How many guesses of passwords and secrets are too many. A success is not counted. */
export interface GuessLimits {
  /** Wrong ones for an account in a window. Default 5. */
  readonly perAccount?: number
  /**
   * Wrong ones from an address in a window; an IPv6 address counts with its whole /64. Default 30, because people share
   * addresses.
   */
  readonly perAddress?: number
  /** The first window. Each one that was used up makes the next one twice as long. Default 1 minute. */
  readonly window?: Duration
  /** The longest that a window grows to. Default 15 minutes. */
  readonly longestWindow?: Duration
  /**
   * What the cookies of known devices are sealed with, at least 32 bytes; a list rotates: the newest seals, all of them open. Left out, it is made up at boot, so that
   * a restart, or another instance, knows no device.
   */
  readonly deviceSecret?: string | readonly (string | undefined)[] | undefined
}

/** The plugin's option `limits`. */
export interface LimitsOptions {
  /** Guesses. `false` counts none: for applications that count them elsewhere. */
  readonly guesses?: false | GuessLimits
  /** Requests of a principal on a route, where neither the route nor its groups say another `rateLimit`. */
  readonly requests?: RateLimitRule
  /** An `ioredis` client that counts requests for all instances; `@fastify/rate-limit` is given it. Left out, each process counts for itself. */
  readonly redis?: object
}
