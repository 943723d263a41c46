import type { FastifyInstance } from 'fastify'

/**
 * Makes all routes share a hook that uses no `this`. Fastify calls `bind` for each hook of each route, with the
 * instance of the route, and every bound function takes 50 bytes. Here, `bind` returns the hook itself. A version of
 * Fastify that does not call `bind` uses the hook as any other.
 * @param bound is called with the instance of each route and each not-found handler, before the application is ready.
 */
export function shareHook<Hook extends object> (hook: Hook, bound?: (instance: FastifyInstance) => void): Hook {
  const bind = (instance: FastifyInstance): Hook => {
    bound?.(instance)
    return hook
  }
  return Object.defineProperty(hook, 'bind', { value: bind })
}
