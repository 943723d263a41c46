// The first of two packages of one application.
import { basic, type GroupAuth, type SchemesOf } from 'fastify-gatehouse'

export const schemes = { ops: basic({ verify: async username => ({ id: username, shift: 1 }) }) }

export const everybody = 'ops' as const satisfies GroupAuth

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<typeof schemes> {}
  interface Scopes { 'orders:read': true }
  interface Roles { clerk: true }
  interface Defaults { plugin: typeof everybody }
}
