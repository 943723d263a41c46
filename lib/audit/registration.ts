import { channel } from 'node:diagnostics_channel'
import type { AuditRow } from '../../types/audit.js'
import type { Finding } from '../../types/doctor.js'
import { sourcesOf } from '../kit/sources.js'
import type { BoundScheme } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import type { RoleSummary, SchemeSummary } from './snapshot.js'

/** Describes one registration of the plugin, in any context, for the command line. */
export interface Registration {
  /** Node's server, which all contexts of an application share. */
  readonly server: object
  rows (): readonly AuditRow[]
  schemes (): readonly SchemeSummary[]
  roles (): readonly RoleSummary[]
  /** Lets the application boot even if its doctor finds something that is refused in production. */
  allowBoot (): void
  /** Returns the findings of the doctor, once the application is ready. */
  examine (): Promise<readonly Finding[]>
}

/** The name is found by another copy of this package too: the one of the command line. */
const registered = channel('fastify-gatehouse:registered')

/** Announces a registration, if anybody listens. */
export function announce (registration: Registration): void {
  if (registered.hasSubscribers) registered.publish(registration)
}

/** Calls a listener for every registration in this process from now on. Returns a function that ends this. */
export function onRegistration (listener: (registration: Registration) => void): () => void {
  const receive = (message: unknown): void => { listener(message as Registration) }
  registered.subscribe(receive)
  return () => { registered.unsubscribe(receive) }
}

/** Returns what schemes accept: the sources of their credentials, and their `accepts`. */
export function schemeSummaries (schemes: Iterable<BoundScheme>): readonly SchemeSummary[] {
  return [...schemes].map(({ name, scheme }) => ({ name, accepts: { from: sourcesOf(scheme), ...scheme.accepts } }))
}

/** Returns what roles include. */
export function roleSummaries ({ included }: Permissions): readonly RoleSummary[] {
  return [...included].map(([name, { roles, scopes }]) =>
    ({ name, roles: [...roles].sort(), scopes: [...scopes].sort() }))
}
