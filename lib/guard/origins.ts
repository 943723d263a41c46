import { misconfigured, type AuthError } from '../errors.js'
import { nearest, shown } from '../shape.js'

/** Schemes of pages that a browser loads by HTTP, and those in which it writes no origin: `null`, that of the page around, or none. */
const web: readonly string[] = ['https', 'http']
const never: ReadonlySet<string> = new Set(['about', 'blob', 'data', 'file', 'filesystem', 'ftp', 'javascript', 'mailto', 'ws', 'wss'])

const example = 'https://app.example.com'

/**
 * Parses the option `origins`: each entry is an origin exactly as a browser writes it in `Origin` (RFC 6454, 6.2), also that of an application shell, such as
 * `capacitor://localhost`. An entry that no browser could ever send stops the boot.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the entry, why it matches nothing, and what to write.
 */
export function parseOrigins (value: unknown): ReadonlySet<string> {
  if (!Array.isArray(value)) throw misconfigured(`The option origins must be a list of origins, such as ['${example}'].`)
  return new Set(value.map(parseOrigin))
}

function parseOrigin (entry: unknown): string {
  const url = typeof entry === 'string' && URL.canParse(entry) ? new URL(entry) : null
  if (url === null) throw wrong(shown(entry))
  const fault = faultOf(url)
  // what stands before the host may be a password
  if (fault !== null) throw wrong(`${url.host === '' ? shown(entry) : `'${url.protocol}//${url.host}'`}, ${fault}`)
  const origin = `${url.protocol}//${url.host}`
  if (origin !== entry) throw wrong(shown(entry), origin)
  return origin
}

function wrong (what: string, suggestion = example): AuthError {
  return misconfigured(`The option origins has ${what}. Write an origin: scheme, host and port without a path, such as '${suggestion}'.`)
}

/** Returns why no browser sends this origin, or `null`. */
function faultOf ({ protocol, host }: URL): string | null {
  const scheme = protocol.slice(0, -1)
  if (host.includes('*')) return 'and a wildcard matches nothing, as origins are compared whole: name each of them'
  if (never.has(scheme)) return `and browsers send no origin with the scheme '${scheme}'`
  if (web.includes(scheme)) return webHost.test(host) ? null : 'whose host is no name and no address'
  if (nearest(scheme, web) !== '') return `and the scheme '${scheme}' looks like a misspelled 'https' or 'http'`
  return shellHost.test(host) ? null : 'whose host is no name'
}

const webHost = /^(?:\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::\d+)?$/
/** Shells have hosts of their own, such as `-`, `.` and identifiers in capitals. */
const shellHost = /^[\w.-]+(?::\d+)?$/
