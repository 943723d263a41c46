// A second package of the same application, with a scope of its own.
import type {} from 'fastify-gatehouse'

declare module 'fastify-gatehouse' {
  interface Scopes { 'reports:read': true }
}
