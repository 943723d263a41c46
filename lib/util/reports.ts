import type { FindingId } from '../../types/doctor.js'
import type { Store } from '../../types/store.js'
import { getOrCreate } from './objects.js'

/** A weakness that a part of an application has noticed in its own options. */
export interface Report {
  readonly id: FindingId
  /** The option or the place that has it. */
  readonly where: string
}

const reports = new WeakMap<object, Report[]>()

/**
 * Reports a weakness of an application to its doctor, which decides what to do about it once the application is ready.
 *
 * @example
 * report(app, 'insecure-cookies', 'schemes.web.secure')
 * @param app the instance that the plugin was registered on.
 */
export function report (app: object, id: FindingId, where: string): void {
  getOrCreate<object, Report[]>(reports, app, () => []).push({ id, where })
}

/** Returns what was reported about an application until now. */
export function reportsOf (app: object): readonly Report[] {
  return reports.get(app) ?? []
}

/** The part of a client of ioredis that reports on the server. */
export interface InfoClient {
  info (section: string): Promise<string>
}

/** Describes where a store of this package keeps its records. */
type Backing =
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
