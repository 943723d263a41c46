import type { FastifyInstance } from 'fastify'

/**
 * Warns of what makes addresses worthless as a name for a caller. Guesses are counted per address, and the address is Fastify's `request.ip`, which is what `trustProxy` makes it.
 */
export function warnAboutTrustProxy (app: FastifyInstance): void {
  const trusted = trustProxyOf(app)
  if (trusted === true) {
    app.log.warn('fastify-gatehouse: trustProxy is true, so request.ip is the leftmost address of X-Forwarded-For, which the client writes itself: every guess may come with an address of its own. Name the proxies instead, such as trustProxy: \'10.0.0.0/8\' or \'loopback\'.')
  } else if (typeof trusted === 'number') {
    app.log.warn(`fastify-gatehouse: trustProxy is ${trusted}, and Fastify then trusts no address: every client behind the proxy has the proxy's own, and shares its guesses. Name the proxies instead, such as trustProxy: '10.0.0.0/8' or 'loopback'.`)
  }
}

/** The option is on no public property of Fastify; where it cannot be found there is nothing to say. */
function trustProxyOf (app: FastifyInstance): unknown {
  for (let instance: object | null = app; instance !== null; instance = Object.getPrototypeOf(instance) as object | null) {
    const key = Object.getOwnPropertySymbols(instance).find(symbol => symbol.description === 'fastify.options')
    if (key !== undefined) return (instance as Readonly<Record<symbol, { readonly trustProxy?: unknown } | undefined>>)[key]?.trustProxy
  }
  return undefined
}
