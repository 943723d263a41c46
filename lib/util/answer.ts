import type { No } from '../../types/answer.js'
import { property } from './objects.js'

/**
 * Returns true if a function of the application said no: `null`, `undefined`, `false`, or an object whose `valid` is
 * `false`. Every answer that may be a no is read here (docs/options.md, "Functions that may say no"). An answer that is
 * neither a no nor the declared form is a fault.
 */
export function isNo (answer: unknown): answer is No {
  if (typeof answer !== 'object' || answer === null) return answer === null || answer === undefined || answer === false
  return property(answer, 'valid') === false
}

/** Returns true for a promise, and for what looks like one: query builders do. */
export function isThenable<T> (value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as Partial<PromiseLike<T>> | null | undefined)?.then === 'function'
}
