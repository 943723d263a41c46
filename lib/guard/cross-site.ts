import type { FastifyRequest } from 'fastify'
import { type AuthError, misconfigured } from '../errors.js'
import { describeValue, didYouMean } from '../util/describe.js'
import { ownField } from '../util/objects.js'

/** Safe methods of RFC 9110, 9.2.1, and QUERY. */
const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY'])

/**
 * Returns true for requests whose ambient credentials must be checked: those with an unsafe method, and upgrades,
 * because a page of any site may open a WebSocket, which is a GET.
 */
export function changesState (request: FastifyRequest): boolean {
  return !safeMethods.has(request.method) || ownField(request.raw.headers, 'upgrade') !== undefined
}

/**
 * Returns a description, for the log, of how a browser reports that another site sent this request (by Fetch Metadata
 * or by `Origin`, RFC 6454), otherwise `null`. Accepts `Sec-Fetch-Site` with `same-origin` or `none`, an `Origin` that
 * is the application's own or one of `origins`, and requests without either header, which no browser sends.
 */
export function otherSite (request: FastifyRequest, origins: ReadonlySet<string>): string | null {
  const { headers } = request.raw
  const [origin, site] = [ownField(headers, 'origin'), ownField(headers, 'sec-fetch-site')]
  if (origin === undefined && site === undefined) return null
  if (site === 'same-origin' || site === 'none') return null
  if (origin === undefined) return `Sec-Fetch-Site is ${truncate(String(site))}, and there is no Origin`
  const own = ownOrigin(request)
  return origins.has(origin) || origin === own ? null : describeDifference(origin, own)
}

/**
 * Returns the application's own origin as browsers write it. Proxies may add the default port to the host, and some,
 * such as Traefik, report the scheme of a WebSocket for an upgrade, which browsers never have in `Origin`.
 */
function ownOrigin ({ protocol, host }: FastifyRequest): string {
  // A request that another plugin has created (an injected WebSocket) has no socket, and so no protocol.
  const scheme = (protocol as string | undefined ?? 'http').replace(/^ws/, 'http')
  const port = scheme === 'https' ? ':443' : ':80'
  return `${scheme}://${host.endsWith(port) ? host.slice(0, -port.length) : host}`
}

function describeDifference (origin: string, own: string): string {
  const both = `Origin is ${truncate(origin)}, and the application's own is ${truncate(own)}`
  if (hostnameOf(origin) === null || hostnameOf(origin) !== hostnameOf(own)) return both
  return `${both}. Only the scheme or the port differs: behind a proxy, set Fastify's option trustProxy to its ` +
    'address, so that the application knows its own origin; otherwise add the other one to the option origins'
}

function hostnameOf (origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).hostname : null
}

/** Limits the length of a header in the log. No valid origin is longer, because host names are not. */
function truncate (text: string): string {
  return text.slice(0, 300)
}

const webSchemes: readonly string[] = ['https', 'http']

/** URL schemes that are never in an `Origin`: such pages have the origin `null`, or that of the page around them. */
const schemesWithoutOrigin: ReadonlySet<string> =
  new Set(['about', 'blob', 'data', 'file', 'filesystem', 'ftp', 'javascript', 'mailto', 'ws', 'wss'])

const example = 'https://app.example.com'

/**
 * Parses the option `origins`. Each entry is an origin exactly as browsers send it in `Origin` (RFC 6454, 6.2),
 * including those of application shells, such as `capacitor://localhost`. An entry that no browser sends stops the
 * boot.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the entry, why it matches nothing, and what to write.
 */
export function parseOrigins (value: unknown): ReadonlySet<string> {
  if (!Array.isArray(value)) {
    throw misconfigured(`The option origins must be a list of origins, such as ['${example}'].`)
  }
  return new Set(value.map(parseOrigin))
}

function parseOrigin (entry: unknown): string {
  const url = typeof entry === 'string' && URL.canParse(entry) ? new URL(entry) : null
  if (url === null) throw invalidOrigin(describeValue(entry))
  const problem = problemOf(url)
  // the part before the host may be a password
  const shown = url.host === '' ? describeValue(entry) : `'${url.protocol}//${url.host}'`
  if (problem !== null) throw invalidOrigin(`${shown}, ${problem}`)
  const origin = `${url.protocol}//${url.host}`
  if (origin !== entry) throw invalidOrigin(describeValue(entry), origin)
  return origin
}

function invalidOrigin (entry: string, suggestion = example): AuthError {
  return misconfigured(`The option origins has ${entry}. Write an origin: scheme, host and port without a path, such ` +
    `as '${suggestion}'.`)
}

/** Returns the reason why browsers cannot send this origin, or `null` if they can. */
function problemOf ({ protocol, host }: URL): string | null {
  const scheme = protocol.slice(0, -1)
  if (host.includes('*')) return 'and a wildcard matches nothing, as origins are compared whole: name each of them'
  if (schemesWithoutOrigin.has(scheme)) return `and browsers send no origin with the scheme '${scheme}'`
  if (webSchemes.includes(scheme)) return webHost.test(host) ? null : 'whose host is neither a name nor an address'
  if (didYouMean(scheme, webSchemes) !== '') {
    return `and the scheme '${scheme}' looks like a misspelled 'https' or 'http'`
  }
  return shellHost.test(host) ? null : 'whose host is not a name'
}

const webHost = /^(?:\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::\d+)?$/
/** Application shells also have hosts such as `-`, `.` and identifiers in capitals. */
const shellHost = /^[\w.-]+(?::\d+)?$/
