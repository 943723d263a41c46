import type { FastifyRequest } from 'fastify'
import { ownField } from '../property.js'

/** RFC 9110, 9.2.1, and QUERY: methods that ask for no change. */
const safe: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY'])

/** Whether a credential that browsers send by themselves must be checked here: an unsafe method, or any upgrade (a WebSocket is opened by GET, across sites too). */
export function changesState (request: FastifyRequest): boolean {
  return !safe.has(request.method) || ownField(request.raw.headers, 'upgrade') !== undefined
}

/**
 * Whether a browser says that another site is behind this request (Fetch Metadata, and `Origin` of RFC 6454).
 * Passes: `Sec-Fetch-Site` `same-origin` or `none`; an `Origin` that is the request's own, or one of `origins`; neither header, which is no browser.
 */
export function isCrossSite (request: FastifyRequest, origins: ReadonlySet<string>): boolean {
  const { headers } = request.raw
  const [origin, site] = [ownField(headers, 'origin'), ownField(headers, 'sec-fetch-site')]
  if (origin === undefined && site === undefined) return false
  if (site === 'same-origin' || site === 'none') return false
  return origin === undefined || (!origins.has(origin) && origin !== `${request.protocol}://${request.host}`)
}
