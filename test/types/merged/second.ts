// The second of two packages of one application.
import { apiKey, type SchemesOf } from 'fastify-gatehouse'

export const schemes = { service: apiKey({ verify: async key => ({ id: key, team: 'billing' }) }) }

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<typeof schemes> {}
  interface Scopes { 'reports:read': true }
  interface Roles { auditor: true }
  interface Plans { pro: true }
}
