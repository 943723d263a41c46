import type { Outcome } from '../../types/outcome.js'
import type { Place } from '../../types/place.js'
import type { OpenApiSecurityScheme, Scheme } from '../../types/scheme.js'
import { isThenable } from '../thenable.js'
import { absent } from './outcome.js'
import { reader } from './read.js'

/** What a scheme says of itself because of the places that its credential travels in; of several, the first is the documented one. */
export function traits (places: readonly Place[], bearerFormat?: string): Pick<Scheme, 'openapi' | 'places' | 'ambient' | 'cacheControl'> {
  const cacheControl = cacheControlOf(places)
  return {
    openapi: openapi(places, bearerFormat),
    places,
    ambient: places.some(isAmbient),
    ...cacheControl === null ? {} : { cacheControl }
  }
}

/** Returns true for a place that browsers fill by themselves. */
function isAmbient (place: Place): boolean {
  return place.startsWith('cookie:')
}

type Authenticate = Scheme['authenticate']

/**
 * Makes a scheme that reads a cookie and other places say of each credential how it came: one that stands in another place was put there by a script
 * or a program, whatever cookie travels along, because {@link reader} refuses two different ones.
 */
export function markAmbient (places: readonly Place[], authenticate: Authenticate): Authenticate {
  const others = places.filter(place => !isAmbient(place))
  if (others.length === 0 || others.length === places.length) return authenticate
  const readOthers = reader(others, 'from')
  return request => {
    const ambient = readOthers(request) === absent
    const say = (outcome: Outcome): Outcome => outcome.kind === 'authenticated' ? { ...outcome, ambient } : outcome
    const outcome = authenticate(request)
    return isThenable(outcome) ? Promise.resolve(outcome).then(say) : say(outcome)
  }
}

function openapi ([first = 'bearer']: readonly Place[], bearerFormat?: string): OpenApiSecurityScheme {
  if (first === 'bearer') return { type: 'http', scheme: 'bearer', ...bearerFormat === undefined ? {} : { bearerFormat } }
  const [where, name = ''] = first.split(':')
  return { type: 'apiKey', in: where === 'query' || where === 'cookie' ? where : 'header', name }
}

/** Shared caches know `Authorization` as a credential (RFC 9111, 3.5) and nothing else. What a URL let in must not be stored at all (RFC 6750, 2.3 and 5.3). */
function cacheControlOf (places: readonly Place[]): string | null {
  if (places.some(place => place.startsWith('query:'))) return 'private, no-store'
  return places.every(place => place === 'bearer') ? null : 'private'
}
