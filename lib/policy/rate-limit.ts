import type { Principal } from '../../types/principal.js'
import { internalError, misconfigured } from '../errors.js'
import { describeValue, didYouMean, joinNames } from '../util/describe.js'
import { isMisplacedPromise, isPlainObject, ownFields } from '../util/objects.js'
import { duration, listOf, object, syncFunctionOf, wholeNumber, type Parser } from '../util/options.js'

/** A number of requests in a window. */
export interface RateLimitWindow {
  readonly max: number
  /** Seconds. */
  readonly window: number
}

/** Windows that must all hold, the shortest first. */
export interface RateLimit {
  /** The name of the plan that has these windows; `null` for windows that a declaration lists itself. */
  readonly plan: string | null
  readonly windows: readonly RateLimitWindow[]
}

/** The option `limits.plans`, parsed. */
export type Plans = ReadonlyMap<string, RateLimit>

/** Returns the name of the plan of a principal. */
export type PlanFunction = (principal: Principal) => unknown

/** A `rateLimit` as declared: windows, the name of a plan, or a function that names one. */
export type DeclaredRateLimit = RateLimit | string | PlanFunction

/** The choice of a plan for each principal. */
export interface PlanChoice {
  readonly choose: PlanFunction
  readonly plans: Plans
}

const parseWindow = object({ max: wholeNumber(), window: duration({ positive: true }) })

const parsePlanFunction = syncFunctionOf<PlanFunction>('(principal) => the name of a plan')

/** Parses a `rateLimit`: `{ max, window }`, a list of these, the name of a plan, or a function of the principal. */
export const parseRateLimit: Parser<DeclaredRateLimit> = (value, option) => {
  if (typeof value === 'string') return value
  if (typeof value === 'function') return parsePlanFunction(value, option)
  return Object.freeze({ plan: null, windows: parseWindows(value, option) })
}

const parseList = listOf(parseWindow)

/** Parses one window or a list of windows, and sorts them by length. */
function parseWindows (value: unknown, option: string): readonly RateLimitWindow[] {
  if (!Array.isArray(value)) return Object.freeze([parseWindow(value, option)])
  const windows = [...parseList(value, option)].sort((a, b) => a.window - b.window)
  if (windows.length === 0) throw misconfigured(`${option} is an empty list. Give it at least one { max, window }.`)
  const repeated = windows.find(({ window }, i) => windows[i + 1]?.window === window)
  if (repeated === undefined) return Object.freeze(windows)
  throw misconfigured(`${option} has two limits for a window of ${repeated.window} s. Keep the one that you mean.`)
}

/** Parses the option `limits.plans`, an object from name to windows. */
export const parsePlans: Parser<Plans> = (value, option) => {
  if (!isPlainObject(value)) {
    throw misconfigured(`${option} must be an object from the name of a plan to { max, window } or a list of these. ` +
      `Got ${describeValue(value)}.`)
  }
  return new Map(Object.entries(ownFields(value)).map(([plan, windows]) => {
    if (plan === '') throw misconfigured(`${option} has a plan with an empty name.`)
    return [plan, Object.freeze({ plan, windows: parseWindows(windows, `${option}.${plan}`) })]
  }))
}

/**
 * Resolves a declared rate limit.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a name that is not among the plans, naming `path`.
 */
export function resolveRateLimit (declared: DeclaredRateLimit, plans: Plans, path: string): RateLimit | PlanChoice {
  if (typeof declared === 'object') return declared
  if (plans.size === 0) {
    throw misconfigured(`${path} limits requests by plan, but the option limits.plans is missing. Add it, such as ` +
      "limits: { plans: { free: { max: 100, window: '1h' } } }.")
  }
  if (typeof declared === 'function') return Object.freeze({ choose: declared, plans })
  const plan = plans.get(declared)
  if (plan !== undefined) return plan
  const names = [...plans.keys()]
  throw misconfigured(`${path} names the plan ${describeValue(declared)}, which is not in the option limits.plans.` +
    `${didYouMean(declared, names)} Known: ${joinNames(names, 'and')}.`)
}

/** Returns true if the limit depends on the principal. */
export function isPlanChoice (limit: RateLimit | PlanChoice): limit is PlanChoice {
  return 'choose' in limit
}

/**
 * Returns the limit that holds for a principal. What the application's function throws is not caught.
 * @throws {AuthError} `AUTH_FAULT` if the function does not return the name of a plan.
 */
export function rateLimitFor (principal: Principal, limit: RateLimit | PlanChoice): RateLimit {
  if (!isPlanChoice(limit)) return limit
  const returned = limit.choose(principal)
  const plan = typeof returned === 'string' ? limit.plans.get(returned) : undefined
  if (plan !== undefined) return plan
  isMisplacedPromise(returned)
  throw internalError('a rateLimit function must return the name of a plan ' +
    `(${joinNames([...limit.plans.keys()])}), and no promise. Got ${describeValue(returned)}`)
}
