/*
 * Assertions about types. `npm run types` checks them: nothing here runs. What must not compile has `@ts-expect-error`
 * above it.
 */

/** Groups tests under a title. */
export declare function describe (title: string, body: () => void): void

/** Says what the assertions in its body show. */
export declare function test (title: string, body: () => void): void

/** Takes a value, or a type alone, of which `type` asserts something. */
export declare function expect<T> (): Expectation<T>
export declare function expect<T> (value: T): Expectation<T>

interface Expectation<T> {
  readonly type: Assertions<T, true> & { readonly not: Assertions<T, false> }
}

/** Each takes an argument that nobody has where the assertion does not hold, which the compiler reports. */
interface Assertions<T, Holds extends boolean> {
  toBe<U> (...wrong: Check<Same<T, U>, Holds>): void
  toBeAssignableFrom<U> (value: U, ...wrong: Check<Assignable<U, T>, Holds>): void
  toBeAssignableTo<U> (...wrong: Check<Assignable<T, U>, Holds>): void
  toHaveProperty<K extends string> (name: K, ...wrong: Check<Assignable<K, keyof T>, Holds>): void
}

type Check<Actual extends boolean, Holds extends boolean> = Actual extends Holds ? [] : ['this does not hold', never]

type Assignable<From, To> = [From] extends [To] ? true : false

/** True for the same type alone: `any`, optional and readonly properties differ from others. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
