/** Describes a negative result of a function of the application. */
export type No = null | undefined | false | { readonly valid: false }

/** Describes a positive result: `T` without its falsy members and {@link No}. */
export type Right<T> = Exclude<T, No | 0 | '' | 0n | void>
