import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { Outcome } from '../../types/outcome.js'
import type { CredentialSource, Scheme } from '../../types/scheme.js'
import { isSet, isThenable } from '../util/objects.js'
import { absent } from './outcome.js'
import { createReader } from './read-credential.js'

/**
 * Returns the properties of a scheme that follow from the sources of its credential. OpenAPI documents the first one.
 */
export function describeSources (
  sources: readonly CredentialSource[], bearerFormat?: string
): Pick<Scheme, 'openapi' | 'sources' | 'ambient' | 'cacheControl'> {
  const cacheControl = cacheControlOf(sources)
  return {
    openapi: openapi(sources, bearerFormat),
    sources,
    ambient: sources.some(isSentByBrowsers),
    ...cacheControl === null ? {} : { cacheControl }
  }
}

/** Returns where a scheme reads credentials: its `sources`, or the one that `openapi` describes. */
export function sourcesOf ({ sources, openapi }: Scheme): readonly string[] {
  if (sources !== undefined) return sources
  switch (openapi.type) {
    case 'apiKey': return [`${openapi.in}:${openapi.name}`]
    case 'http': return [/^bearer$/i.test(openapi.scheme) ? 'bearer' : `authorization:${openapi.scheme}`]
    case 'mutualTLS': return []
    default: return ['bearer']
  }
}

/** Words in `Authorization` for which browsers ask people, and which they then send by themselves. */
const browserWords = /^authorization:(?:basic|digest|negotiate|ntlm)$/i

/** Returns true for a source that browsers send automatically. */
function isSentByBrowsers (source: string): boolean {
  return /^(?:cookie:|basic:|header:cookie$)/i.test(source) || browserWords.test(source)
}

/**
 * Returns true if browsers send the credential in a source of this scheme automatically. The whole header
 * `Authorization` counts by the word that `openapi` names; without one, browsers may send it.
 */
export function isSourceAmbient (source: string, { ambient, openapi }: Scheme): boolean {
  if (!/^header:authorization$/i.test(source)) return isSentByBrowsers(source)
  if (ambient != null) return isSet(ambient)
  switch (openapi.type) {
    case 'http': return browserWords.test(`authorization:${openapi.scheme}`)
    case 'oauth2':
    case 'openIdConnect': return false
    default: return true
  }
}

/** Returns true for a scheme whose credentials browsers send automatically: as it says, or else by its sources. */
export function isAmbient (scheme: Scheme): boolean {
  return isSet(scheme.ambient ?? sourcesOf(scheme).some(source => isSourceAmbient(source, scheme)))
}

type Authenticate = Scheme['authenticate']

/**
 * Makes a scheme that reads a cookie and other sources set `ambient` for each credential. A credential in another
 * source was put there by a script or a program, even if the same one is also in a cookie; {@link createReader} refuses
 * two different ones.
 */
export function markAmbient (sources: readonly CredentialSource[], authenticate: Authenticate): Authenticate {
  const others = sources.filter(source => !isSentByBrowsers(source))
  if (others.length === 0 || others.length === sources.length) return authenticate
  const readOthers = createReader(others, 'from')
  return request => marked(authenticate(request), readOthers(request) === absent)
}

/** Sets `ambient` of an outcome, and of those by which the credential is checked again. */
function marked (outcome: Outcome | Promise<Outcome>, ambient: boolean): Outcome | Promise<Outcome> {
  if (isThenable(outcome)) return Promise.resolve(outcome).then(settled => marked(settled, ambient))
  if (outcome.kind !== 'authenticated') return outcome
  const { recheck = null } = outcome
  return { ...outcome, ambient, recheck: recheck === null ? null : request => marked(recheck(request), ambient) }
}

function openapi ([first = 'bearer']: readonly CredentialSource[], bearerFormat?: string): OpenApiSecurityScheme {
  if (first === 'bearer') {
    return { type: 'http', scheme: 'bearer', ...bearerFormat === undefined ? {} : { bearerFormat } }
  }
  const [where, name = ''] = first.split(':')
  if (where === 'basic') return { type: 'http', scheme: 'basic' }
  if (where === 'authorization') return { type: 'http', scheme: name }
  return { type: 'apiKey', in: where === 'query' || where === 'cookie' ? where : 'header', name }
}

/**
 * Returns the `Cache-Control` of responses. Shared caches treat only `Authorization` as a credential (RFC 9111, 3.5),
 * and a response to a credential in the URL must not be stored at all (RFC 6750, 2.3 and 5.3).
 */
function cacheControlOf (sources: readonly CredentialSource[]): string | null {
  if (sources.some(source => source.startsWith('query:'))) return 'private, no-store'
  return sources.every(source => source === 'bearer' || /^(?:basic|authorization):/.test(source)) ? null : 'private'
}
