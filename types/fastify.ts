import type { Gatehouse } from './gatehouse.js'
import type { PrincipalInput } from './principal.js'
import type { SchemeName } from './names.js'
import type { AuthFor, PrincipalFor } from './request-auth.js'
import type { RouteAuth } from './route-auth.js'
import type { LoginOptions } from './sessions.js'

/** What `reply.logout` takes. */
export interface LogoutOptions {
  /** The scheme that keeps the session; needed only when there are several. */
  readonly scheme: SchemeName
}

/**
 * What people write for `auth` by mistake. Fastify takes any key in `config`, so a rule under another name would be no
 * rule.
 */
interface AuthMisses {
  Auth?: never
  auht?: never
  auths?: never
  atuh?: never
}

declare module 'fastify' {
  interface FastifyContextConfig extends AuthMisses {
    /** Who may call this route. */
    auth?: RouteAuth
  }

  // The type parameters repeat Fastify's own, by name: TypeScript merges an interface only then.
  interface FastifyRequest<RouteGeneric, RawServer, RawRequest, SchemaCompiler, TypeProvider, ContextConfig, Logger, RequestType> {
    /** Who is calling. Anonymous until the guard ran. Its type follows the route's own `config.auth`. */
    readonly auth: AuthFor<ContextConfig>
    /** Whom the credential belongs to, or `null`. Its type follows the route's own `config.auth`. */
    readonly principal: PrincipalFor<ContextConfig>
  }

  interface FastifyReply {
    /**
     * Ends the request as the guard does for a caller without a credential: 401, with the challenges of the route's
     * policy.
     */
    challenge (): FastifyReply
    /** Ends the request as the guard does for a caller who may not: 403. */
    forbid (): FastifyReply
    /**
     * Starts a session for the principal, under a new id. The response waits for it, also where nobody awaits the
     * promise.
     * @throws {AuthError} `AUTH_CROSS_SITE` when a browser says that another site asked, unless `stateChecked` is true;
     * `AUTH_FAULT` when no scheme keeps sessions, or several do and none is named.
     */
    login<P extends PrincipalInput> (
      principal: P, options?: LoginOptions & { readonly scheme?: SchemeName }
    ): Promise<void>
    /**
     * Ends the session; an earlier copy of its cookie is worthless from now on.
     * @throws {AuthError} as `login` does.
     */
    logout (options?: LogoutOptions): Promise<void>
  }

  interface FastifyInstance {
    /** What an application calls of the plugin. */
    readonly gatehouse: Gatehouse
  }
}
