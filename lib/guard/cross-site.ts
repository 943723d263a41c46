import type { FastifyRequest } from 'fastify'
import { type AuthError, misconfigured } from '../errors.js'
import { describeValue, didYouMean } from '../util/describe.js'
import { ownField } from '../util/objects.js'

/** RFC 9110, 9.2.1, and QUERY: methods that ask for no change. */
const safe: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY'])

/**
 * Whether a credential that browsers send by themselves must be checked here: an unsafe method, or any upgrade (a
 * WebSocket is opened by GET, across sites too).
 */
export function changesState (request: FastifyRequest): boolean {
  return !safe.has(request.method) || ownField(request.raw.headers, 'upgrade') !== undefined
}

/**
 * Returns how a browser says that another site is behind this request (Fetch Metadata, and `Origin` of RFC 6454), for
 * the log; `null` where it does not. Passes: `Sec-Fetch-Site` `same-origin` or `none`; an `Origin` that is the
 * request's own, or one of `origins`; neither header, which is no browser.
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

/**
 * Schemes of pages that a browser loads by HTTP, and those in which it writes no origin: `null`, that of the page
 * around, or none.
 */
const web: readonly string[] = ['https', 'http']
const never: ReadonlySet<string> = new Set(['about', 'blob', 'data', 'file', 'filesystem', 'ftp', 'javascript', 'mailto', 'ws', 'wss'])

const example = 'https://app.example.com'

/**
 * Parses the option `origins`: each entry is an origin exactly as a browser writes it in `Origin` (RFC 6454, 6.2), also
 * that of an application shell, such as `capacitor://localhost`. An entry that no browser could ever send stops the
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
  if (url === null) throw wrong(describeValue(entry))
  const fault = faultOf(url)
  // what stands before the host may be a password
  if (fault !== null) throw wrong(`${url.host === '' ? describeValue(entry) : `'${url.protocol}//${url.host}'`}, ${fault}`)
  const origin = `${url.protocol}//${url.host}`
  if (origin !== entry) throw wrong(describeValue(entry), origin)
  return origin
}

function wrong (what: string, suggestion = example): AuthError {
  return misconfigured(`The option origins has ${what}. Write an origin: scheme, host and port without a path, such ` +
    `as '${suggestion}'.`)
}

/** Returns why no browser sends this origin, or `null`. */
function faultOf ({ protocol, host }: URL): string | null {
  const scheme = protocol.slice(0, -1)
  if (host.includes('*')) return 'and a wildcard matches nothing, as origins are compared whole: name each of them'
  if (never.has(scheme)) return `and browsers send no origin with the scheme '${scheme}'`
  if (web.includes(scheme)) return webHost.test(host) ? null : 'whose host is no name and no address'
  if (didYouMean(scheme, web) !== '') return `and the scheme '${scheme}' looks like a misspelled 'https' or 'http'`
  return shellHost.test(host) ? null : 'whose host is no name'
}

const webHost = /^(?:\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::\d+)?$/
/** Shells have hosts of their own, such as `-`, `.` and identifiers in capitals. */
const shellHost = /^[\w.-]+(?::\d+)?$/
