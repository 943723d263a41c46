import type { AnyPrincipal, PlanName } from './names.js'
import type { Duration } from './options.js'

/** Limits the requests of one principal. */
export interface RateLimitRule {
  /** Requests per window. */
  readonly max: number
  readonly window: Duration
}

/** One window, or several of different lengths that must all hold. */
export type RateLimitWindows = RateLimitRule | readonly RateLimitRule[]

/**
 * Returns the name of a principal's plan. It is called for each request and must be synchronous, so read a field of the
 * principal, which `load` can add. An error that it throws goes to the error handler unchanged, and the name of an
 * unknown plan is a fault (500).
 */
export type PlanFunction = {
  bivarianceHack (principal: AnyPrincipal): PlanName
}['bivarianceHack']

/** Limits the requests of one principal to one route: by windows, by a plan, or by the plan that a function names. */
export type RouteRateLimit = RateLimitWindows | PlanName | PlanFunction

/** The limit of one credential, such as an API key. Its requests on all routes are counted together. */
export interface OwnRateLimit extends RateLimitRule {
  /** Identifies the credential within its scheme. Must not be a secret. */
  readonly id: string
}

/** Limits wrong guesses of passwords and secrets. A success is not counted. */
export interface GuessLimits {
  /** Wrong guesses per account and window. Default 5. */
  readonly perAccount?: number
  /**
   * Wrong guesses per address and window. IPv6 addresses are counted per /64. Default 30, because people share
   * addresses.
   */
  readonly perAddress?: number
  /**
   * The first window. It doubles whenever all guesses of a window have been used. Default 1 minute.
   */
  readonly window?: Duration
  /** The longest window. Default 15 minutes. */
  readonly longestWindow?: Duration
  /**
   * The secret that encrypts the cookies of known devices, at least 32 bytes. For rotation, a list with the newest
   * first: the first one encrypts, and all of them decrypt. Default: a random secret per process, so that devices are
   * unknown after a restart and on other instances.
   */
  readonly deviceSecret?: string | readonly (string | undefined)[] | undefined
}

/** The plugin's option `limits`. */
export interface LimitsOptions {
  /** Limits guesses. `false` turns the limits off, for applications that limit guesses elsewhere. */
  readonly guesses?: false | GuessLimits
  /** The default `rateLimit` of routes. It limits the requests of a principal to each route. */
  readonly requests?: RouteRateLimit
  /** Windows by the name of a plan, which `requests` and the `rateLimit` of routes can use. */
  readonly plans?: { readonly [K in PlanName]?: RateLimitWindows }
  /**
   * An `ioredis` client, which `@fastify/rate-limit` uses to count the requests of all instances. Default: none; each
   * process counts on its own.
   */
  readonly redis?: object
}
