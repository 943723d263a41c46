import type { Place } from '../../types/place.js'
import type { OpenApiSecurityScheme, Scheme } from '../../types/scheme.js'

/** What a scheme says of itself because of the places that its credential travels in; of several, the first is the documented one. */
export function traits (places: readonly Place[], bearerFormat?: string): Pick<Scheme, 'openapi' | 'places' | 'ambient' | 'cacheControl'> {
  const cacheControl = cacheControlOf(places)
  return {
    openapi: openapi(places, bearerFormat),
    places,
    ambient: places.some(place => place.startsWith('cookie:')),
    ...cacheControl === null ? {} : { cacheControl }
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
