/**
 * Declares the application's schemes by name, so that names, principals and credentials are typed everywhere. If it is
 * empty, every name is a `string` and every principal a {@link Principal}.
 *
 * @example
 * declare module 'fastify-gatehouse' {
 *   interface Schemes extends SchemesOf<typeof schemes> {}
 * }
 */
export interface Schemes {}

/** Declares the application's scopes, a member each (`'orders:read': true`). If empty, every scope is a `string`. */
export interface Scopes {}

/** Declares the application's roles, a member each (`admin: true`). If empty, every role is a `string`. */
export interface Roles {}

/**
 * Declares the defaults of the application: the plugin's option `default`, and those of groups, each under a name of
 * your choice. `request.principal` is then known on routes that have no `config.auth` of their own, and no other
 * default compiles. If it is empty, such routes may have any principal, or `null`.
 *
 * @example
 * const everybody = ['user', 'web'] as const satisfies GroupAuth
 * declare module 'fastify-gatehouse' {
 *   interface Defaults { plugin: typeof everybody }
 * }
 */
export interface Defaults {}

/** Declares the plans of `limits.plans`, a member each (`free: true`). If empty, every plan is a `string`. */
export interface Plans {}
