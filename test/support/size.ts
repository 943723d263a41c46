/** Sizes of a test that takes long: for `npm test`, for `npm run test:soak` with `SOAK=short`, and for `npm run test:soak`. */
export interface Sizes<T> {
  readonly test: T
  readonly short: T
  readonly full: T
}

/** Returns the size of this run. The files that import this function are the soak tests. */
export function size<T> ({ test, short, full }: Sizes<T>): T {
  const soak = process.env['SOAK'] ?? ''
  if (soak === '') return test
  if (soak === 'short') return short
  if (soak === 'full') return full
  throw new Error(`SOAK is '${soak}'. It must be 'short', 'full' or unset.`)
}
