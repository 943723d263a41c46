/** What a function of the application may return for no. */
export type No = null | undefined | false | { readonly valid: false }

/** What is left of a check's answer where it did not say no. */
export type Right<T> = Exclude<T, No | 0 | '' | 0n | void>
