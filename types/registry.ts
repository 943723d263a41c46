/**
 * The application's schemes, by name: what an application fills, so that names, principals and credentials are typed
 * everywhere. Left empty, every name is a `string` and every principal a {@link Principal}.
 *
 * @example
 * declare module 'fastify-gatehouse' {
 *   interface Schemes extends SchemesOf<typeof schemes> {}
 * }
 */
export interface Schemes {}

/** The application's scopes, one member each (`'orders:read': true`). Left empty, every scope is a `string`. */
export interface Scopes {}

/** The application's roles, one member each (`admin: true`). Left empty, every role is a `string`. */
export interface Roles {}
