import type { FastifyRequest } from 'fastify'
import type { CredentialSource } from '../../types/credential-source.js'
import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { Absent, Invalid, Outcome } from '../../types/outcome.js'
import type { Scheme } from '../../types/scheme.js'
import { misconfigured } from '../errors.js'
import { isThenable } from '../util/answer.js'
import { describeValue } from '../util/describe.js'
import { ownField } from '../util/objects.js'
import { absent, invalid } from './outcome.js'

/** A credential as its place holds it; *absent*; or *invalid*, where it was sent twice, joined, or malformed. */
export type Reading = string | Absent | Invalid

type Reader = (request: FastifyRequest) => Reading

/**
 * Reads a credential from its place, or from whichever of several places holds one; the same in two of them is one
 * credential. A place that is filled twice is refused: Node keeps the first `Authorization` line silently and joins
 * others, so two parties could read two credentials.
 *
 * @example
 * const key = read(request, 'header:x-api-key')
 * if (typeof key !== 'string') return key          // absent or invalid: say so
 */
export function read (request: FastifyRequest, from: CredentialSource | readonly CredentialSource[]): Reading {
  return typeof from === 'string' ? readerOf(from)(request) : reader(from, 'from')(request)
}

/** {@link read} with its place parsed once. A wrong place stops the boot, naming `option`. */
export function reader (from: unknown, option: string): Reader {
  const places: readonly unknown[] = Array.isArray(from) ? from : [from]
  if (places.length === 0) {
    throw misconfigured(`${option} must name at least one place, such as 'bearer' or 'header:x-api-key'.`)
  }
  if (new Set(places).size < places.length) throw misconfigured(`${option} names a place twice. Name each once.`)
  const readers = places.map(place => readerOf(place, option))
  const [only] = readers
  return readers.length === 1 && only !== undefined ? only : request => readFirst(readers, request)
}

/**
 * Parses the option `from` of a scheme: where its credential travels.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option.
 */
export function parsePlaces (from: unknown, option: string): {
  readonly read: Reader, readonly places: readonly CredentialSource[]
} {
  return { read: reader(from, option), places: Object.freeze([from].flat() as CredentialSource[]) }
}

/**
 * Reads all places: two different credentials are as ambiguous as one place that holds two, and the same in both is
 * one.
 */
function readFirst (readers: readonly Reader[], request: FastifyRequest): Reading {
  let found: Reading = absent
  for (const each of readers) {
    const reading = each(request)
    if (reading === absent) continue
    if (found !== absent && found !== reading) return invalid('two places hold two different credentials')
    found = reading
  }
  return found
}

const parsed = new Map<string, Reader>()

function readerOf (place: unknown, option = 'from'): Reader {
  const known = typeof place === 'string' ? parsed.get(place) : undefined
  if (known !== undefined) return known
  const made = parsePlace(place, option)
  if (parsed.size < 1000) parsed.set(place as string, made)
  return made
}

/**
 * Headers whose meaning is not a key's: a credential in them would be read by others, or sent by browsers without a
 * cross-site check.
 */
const taken: ReadonlySet<string> = new Set([
  'authorization', 'connection', 'content-length', 'content-type', 'cookie', 'host', 'origin', 'referer',
  'sec-fetch-site', 'transfer-encoding', 'user-agent'
])

function parsePlace (place: unknown, option: string): Reader {
  const match = typeof place === 'string'
    ? /^(?:bearer|(header|query|cookie):([!#$%&'*+.^_`|~0-9A-Za-z-]+))$/.exec(place)
    : null
  if (match === null) {
    throw misconfigured(
      `${option} must be 'bearer', 'header:<name>', 'query:<name>' or 'cookie:<name>', or a list of these; it is ${describeValue(place)}.`
    )
  }
  const name = match[2] ?? ''
  if (match[1] === 'header' && taken.has(name.toLowerCase())) {
    throw misconfigured(
      `${option} is 'header:${name}', which means something else already. For Authorization write 'bearer', for a cookie 'cookie:<name>', or choose a header of your own.`
    )
  }
  switch (match[1]) {
    case 'header': return headerReader(name.toLowerCase())
    case 'query': return request => readQuery(request, name)
    case 'cookie': return request => readCookie(request, name)
    default: return readBearer
  }
}

function readHeader (request: FastifyRequest, name: string): Reading {
  const value = ownField(request.raw.headers, name)
  if (value === undefined) return absent
  if (typeof value !== 'string' || sentTwice(request, name)) {
    return invalid(`the header ${name} was sent more than once`)
  }
  return value === '' ? absent : value
}

/** A comma or a space within means that a proxy joined two lines into one. */
function headerReader (name: string): Reader {
  return request => {
    const value = readHeader(request, name)
    if (typeof value !== 'string') return value
    const key = trimmed(value)
    if (key === '') return absent
    return /[,\s]/.test(key) ? invalid(`the header ${name} holds more than one value`) : key
  }
}

/** `rawHeaders` alone tells: `headers` has dropped or joined the second line. */
function sentTwice (request: FastifyRequest, name: string): boolean {
  // A request that another plugin made up (an injected WebSocket) has no lines that could be told apart.
  const lines = request.raw.rawHeaders as string[] | undefined ?? []
  let seen = false
  for (let i = 0; i < lines.length; i += 2) {
    const line = lines[i]
    if (line === undefined || line.length !== name.length || (line !== name && line.toLowerCase() !== name)) continue
    if (seen) return true
    seen = true
  }
  return false
}

/**
 * The one value of `Authorization` under an HTTP authentication scheme, whose name is case-insensitive (RFC 9110,
 * 11.1). *Absent* when the header names another scheme: that is somebody else's credential.
 */
export function readAuthorization (request: FastifyRequest, scheme: 'bearer' | 'basic'): Reading {
  const value = readHeader(request, 'authorization')
  if (typeof value !== 'string') return value
  const name = value.slice(0, scheme.length)
  if (name.toLowerCase() !== scheme) return absent
  if (value.length === scheme.length) return invalid('the Authorization header holds no credential')
  if (value.charCodeAt(scheme.length) !== 0x20) return absent
  const credential = trimmed(value.slice(scheme.length + 1))
  return credential === '' ? invalid('the Authorization header holds no credential') : credential
}

/**
 * Without space and tab around it (RFC 9110, 5.6.3). `trim()` would take away more: a browser that stores a cookie for
 * another site's subdomain sees no `__Host-` at the beginning of a name with U+00A0 before it, and neither may we.
 */
function trimmed (text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (start < end && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank (code: number): boolean {
  return code === 0x20 || code === 0x09
}

const token68 = /^[A-Za-z0-9\-._~+/]+=*$/

/** RFC 6750, 2.1: `b64token`. A comma or a space within means two credentials were joined. */
function readBearer (request: FastifyRequest): Reading {
  const token = readAuthorization(request, 'bearer')
  return typeof token !== 'string' || token68.test(token)
    ? token
    : invalid('the Bearer token has characters that RFC 6750 does not allow')
}

function readQuery (request: FastifyRequest, name: string): Reading {
  const query = request.query
  if (typeof query !== 'object' || query === null || !Object.hasOwn(query, name)) return absent
  const value = (query as Record<string, unknown>)[name]
  if (typeof value !== 'string') return invalid(`the query parameter ${name} was sent more than once`)
  return value === '' ? absent : value
}

/** HTTP/2 may split `cookie` into lines (RFC 9113, 8.2.3), so lines may repeat; names may not. */
function readCookie (request: FastifyRequest, name: string): Reading {
  const header = ownField(request.raw.headers, 'cookie')
  if (header === undefined || header.length < name.length) return absent
  const [found, second] = valuesOf(header, name, 2)
  if (second !== undefined) return invalid(`the cookie ${name} was sent more than once`)
  return found === undefined || found === '' ? absent : found
}

/** The first values that a cookie header has under a name. */
function valuesOf (header: string, name: string, most: number): readonly string[] {
  const found: string[] = []
  for (let start = 0; start < header.length && found.length < most;) {
    const semicolon = header.indexOf(';', start)
    const end = semicolon === -1 ? header.length : semicolon
    const pair = header.slice(start, end)
    const equals = pair.indexOf('=')
    if (equals !== -1 && trimmed(pair.slice(0, equals)) === name) found.push(trimmed(pair.slice(equals + 1)))
    start = end + 1
  }
  return found
}

/** More are no browser's: each is opened, and ended in a store. */
const mostCookies = 16

/** Every value that was sent under a name, up to 16, for what ends a credential instead of believing it. */
export function cookieValues (request: FastifyRequest, name: string): readonly string[] {
  return valuesOf(ownField(request.raw.headers, 'cookie') ?? '', name, mostCookies)
}

/**
 * What a scheme says of itself because of the places that its credential travels in; of several, the first is the
 * documented one.
 */
export function traits (
  places: readonly CredentialSource[], bearerFormat?: string
): Pick<Scheme, 'openapi' | 'sources' | 'ambient' | 'cacheControl'> {
  const cacheControl = cacheControlOf(places)
  return {
    openapi: openapi(places, bearerFormat),
    sources: places,
    ambient: places.some(isAmbient),
    ...cacheControl === null ? {} : { cacheControl }
  }
}

/** Returns true for a place that browsers fill by themselves. */
function isAmbient (place: CredentialSource): boolean {
  return place.startsWith('cookie:')
}

type Authenticate = Scheme['authenticate']

/**
 * Makes a scheme that reads a cookie and other places say of each credential how it came: one that stands in another
 * place was put there by a script or a program, whatever cookie travels along, because {@link reader} refuses two
 * different ones.
 */
export function markAmbient (places: readonly CredentialSource[], authenticate: Authenticate): Authenticate {
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

function openapi ([first = 'bearer']: readonly CredentialSource[], bearerFormat?: string): OpenApiSecurityScheme {
  if (first === 'bearer') {
    return { type: 'http', scheme: 'bearer', ...bearerFormat === undefined ? {} : { bearerFormat } }
  }
  const [where, name = ''] = first.split(':')
  return { type: 'apiKey', in: where === 'query' || where === 'cookie' ? where : 'header', name }
}

/**
 * Shared caches know `Authorization` as a credential (RFC 9111, 3.5) and nothing else. What a URL let in must not be
 * stored at all (RFC 6750, 2.3 and 5.3).
 */
function cacheControlOf (places: readonly CredentialSource[]): string | null {
  if (places.some(place => place.startsWith('query:'))) return 'private, no-store'
  return places.every(place => place === 'bearer') ? null : 'private'
}
