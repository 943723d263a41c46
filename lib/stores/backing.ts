import type { Store } from '../../types/store.js'

/** The part of a client of ioredis that reports on the server. */
export interface InfoClient {
  info (section: string): Promise<string>
}

/** Describes where a store of this package keeps its records. */
export type Backing =
  | { readonly kind: 'memory' }
  | { readonly kind: 'redis', readonly client: InfoClient }

const backings = new WeakMap<Store, Backing>()

/** Records the backing of a store, for the doctor. Returns the store. */
export function withBacking (store: Store, backing: Backing | undefined): Store {
  if (backing !== undefined) backings.set(store, backing)
  return store
}

/** Returns the backing of a store, or `undefined` for SQL and for a store of the application. */
export function backingOf (store: Store): Backing | undefined {
  return backings.get(store)
}
