import type { FastifyRequest } from 'fastify'
import { ownField } from '../property.js'

/** RFC 9110, 9.2.1, and QUERY: methods that ask for no change. */
const safe: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY'])

/** Whether a credential that browsers send by themselves must be checked here: an unsafe method, or any upgrade (a WebSocket is opened by GET, across sites too). */
export function changesState (request: FastifyRequest): boolean {
  return !safe.has(request.method) || ownField(request.raw.headers, 'upgrade') !== undefined
}

/**
 * Returns how a browser says that another site is behind this request (Fetch Metadata, and `Origin` of RFC 6454), for the log; `null` where it does not.
 * Passes: `Sec-Fetch-Site` `same-origin` or `none`; an `Origin` that is the request's own, or one of `origins`; neither header, which is no browser.
 */
export function otherSite (request: FastifyRequest, origins: ReadonlySet<string>): string | null {
  const { headers } = request.raw
  const [origin, site] = [ownField(headers, 'origin'), ownField(headers, 'sec-fetch-site')]
  if (origin === undefined && site === undefined) return null
  if (site === 'same-origin' || site === 'none') return null
  if (origin === undefined) return `Sec-Fetch-Site is ${cut(String(site))}, and there is no Origin`
  const own = `${request.protocol}://${request.host}`
  return origins.has(origin) || origin === own ? null : differenceOf(origin, own)
}

function differenceOf (origin: string, own: string): string {
  const both = `Origin is ${cut(origin)}, and the application's own is ${cut(own)}`
  if (hostnameOf(origin) === null || hostnameOf(origin) !== hostnameOf(own)) return both
  return `${both}. Only the scheme or the port differs: behind a proxy, set Fastify's option trustProxy to its address, so that the application knows its own origin; ` +
    'else name the other one in the option origins'
}

function hostnameOf (origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).hostname : null
}

/** Returns the start of what a client wrote. An origin is no longer than a host name may be. */
function cut (text: string): string {
  return text.slice(0, 300)
}
