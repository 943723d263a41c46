import type { Gatehouse } from './gatehouse.js'
import type { PrincipalInput } from './principal.js'
import type { SchemeName } from './names.js'
import type { AuthFor, PrincipalFor } from './request-auth.js'
import type { RouteAuth } from './route-auth.js'
import type { LoginOptions } from './sessions.js'

/** The options of `reply.logout`. */
export interface LogoutOptions {
  /** The scheme of the session; needed only when several schemes have sessions. */
  readonly scheme: SchemeName
}

/**
 * Rejects likely misspellings of `auth`. Fastify accepts any key in `config`, so a misspelled rule would have no
 * effect.
 */
interface AuthMisses {
  Auth?: never
  auht?: never
  auths?: never
  atuh?: never
}

declare module 'fastify' {
  interface FastifyContextConfig extends AuthMisses {
    /** The policy of the route. */
    auth?: RouteAuth
  }

  // The type parameters repeat Fastify's own, by name: TypeScript merges an interface only then.
  interface FastifyRequest<
    RouteGeneric, RawServer, RawRequest, SchemaCompiler, TypeProvider, ContextConfig, Logger, RequestType
  > {
    /** The caller; anonymous until the guard has run. The type depends on the route's own `config.auth`. */
    readonly auth: AuthFor<ContextConfig>
    /** The principal of the caller, or `null`. The type depends on the route's own `config.auth`. */
    readonly principal: PrincipalFor<ContextConfig>
  }

  interface FastifyReply {
    /**
     * Ends the request as the guard does for a caller without a credential: 401, with the challenges of the route's
     * policy.
     */
    challenge (): FastifyReply
    /** Ends the request as the guard does for a caller without the required rights: 403. */
    forbid (): FastifyReply
    /**
     * Starts a session for the principal, under a new id. The response waits for it, even if the promise is not
     * awaited.
     * @throws {AuthError} `AUTH_CROSS_SITE` if the browser reports that another site caused the request, unless
     * `stateChecked` is true; `AUTH_FAULT` if no scheme has sessions, or several have and no scheme is given.
     */
    login<P extends PrincipalInput> (
      principal: P, options?: LoginOptions & { readonly scheme?: SchemeName }
    ): Promise<void>
    /**
     * Ends the session. Copies of its cookie are refused from now on.
     * @throws {AuthError} as `login` does.
     */
    logout (options?: LogoutOptions): Promise<void>
  }

  interface FastifyInstance {
    /** The functions of the plugin for applications. */
    readonly gatehouse: Gatehouse
  }
}
