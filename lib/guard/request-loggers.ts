import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { Scheme } from '../../types/scheme.js'
import { hider, isRedactor, type Hide } from './redact.js'

/** Where a scheme's credentials travel, as far as it says. */
function sourcesOf ({ sources, openapi }: Scheme): readonly string[] {
  return sources ?? (openapi.type === 'apiKey' ? [`${openapi.in}:${openapi.name}`] : [])
}

/** Returns the query parameters in which credentials of these schemes travel. */
export function credentialParameters (schemes: Iterable<Scheme>): ReadonlySet<string> {
  const sources = [...schemes].flatMap(sourcesOf)
  return new Set(sources.filter(source => source.startsWith('query:')).map(source => source.slice('query:'.length)))
}

/** Pino's own name for them, the same in every copy of pino. */
const serializersKey = Symbol.for('pino.serializers')

type Serialize = (value: unknown) => unknown

/** Fastify gives one for errors to every logger of pino. */
interface Serializers {
  readonly err: Serialize
  readonly [key: string]: Serialize
}

function serializersOf (log: FastifyBaseLogger): Serializers | undefined {
  return (log as { readonly [serializersKey]?: Serializers })[serializersKey]
}

type Factory = FastifyInstance['childLoggerFactory']

/**
 * Gives the loggers of requests serializers that hide the values of these parameters, by a child logger factory around
 * the one that stands. Nothing is written to a logger of the application. Where lines cannot be reached, the log says
 * so.
 */
export function redactRequests (app: FastifyInstance, names: ReadonlySet<string>): void {
  if (names.size === 0) return
  const parameters = [...names]
  const serializers = serializersOf(app.log)
  if (serializers === undefined) {
    app.log.warn({ parameters }, 'fastify-gatehouse: credentials travel in these query parameters, and Fastify logs ' +
      'URLs. The logger is not pino, so they cannot be hidden here: pass what it logs of requests through ' +
      'redactRequest({ query }).')
    return
  }
  if (app.log.level === 'trace' && !isRedactor(serializers.err)) {
    app.log.warn({ parameters }, 'fastify-gatehouse: credentials travel in these query parameters, and at the level ' +
      'trace Fastify logs requests whole that it cannot read. Give the logger the serializer ' +
      'err: redactRequest({ query }), or another level.')
  }
  const own = new WeakSet<object>()
  const around = redactingFactory(names, own)
  app.setChildLoggerFactory(around(app.childLoggerFactory))
  if (!renewNotFound(app)) {
    app.log.warn({ parameters }, 'fastify-gatehouse: credentials travel in these query parameters, and the log of ' +
      'requests for unknown paths cannot be reached. Register the plugin on the outermost instance and before ' +
      'setNotFoundHandler, or give the logger the serializer req: redactRequest({ query }).')
  }
  app.addHook('onRoute', function (route) {
    // of the route's own, or of a context within that set another one
    const factory = route.childLoggerFactory ?? this.childLoggerFactory
    if (!own.has(factory)) route.childLoggerFactory = around(factory)
  })
}

/**
 * Makes the default not-found handler anew, so that it has the factory of now: Fastify made it before any plugin.
 * @returns `false` where it is not ours to make: in a context within, and where the application has its own already.
 */
function renewNotFound (app: FastifyInstance): boolean {
  const isOutermost = !('setNotFoundHandler' in (Object.getPrototypeOf(app) as object))
  if (!isOutermost) return false
  try {
    // Fastify documents the call without arguments: it makes the default handler within the context of the plugins
    ;(app.setNotFoundHandler as () => unknown)()
    return true
  } catch {
    return false
  }
}

/** @param own takes the factories that are made. */
function redactingFactory (names: ReadonlySet<string>, own: WeakSet<object>): (factory: Factory) => Factory {
  const hide = hider(names)
  const made = new WeakMap<object, { readonly serializers: Serializers }>()
  const hiding = (serializers: Serializers) => {
    const options = made.get(serializers) ?? { serializers: hidingSerializers(serializers, hide) }
    made.set(serializers, options)
    return options
  }
  return factory => {
    const redacting: Factory = function (logger, bindings, options, rawRequest) {
      const child = factory.call(this, logger, bindings, options, rawRequest)
      const serializers = serializersOf(child)
      return serializers === undefined ? child : child.child({}, hiding(serializers))
    }
    own.add(redacting)
    return redacting
  }
}

/**
 * The serializers of a logger, and one for messages, which quote URLs too: pino's key for them, and the other usual
 * one.
 */
function hidingSerializers (serializers: Serializers, hide: Hide): Serializers {
  const same: Serialize = value => value
  const around = (serialize: Serialize): Serialize => value => hide(serialize(value))
  const all = Object.entries({ msg: same, message: same, ...serializers })
  return { err: around(serializers.err), ...Object.fromEntries(all.map(([key, each]) => [key, around(each)])) }
}
