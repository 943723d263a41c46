import { misconfigured } from '../errors.js'
import { describeValue } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { listOf, object, type Parser } from '../util/options.js'

/** Options of {@link redactRequest}. */
export interface RedactOptions {
  /** The query parameters whose values are hidden. */
  readonly query: readonly string[]
}

/** What a serializer sees of a request: Fastify's, or Node's own. */
export interface LoggedRequest {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly host?: string
  readonly ip?: string
  readonly socket?: { readonly remotePort?: number | undefined } | null
}

/** A serializer for a logger. See {@link redactRequest}. */
export interface RequestRedactor {
  (text: string): string
  (error: Error): { type: string, message: string, stack: string, [key: string]: unknown }
  (request: LoggedRequest): {
    method?: string
    url?: string
    version?: string
    host?: string
    remoteAddress?: string
    remotePort?: number
  }
}

/** Replaces the value of a parameter. */
const mark = '[hidden]'

const redactors = new WeakSet<object>()

/** Returns whether a serializer is one of {@link redactRequest}, which leaves out the `rawPacket` of errors. */
export function isRedactor (serializer: object): boolean {
  return redactors.has(serializer)
}

const parameterName: Parser<string> = (value, place) => {
  if (typeof value === 'string' && value !== '') return value
  throw misconfigured(`${place} must be the name of a query parameter. Got ${describeValue(value)}.`)
}

const parse = object({ query: listOf(parameterName) })

/**
 * Returns a serializer that hides the values of query parameters. It takes a request, and logs of it what Fastify does;
 * an error, of which it leaves out the `rawPacket` of a request that could not be read; or a text, such as a message.
 *
 * The plugin hides the parameters of its schemes in the lines of requests by itself. This is for the lines that it
 * cannot reach: those of a logger that is not pino, and what Fastify logs before, and beside, the routes.
 *
 * @example
 * const redact = redactRequest({ query: ['key'] })
 * const app = Fastify({ logger: { serializers: { req: redact, err: redact, msg: redact } } })
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function redactRequest (options: RedactOptions): RequestRedactor {
  const { query } = parse(options, 'The options of redactRequest')
  const hide = hider(new Set(query))
  const redact = (value: unknown): unknown => {
    if (value instanceof Error) return hide(describe(value))
    return isRequest(value) ? hide(summarize(value)) : hide(value)
  }
  redactors.add(redact)
  return redact as RequestRedactor
}

function isRequest (value: unknown): value is LoggedRequest {
  return typeof value === 'object' && value !== null && 'method' in value && 'url' in value && 'socket' in value
}

/** What Fastify logs of a request. */
function summarize ({ method, url, headers, host, ip, socket }: LoggedRequest): object {
  return {
    method,
    url,
    version: headers?.['accept-version'],
    host,
    remoteAddress: ip,
    remotePort: socket?.remotePort
  }
}

/** What pino logs of an error, without the bytes of a request that could not be read. */
function describe (error: Error): object {
  const { rawPacket, ...more } = error as Error & { readonly rawPacket?: unknown }
  return { ...more, type: error.constructor.name, message: error.message, stack: error.stack }
}

export type Hide = (value: unknown) => unknown

/** Objects within objects that are looked through. */
const deepest = 4

/** Returns a function that hides the values of parameters in every text of what a serializer made. */
export function hider (names: ReadonlySet<string>): Hide {
  const hide = (value: unknown, depth: number): unknown => {
    if (typeof value === 'string') return withoutValues(value, names)
    if (depth === 0 || !isData(value)) return value
    if (Array.isArray(value)) return value.map(each => hide(each, depth - 1))
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, hide(each, depth - 1)]))
  }
  return value => {
    try {
      return hide(value, deepest)
    } catch {
      // an accessor threw, and what throws in a serializer would end the process
      return mark
    }
  }
}

/** Returns whether a value is a list, a plain object, or what pino makes of an error. Nothing else is taken apart. */
function isData (value: unknown): value is object {
  if (Array.isArray(value)) return true
  if (!isObject(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.hasOwn(value, 'stack')
}

/** A parameter's name. '#' and ';' begin a query in one application and none in another. */
const parameter = /[?&#;]([^?&#;=\s"\\]+)=/g
const value = /[^&\s]+/y

function withoutValues (text: string, names: ReadonlySet<string>): string {
  if (!text.includes('=')) return text
  let safe = ''
  let end = 0
  for (const { 0: whole, 1: name = '', index } of text.matchAll(parameter)) {
    value.lastIndex = index + whole.length
    if (index < end || !names.has(decoded(name)) || !value.test(text)) continue
    safe += text.slice(end, index + whole.length) + mark
    end = value.lastIndex
  }
  return safe + text.slice(end)
}

function decoded (name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}
