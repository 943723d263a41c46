import type { Duration } from './duration.js'

/** So many requests of one principal in a window. */
export interface RateLimitRule {
  readonly max: number
  readonly window: Duration
}
