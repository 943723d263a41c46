import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, onRequestHookHandler } from 'fastify'
import type { Scheme } from '../../types/scheme.js'
import { isError, misconfigured } from '../errors.js'
import { sourcesOf } from '../kit/sources.js'
import { describeValue } from '../util/describe.js'
import { shareHook } from '../util/fastify.js'
import { isObject, isPlainObject } from '../util/objects.js'
import { listOf, object, type Parser } from '../util/options.js'
import { report } from '../util/reports.js'

/** Options of {@link redactRequest}. */
export interface RedactOptions {
  /** The query parameters whose values are hidden. */
  readonly query: readonly string[]
}

/** A request as a serializer receives it: Fastify's, or Node's own. */
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

/** Replaces the value of a hidden parameter. */
const replacement = '[hidden]'

const redactors = new WeakSet<object>()

/** Returns true for a serializer of {@link redactRequest}, which leaves out the `rawPacket` of errors. */
function isRedactor (serializer: object): boolean {
  return redactors.has(serializer)
}

const parameterName: Parser<string> = (value, option) => {
  if (typeof value === 'string' && value !== '') return value
  throw misconfigured(`${option} must be the name of a query parameter. Got ${describeValue(value)}.`)
}

const parse = object({ query: listOf(parameterName) })

/**
 * Returns a serializer that hides the values of query parameters. It accepts a request, which it logs as Fastify does;
 * an error, whose `rawPacket` (the bytes of a request that could not be parsed) it leaves out; or a text, such as a
 * message.
 *
 * The plugin itself hides the parameters of its schemes in the log lines of requests. This serializer is for lines that
 * it cannot reach: those of a logger other than pino, and those that Fastify logs outside of routes.
 *
 * @example
 * const redact = redactRequest({ query: ['key'] })
 * const app = Fastify({ logger: { serializers: { req: redact, err: redact, msg: redact } } })
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function redactRequest (options: RedactOptions): RequestRedactor {
  const { query } = parse(options, 'The options of redactRequest')
  const hide = createHide(new Set(query))
  const redact = (value: unknown): unknown => {
    if (isError(value)) return hide(toErrorFields(value))
    return isRequest(value) ? hide(toLoggedFields(value)) : hide(value)
  }
  redactors.add(redact)
  return redact as RequestRedactor
}

function isRequest (value: unknown): value is LoggedRequest {
  return typeof value === 'object' && value !== null && 'method' in value && 'url' in value && 'socket' in value
}

/** Returns the fields of a request that Fastify logs. */
function toLoggedFields ({ method, url, headers, host, ip, socket }: LoggedRequest): object {
  return {
    method,
    url,
    version: headers?.['accept-version'],
    host,
    remoteAddress: ip,
    remotePort: socket?.remotePort
  }
}

/** Returns the fields of an error that pino logs, without the bytes of a request that could not be parsed. */
function toErrorFields (error: Error): object {
  const { rawPacket, ...more } = error as Error & { readonly rawPacket?: unknown }
  return { ...more, type: error.constructor.name, message: error.message, stack: error.stack }
}

type Hide = (value: unknown) => unknown

/** Levels of nested objects in which values are hidden. */
const maxDepth = 4

/** Returns a function that hides the values of parameters in every text of a serialized value. */
function createHide (names: ReadonlySet<string>): Hide {
  const hide = (value: unknown, depth: number): unknown => {
    if (typeof value === 'string') return withoutValues(value, names)
    if (depth === 0 || !isData(value)) return value
    if (Array.isArray(value)) return value.map(each => hide(each, depth - 1))
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, hide(each, depth - 1)]))
  }
  return value => {
    try {
      return hide(value, maxDepth)
    } catch {
      // an accessor threw, and an exception in a serializer would end the process
      return replacement
    }
  }
}

/** Returns true for values that are searched: lists, plain objects and the objects that pino logs for errors. */
function isData (value: unknown): value is object {
  if (Array.isArray(value)) return true
  if (!isObject(value)) return false
  return isPlainObject(value) || Object.hasOwn(value, 'stack')
}

/** Matches the name of a parameter. Applications differ in whether '#' and ';' begin one. */
const parameter = /[?&#;]([^?&#;=\s"\\]+)=/g
const value = /[^&\s]+/y

function withoutValues (text: string, names: ReadonlySet<string>): string {
  if (!text.includes('=')) return text
  let safe = ''
  let end = 0
  for (const { 0: whole, 1: name = '', index } of text.matchAll(parameter)) {
    value.lastIndex = index + whole.length
    if (index < end || !names.has(decoded(name)) || !value.test(text)) continue
    safe += text.slice(end, index + whole.length) + replacement
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

/** Returns the query parameters from which these schemes read credentials. */
export function credentialParameters (schemes: Iterable<Scheme>): ReadonlySet<string> {
  const sources = [...schemes].flatMap(sourcesOf)
  return new Set(sources.filter(source => source.startsWith('query:')).map(source => source.slice('query:'.length)))
}

/** The symbol of pino for the serializers of a logger, which is the same in every copy of pino. */
const serializersKey = Symbol.for('pino.serializers')

type Serialize = (value: unknown) => unknown

/** Fastify adds `err` to every pino logger. */
interface Serializers {
  readonly err: Serialize
  readonly [key: string]: Serialize
}

function serializersOf (log: FastifyBaseLogger): Serializers | undefined {
  return (log as { readonly [serializersKey]?: Serializers })[serializersKey]
}

type Factory = FastifyInstance['childLoggerFactory']

/**
 * Hides the values of these parameters in the spans of requests, and in their log lines by a child logger factory that
 * wraps the current one. Loggers of the application are not changed. Reports lines that cannot be reached.
 */
export function redactRequests (app: FastifyInstance, names: ReadonlySet<string>): void {
  if (names.size === 0) return
  const parameters = [...names].join(', ')
  const serializers = serializersOf(app.log)
  if (serializers === undefined) {
    hideInSpans(app, names)
    report(app, 'unredacted-logger', parameters)
    return
  }
  if (app.log.level === 'trace' && !isRedactor(serializers.err)) {
    report(app, 'unredacted-trace', parameters)
  }
  const wrap = redactRoutes(app, names)
  app.setChildLoggerFactory(wrap(app.childLoggerFactory))
  if (!recreateNotFoundHandler(app)) {
    report(app, 'unredacted-not-found', parameters)
  }
}

/** The method `request.opentelemetry` of `@fastify/otel`, which returns no span for routes without instrumentation. */
type Instrumentation = () => { readonly span?: { setAttribute (name: string, value: string): unknown } | null }

/** The URLs that spans have in place of the real ones. */
const spanUrls = new WeakMap<FastifyRequest, string>()

/**
 * Hides the values of these parameters in the span that `@fastify/otel` makes for each request of a context: its
 * attribute `http.route` is the URL, with the query.
 */
function hideInSpans (app: FastifyInstance, names: ReadonlySet<string>): void {
  const hide = createHide(names)
  app.addHook('onRequest', shareHook<onRequestHookHandler>((request, _reply, done) => {
    const { opentelemetry } = request as { readonly opentelemetry?: unknown }
    if (typeof opentelemetry === 'function') {
      const { span } = (opentelemetry as Instrumentation).call(request)
      // a context around this one may hide other parameters
      const url = hide(spanUrls.get(request) ?? request.url) as string
      spanUrls.set(request, url)
      span?.setAttribute('http.route', url)
    }
    done()
  }))
}

/**
 * Hides the values of these parameters in the spans of a context's requests and, if the logger is pino, in the log
 * lines of the routes that it declares from now on. Returns the function that wraps the factories of their loggers.
 */
export function redactRoutes (app: FastifyInstance, names: ReadonlySet<string>): (factory: Factory) => Factory {
  hideInSpans(app, names)
  const wrappers = new WeakSet<object>()
  const wrap = createFactoryWrapper(names, wrappers)
  app.addHook('onRoute', function (route) {
    // a route, or a nested context, may have a factory of its own
    const factory = route.childLoggerFactory ?? this.childLoggerFactory
    if (!wrappers.has(factory)) route.childLoggerFactory = wrap(factory)
  })
  return wrap
}

/**
 * Recreates the default not-found handler, so that it has the current factory: Fastify creates it before any plugin.
 * @returns `false` in a nested context, and if the application has a handler of its own.
 */
function recreateNotFoundHandler (app: FastifyInstance): boolean {
  const isOutermost = !('setNotFoundHandler' in (Object.getPrototypeOf(app) as object))
  if (!isOutermost) return false
  try {
    // Fastify documents the call without arguments: it creates the default handler in the context of this plugin
    ;(app.setNotFoundHandler as () => unknown)()
    return true
  } catch {
    return false
  }
}

/**
 * Returns a function that wraps a child logger factory.
 * @param wrappers receives every factory that the function returns.
 */
function createFactoryWrapper (names: ReadonlySet<string>, wrappers: WeakSet<object>): (factory: Factory) => Factory {
  const hide = createHide(names)
  const cache = new WeakMap<object, { readonly serializers: Serializers }>()
  const hiding = (serializers: Serializers) => {
    const options = cache.get(serializers) ?? { serializers: hidingSerializers(serializers, hide) }
    cache.set(serializers, options)
    return options
  }
  return factory => {
    const redacting: Factory = function (logger, bindings, options, rawRequest) {
      const child = factory.call(this, logger, bindings, options, rawRequest)
      const serializers = serializersOf(child)
      return serializers === undefined ? child : child.child({}, hiding(serializers))
    }
    wrappers.add(redacting)
    return redacting
  }
}

/**
 * Wraps the serializers of a logger, and adds some for messages, which may quote URLs: the keys `msg` and `message`.
 */
function hidingSerializers (serializers: Serializers, hide: Hide): Serializers {
  const identity: Serialize = value => value
  const wrap = (serialize: Serialize): Serialize => value => hide(serialize(value))
  const all = Object.entries({ msg: identity, message: identity, ...serializers })
  return { err: wrap(serializers.err), ...Object.fromEntries(all.map(([key, each]) => [key, wrap(each)])) }
}
