import type { FastifyInstance, RegisterOptions } from 'fastify'
import { isRootPrototype } from './objects.js'

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

/** Returns a context and those that enclose it. Fastify creates a child by `Object.create(parent)`. */
export function lineage (context: FastifyInstance): readonly FastifyInstance[] {
  const all: FastifyInstance[] = []
  for (let each: object = context; !isRootPrototype(each); each = Object.getPrototypeOf(each) as object) {
    all.push(each as FastifyInstance)
  }
  return all
}

/**
 * Returns the options of a plugin that Fastify reads for the log. It applies them to encapsulated contexts only, so a
 * plugin without a context of its own passes them to the contexts of its routes.
 */
export function logOptions (options: object): RegisterOptions {
  const { logLevel, logSerializers } = options as RegisterOptions
  return { logLevel, logSerializers }
}

type InternalOptions = Readonly<Record<symbol, { readonly trustProxy?: unknown } | undefined>>

/** Returns the option `trustProxy`, or `undefined` if it cannot be found: Fastify has no public property for it. */
export function trustProxyOf (app: FastifyInstance): unknown {
  const [options] = lineage(app).flatMap(instance => Object.getOwnPropertySymbols(instance)
    .filter(symbol => symbol.description === 'fastify.options')
    .map(symbol => (instance as unknown as InternalOptions)[symbol]))
  return options?.trustProxy
}
