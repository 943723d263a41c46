import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { text } from '../../util/options.js'

/** URL schemes that browsers run, or read from the machine, instead of opening an application. */
const unsafeSchemes: ReadonlySet<string> = new Set([
  'about:', 'blob:', 'data:', 'file:', 'filesystem:', 'javascript:', 'vbscript:', 'view-source:'
])

const loopbackHost = /^(?:127\.0\.0\.1|\[::1\]|localhost)$/

/**
 * Parses a redirect URI (RFC 6749, 3.1.2; RFC 8252, 7). It stays the text that was written, because URIs are compared
 * as text.
 */
export function parseRedirectUri (value: unknown, option: string): string {
  const uri = text(value, option)
  const fault = faultOf(uri)
  if (fault === null) return uri
  throw misconfigured(`${option} ${fault}. Got ${describeValue(value)}.`)
}

function faultOf (uri: string): string | null {
  if (!/^[!-~]+$/.test(uri) || !URL.canParse(uri)) return 'must be an absolute URI in ASCII'
  const url = new URL(uri)
  if (unsafeSchemes.has(url.protocol)) return 'has a scheme that browsers do not open an application for'
  // without them, browsers take the rest for a path of the server itself
  if (/^https?:$/.test(url.protocol) && !/^https?:\/\/[^/\\]/i.test(uri)) return 'must have // and a host'
  if (uri.includes('#')) return 'must not have a fragment (RFC 6749, 3.1.2)'
  if (uri.includes('*')) return 'has a wildcard, but URIs are compared as text: write each of them'
  if (url.username !== '' || url.password !== '' || /^[^/?]*\/\/[^/?]*@/.test(uri)) {
    return 'must not have a user name or password'
  }
  if (url.protocol === 'http:' && !loopbackHost.test(url.hostname)) {
    return 'must be https: plain http is for 127.0.0.1, [::1] and localhost only'
  }
  return null
}

const loopbackUri = /^(http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost))(?::(\d{1,5}))?([/?].*)?$/s

/**
 * Returns true if a URI is one of the registered ones. Native applications listen on a free port, so that it may differ
 * on a loopback host (RFC 8252, 7.3); `localhost` is one, because many clients register it.
 */
export function isRegistered (registered: readonly string[], uri: string): boolean {
  if (registered.includes(uri)) return true
  const given = loopbackParts(uri)
  return given !== null && registered.some(each => loopbackParts(each) === given)
}

/** Returns a loopback URI without its port, or `null` for any other URI. */
function loopbackParts (uri: string): string | null {
  const [, host, port = '80', rest = ''] = loopbackUri.exec(uri) ?? []
  return host === undefined || Number(port) > 65_535 ? null : `${host} ${rest}`
}

/**
 * Returns true for a URI that any program on the machine may receive: loopback, or of a private-use scheme (RFC 8252,
 * 8.6).
 */
export function isNative (uri: string): boolean {
  return !uri.startsWith('https:')
}
