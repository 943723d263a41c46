import type { FastifyRequest } from 'fastify'
import type { Absent, Invalid } from '../../types/outcome.js'
import type { CredentialSource } from '../../types/scheme.js'
import { internalError, misconfigured } from '../errors.js'
import { describeValue, didYouMean } from '../util/describe.js'
import { isObject, ownField } from '../util/objects.js'
import { absent, invalid } from './outcome.js'

/** The credential of a source; *absent*; or *invalid* if it was sent twice, joined, or malformed. */
export type Reading = string | Absent | Invalid

type Reader = (request: FastifyRequest) => Reading

/**
 * A source in two steps. A caller that finds the whole credential among those that were checked before may leave out
 * the second one.
 */
export interface Source {
  /** Reads the credential. It was sent once, but its characters are not checked. */
  readonly take: Reader
  /** Returns the credential, or *invalid* for characters that the source does not allow. */
  readonly check: (credential: string) => string | Invalid
}

/**
 * Reads a credential from one or several sources. The same value in two sources counts as one credential, and two
 * different values are invalid. A source that was sent twice is invalid: Node silently keeps the first `Authorization`
 * line and joins those of other headers, so that a proxy and the application could read different credentials.
 *
 * @throws {AuthError} `AUTH_MISCONFIGURED` for invalid sources, `AUTH_FAULT` for a value that is not a request.
 * @example
 * const key = read(request, 'header:x-api-key')
 * if (typeof key !== 'string') return key          // absent or invalid
 */
export function read (request: FastifyRequest, from: CredentialSource | readonly CredentialSource[]): Reading {
  const source = typeof from === 'string' ? getSource(from) : createSource(from, 'from')
  if (!isObject(request)) throw internalError("read(request, from) needs Fastify's request")
  return readSource(source, request)
}

function readSource ({ take, check }: Source, request: FastifyRequest): Reading {
  const credential = take(request)
  return typeof credential === 'string' ? check(credential) : credential
}

/**
 * Returns a function that reads a credential as {@link read} does, with the sources parsed once.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for invalid sources, naming `option`.
 */
export function createReader (from: unknown, option: string): Reader {
  const source = createSource(from, option)
  return request => readSource(source, request)
}

function createSource (from: unknown, option: string): Source {
  const given: readonly unknown[] = Array.isArray(from) ? from : [from]
  if (given.length === 0) {
    throw misconfigured(`${option} must name at least one source, such as 'bearer' or 'header:x-api-key'.`)
  }
  if (new Set(given).size < given.length) throw misconfigured(`${option} names a source twice. Name each once.`)
  const sources = given.map(source => getSource(source, option))
  const [only] = sources
  if (sources.length === 1 && only !== undefined) return only
  return { take: request => readFirst(sources, request), check: accept }
}

/**
 * Parses the option `from` of a scheme: the sources of its credential.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option.
 */
export function parseSources (
  from: unknown, option: string
): Source & { readonly sources: readonly CredentialSource[] } {
  return { ...createSource(from, option), sources: Object.freeze([from].flat() as CredentialSource[]) }
}

/** Reads all sources. Two different credentials are as ambiguous as two in one source, and so invalid. */
function readFirst (sources: readonly Source[], request: FastifyRequest): Reading {
  let found: Reading = absent
  for (const each of sources) {
    const reading = readSource(each, request)
    if (reading === absent) continue
    if (found !== absent && found !== reading) return invalid('two sources hold two different credentials')
    found = reading
  }
  return found
}

/** The maximum number of cached sources, in case an application computes the sources of {@link read}. */
const maxParsed = 1_000

const parsed = new Map<string, Source>()

function getSource (source: unknown, option = 'from'): Source {
  const known = typeof source === 'string' ? parsed.get(source) : undefined
  if (known !== undefined) return known
  const created = parseSource(source, option)
  if (parsed.size < maxParsed) parsed.set(source as string, created)
  return created
}

/**
 * Headers that must not contain keys, because they have another meaning: other software would read the credential, or
 * browsers would send it without a cross-site check.
 */
const reservedHeaders: ReadonlySet<string> = new Set([
  'authorization', 'connection', 'content-length', 'content-type', 'cookie', 'host', 'origin', 'referer',
  'sec-fetch-site', 'transfer-encoding', 'user-agent'
])

/** The check of a source whose first step has checked the credential already. */
const accept = (credential: string): string => credential

const grammar = /^(?:bearer|basic:username|(header|query|cookie|authorization):([!#$%&'*+.^_`|~0-9A-Za-z-]+))$/

/**
 * Checks one of the `sources` of a scheme of the application. Such a scheme reads its credential itself, so it may name
 * any header. A source that nobody understands would be neither redacted nor known as one that browsers fill.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option.
 */
export function checkSource (source: unknown, option: string): void {
  if (typeof source === 'string' && grammar.test(source)) return
  const guess = typeof source === 'string' ? didYouMean(source.replace(/:.*/s, ''), sourceKinds) : ''
  throw misconfigured(`${option} must be 'bearer', 'basic:username', 'authorization:<word>', 'header:<name>', ` +
    `'query:<name>' or 'cookie:<name>'. Got ${describeValue(source)}.${guess}`)
}

const sourceKinds = ['bearer', 'basic', 'authorization', 'header', 'query', 'cookie'] as const

function parseSource (source: unknown, option: string): Source {
  const match = typeof source === 'string' ? grammar.exec(source) : null
  if (match === null) {
    throw misconfigured(
      `${option} must be 'bearer', 'header:<name>', 'query:<name>' or 'cookie:<name>', or a list of these; it is ` +
      `${describeValue(source)}. ` +
      "For other words in Authorization there are 'authorization:<word>' and 'basic:username'."
    )
  }
  const name = match[2] ?? ''
  if (match[1] === 'header' && reservedHeaders.has(name.toLowerCase())) {
    throw misconfigured(
      `${option} is 'header:${name}', which means something else already. For Authorization write 'bearer' or ` +
      "'authorization:<word>', for a cookie 'cookie:<name>', or choose a header of your own."
    )
  }
  switch (match[1]) {
    case 'authorization': return createAuthorizationSource(name, option)
    case 'header': return createHeaderSource(name.toLowerCase())
    case 'query': return { take: request => readQuery(request, name), check: accept }
    case 'cookie': return { take: request => readCookie(request, name), check: accept }
    default: return source === 'bearer' ? bearer : { take: readUserName, check: accept }
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

/** Returns the source of a header. A comma or a space in its value means that a proxy has joined two lines. */
function createHeaderSource (name: string): Source {
  return {
    take (request) {
      const value = readHeader(request, name)
      if (typeof value !== 'string') return value
      const key = trimBlanks(value)
      return key === '' ? absent : key
    },
    check: key => /[,\s]/.test(key) ? invalid(`the header ${name} holds more than one value`) : key
  }
}

/** Returns true if a header was sent more than once. Only `rawHeaders` shows this: `headers` drops or joins lines. */
function sentTwice (request: FastifyRequest, name: string): boolean {
  // A request that another plugin has created (an injected WebSocket) has no raw headers.
  const lines = request.raw.rawHeaders as string[] | undefined ?? []
  let seen = false
  for (let i = 0; i < lines.length; i += 2) {
    const line = lines[i]
    if (line === undefined || line.length !== name.length || !beginsWith(line, name)) continue
    if (seen) return true
    seen = true
  }
  return false
}

/**
 * Reads the credential of an HTTP authentication scheme from `Authorization`. The scheme's name is case-insensitive
 * (RFC 9110, 11.1). Returns *absent* if the header names another scheme.
 * @param scheme in lower case.
 */
export function readAuthorization (request: FastifyRequest, scheme: string): Reading {
  const value = readHeader(request, 'authorization')
  if (typeof value !== 'string') return value
  if (!beginsWith(value, scheme)) return absent
  if (value.length === scheme.length) return invalid('the Authorization header holds no credential')
  if (value.charCodeAt(scheme.length) !== 0x20) return absent
  const credential = trimBlanks(value.slice(scheme.length + 1))
  return credential === '' ? invalid('the Authorization header holds no credential') : credential
}

/** Returns true if a text begins with a word in any case. A loop, because `toLowerCase()` would copy each text. */
function beginsWith (text: string, lowerCase: string): boolean {
  for (let i = 0; i < lowerCase.length; i++) {
    const code = text.charCodeAt(i)
    const isUpperCase = code >= 0x41 && code <= 0x5a
    if ((isUpperCase ? code + 0x20 : code) !== lowerCase.charCodeAt(i)) return false
  }
  return true
}

/**
 * Removes spaces and tabs around a text (RFC 9110, 5.6.3). `trim()` would remove more: browsers do not enforce the
 * rules of the prefix `__Host-` if U+00A0 comes before it, so a subdomain can set such a cookie, which must not count
 * as `__Host-`.
 */
function trimBlanks (text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (start < end && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank (code: number): boolean {
  return code === 0x20 || code === 0x09
}

const token68 = /^[A-Za-z0-9\-._~+/]+=*$/

/** A Bearer token (RFC 6750, 2.1: `b64token`). A comma or a space in it means that two lines were joined. */
const bearer: Source = {
  take: request => readAuthorization(request, 'bearer'),
  check: token => token68.test(token)
    ? token
    : invalid('the Bearer token has characters that RFC 6750 does not allow')
}

/** Returns the source `Authorization: <word> <credential>`. */
function createAuthorizationSource (word: string, option: string): Source {
  const scheme = word.toLowerCase()
  if (scheme === 'bearer' || scheme === 'basic') {
    throw misconfigured(
      `${option} is 'authorization:${word}'. Write '${scheme === 'bearer' ? 'bearer' : 'basic:username'}'.`
    )
  }
  return {
    take: request => readAuthorization(request, scheme),
    check: credential => /[,\s]/.test(credential)
      ? invalid(`the Authorization header holds more than one value after ${word}`)
      : credential
  }
}

/** The user name and password of a request. */
export interface UserPass { readonly username: string, readonly password: string }

/**
 * Bytes of a password. Longer ones are refused before they are hashed, which costs time that an attacker could choose.
 */
export const maxPasswordBytes = 1024

/** Base64 of a name and a password of 1,024 bytes each. Longer ones are refused: normalising takes quadratic time. */
const maxEncodedLength = Math.ceil((2 * maxPasswordBytes + 1) / 3) * 4

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Parses the credential of HTTP Basic (RFC 7617, 2): base64 of `user-id ":" password` in UTF-8, where the first colon
 * ends the name, without control characters. Returns both in normal form (NFC); `null` for anything else.
 */
export function parseUserPass (encoded: string): UserPass | null {
  if (encoded.length > maxEncodedLength || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null
  const text = decode(Buffer.from(encoded, 'base64'))
  const colon = text?.indexOf(':') ?? -1
  if (text === null || colon === -1 || hasControl(text)) return null
  return { username: text.slice(0, colon), password: text.slice(colon + 1) }
}

function decode (bytes: Buffer): string | null {
  try {
    return utf8.decode(bytes).normalize('NFC')
  } catch {
    return null
  }
}

/** Returns true for a text with a control character. */
export function hasControl (text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

/**
 * Reads the user name of HTTP Basic. With a password it is *absent*: the credential of a person, for another scheme.
 */
function readUserName (request: FastifyRequest): Reading {
  const encoded = readAuthorization(request, 'basic')
  if (typeof encoded !== 'string') return encoded
  const sent = parseUserPass(encoded)
  if (sent === null || sent.username === '') return invalid('the Basic credential holds no user name')
  return sent.password === '' ? sent.username : absent
}

function readQuery (request: FastifyRequest, name: string): Reading {
  const query = request.query
  if (typeof query !== 'object' || query === null || !Object.hasOwn(query, name)) return absent
  const value = (query as Record<string, unknown>)[name]
  if (typeof value !== 'string') return invalid(`the query parameter ${name} was sent more than once`)
  return value === '' ? absent : value
}

/** Reads a cookie. HTTP/2 may split `cookie` into several lines (RFC 9113, 8.2.3), but no name may occur twice. */
function readCookie (request: FastifyRequest, name: string): Reading {
  const header = ownField(request.raw.headers, 'cookie')
  if (header === undefined) return absent
  const at = findCookie(header, name, 0)
  if (at === -1) return absent
  if (findCookie(header, name, endOfPair(header, at)) !== -1) {
    return invalid(`the cookie ${name} was sent more than once`)
  }
  const value = cookieAt(header, at)
  return value === '' ? absent : value
}

/**
 * Returns the index at which the value of a cookie begins, or -1. The header is searched from a pair of name and value
 * on, and other cookies, of which browsers send many, are not copied.
 */
function findCookie (header: string, name: string, from: number): number {
  for (let start = from; start < header.length; start = endOfPair(header, start)) {
    while (isBlank(header.charCodeAt(start))) start++
    if (!header.startsWith(name, start)) continue
    let equals = start + name.length
    while (isBlank(header.charCodeAt(equals))) equals++
    if (header[equals] === '=') return equals + 1
  }
  return -1
}

/** Returns the index at which the next pair of name and value begins. */
function endOfPair (header: string, start: number): number {
  const semicolon = header.indexOf(';', start)
  return semicolon === -1 ? header.length : semicolon + 1
}

/** Returns the value that begins at an index. */
function cookieAt (header: string, start: number): string {
  const semicolon = header.indexOf(';', start)
  return trimBlanks(header.slice(start, semicolon === -1 ? header.length : semicolon))
}

/** The maximum number of values of one cookie. No browser sends more, and each costs a decryption and a store call. */
const maxCookies = 16

/**
 * Returns all values of a cookie, at most 16, for callers that end sessions: unlike a login, a logout accepts several.
 */
export function cookieValues (request: FastifyRequest, name: string): readonly string[] {
  const header = ownField(request.raw.headers, 'cookie') ?? ''
  const values: string[] = []
  let at = findCookie(header, name, 0)
  while (at !== -1 && values.length < maxCookies) {
    values.push(cookieAt(header, at))
    at = findCookie(header, name, endOfPair(header, at))
  }
  return values
}

/** Returns the names of all cookies of a request. */
export function cookieNames (request: FastifyRequest): readonly string[] {
  const pairs = (ownField(request.raw.headers, 'cookie') ?? '').split(';').filter(pair => pair.includes('='))
  return pairs.map(pair => trimBlanks(pair.slice(0, pair.indexOf('='))))
}
