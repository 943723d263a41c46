import type { No } from '../../types/answer.js'
import { property } from './objects.js'

/**
 * Returns true if the result of an application's function means "no": `null`, `undefined`, `false`, or an object whose
 * `valid` is `false` (docs/options.md, "Functions that may say no"). Every such result is checked here. A result that
 * is neither a "no" nor of the declared type is an `AUTH_FAULT`.
 */
export function isNo (answer: unknown): answer is No {
  if (typeof answer !== 'object' || answer === null) return answer === null || answer === undefined || answer === false
  return property(answer, 'valid') === false
}

/** Returns true for a promise, or any object with `then`, such as a query builder. */
export function isThenable<T> (value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | null | undefined)?.then === 'function'
}
