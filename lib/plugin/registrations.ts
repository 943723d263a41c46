import type { FastifyInstance } from 'fastify'
import type { Parts } from './decorators.js'

const registrations = new WeakMap<object, Parts[]>()

/** Notes a registration of the plugin for the test kit. All contexts of an application share one server. */
export function noteParts ({ server }: FastifyInstance, parts: Parts): void {
  registrations.set(server, [...partsOf(server), parts])
}

/** Returns the registrations in the application of a server. */
export function partsOf (server: object): readonly Parts[] {
  return registrations.get(server) ?? []
}
