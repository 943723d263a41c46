import type { FastifyInstance } from 'fastify'
import type { Policy } from '../policy/policy.js'
import { methodsOf, type RouteDeclaration } from '../policy/resolve.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { seenName } from '../routes/printed-routes.js'
import { lineage } from '../util/fastify.js'
import { isObject } from '../util/objects.js'
import { DocumentWriter, type DocumentOptions } from './document-writer.js'
import { watchPaths, type OpenApiDocument, type Operation } from './document.js'

const swagger = '@fastify/swagger'

/** A route that documents may contain. */
interface Described {
  readonly context: FastifyInstance
  readonly options: RouteDeclaration
  /** The number of registrations of `@fastify/swagger` that saw the route. */
  readonly seenBy: number
}

/** Parameters of a transform of `@fastify/swagger`. For Swagger 2.0 there is a `swaggerObject` instead. */
interface Transformed {
  readonly openapiObject?: OpenApiDocument
}

/** The schema of a hidden route. Only the types of `@fastify/swagger` have `hide`, and they may not be installed. */
const hidden: object = { hide: true }

/**
 * Adds the policies of an application to the documents of all registrations of `@fastify/swagger`.
 *
 * `@fastify/swagger` passes a document only to the `swaggerTransform` of a route, and ours on a route of the
 * application would replace the application's own `transform`. So each registration gets a hidden route
 * of ours before those of the application, which no request reaches and whose transform completes the document.
 */
export class OpenApi {
  readonly #app: FastifyInstance
  readonly #key: symbol
  readonly #options: DocumentOptions
  #routes: Described[] = []
  #hiddenRoutes = 0
  /** The number of registrations that have a hidden route, by the instance on which they are registered. */
  readonly #prepared = new WeakMap<FastifyInstance, number>()
  readonly #begun = new WeakSet<OpenApiDocument>()
  readonly #warned = new Set<string>()
  #watched: WatchedRoutes | null = null

  /** @param key the symbol of the policy in the config of a route. */
  constructor (app: FastifyInstance, key: symbol, options: DocumentOptions) {
    this.#app = app
    this.#key = key
    this.#options = options
  }

  /** Declares the hidden routes of the registrations so far. */
  begin (): void {
    this.#prepare(this.#app)
  }

  /** Records a route in `onRoute`. Returns false for a hidden route of ours. */
  note (context: FastifyInstance, options: RouteDeclaration): boolean {
    if (isObject(options.config) && options.config.swaggerTransform === this.#begin) return false
    this.#prepare(context)
    this.#routes.push({ context, options, seenBy: registrations(context) })
    return true
  }

  /** Warns of routes that were declared before `@fastify/swagger`, and drops those that no document contains. */
  ready (): void {
    const missed = this.#routes.filter(({ context, options, seenBy }) =>
      options.method !== 'HEAD' && !isHidden(options) && registrations(context) > seenBy)
    if (missed.length > 0) {
      const routes = missed.map(({ options }) => `${methodsOf(options)} ${options.url}`)
      this.#app.log.warn(
        { routes },
        'fastify-gatehouse: @fastify/swagger was registered after these routes, and does not describe them. ' +
        'Register it before them'
      )
    }
    this.#routes = this.#routes.filter(({ seenBy }) => seenBy > 0)
  }

  /** Declares a hidden route if a registration in the lineage of an instance has none. */
  #prepare (context: FastifyInstance): void {
    const open = lineage(context).filter(instance => registrationsOn(instance) > (this.#prepared.get(instance) ?? 0))
    if (open.length === 0) return
    for (const instance of open) this.#prepared.set(instance, registrationsOn(instance))
    this.#hiddenRoutes += 1
    const config: object = { swaggerTransform: this.#begin }
    context.route({
      method: 'GET',
      // the router never looks up a path with a question mark
      url: `/?gatehouse-openapi-${this.#hiddenRoutes}`,
      exposeHeadRoute: false,
      schema: hidden,
      config,
      onError: seenMark,
      handler: hiddenHandler
    })
  }

  /** Begins to complete a document. It is the transform of the hidden routes. */
  readonly #begin = ({ openapiObject }: Transformed): object => {
    if (openapiObject === undefined) this.#refuseOldVersion()
    else if (!this.#begun.has(openapiObject)) this.#complete(openapiObject)
    return { schema: hidden, url: '/' }
  }

  #refuseOldVersion (): void {
    this.#restore()
    this.#warn(
      'fastify-gatehouse: a document of Swagger 2.0 cannot say who may call a route. Give @fastify/swagger the ' +
      'option openapi, so that it makes a document of OpenAPI 3'
    )
  }

  #complete (document: OpenApiDocument): void {
    this.#begun.add(document)
    this.#warnOfOtherTypes(document)
    this.#watched ??= new WatchedRoutes(this.#routes, this.#key)
    const watched = this.#watched
    const writer = new DocumentWriter(document, operation => watched.findPolicy(operation), this.#options)
    watched.leave()
    const stop = watchPaths(document, (item, earlier) => {
      writer.complete(item, earlier)
      watched.leave()
    })
    // a document is generated synchronously
    queueMicrotask(() => {
      stop()
      this.#restore()
    })
  }

  /** Warns if the application describes a security scheme under the name of a scheme, but with another type. */
  #warnOfOtherTypes ({ components }: OpenApiDocument): void {
    for (const [name, written] of Object.entries(components.securitySchemes ?? {})) {
      const type = this.#options.schemes.get(name)?.type
      if (type === undefined || !isObject(written) || written.type === type) continue
      this.#warn(
        `fastify-gatehouse: the document's own security scheme '${name}' is of the type ${String(written.type)}, and ` +
        `schemes.${name} is of the type ${type}. Correct it, or remove it to have it described`
      )
    }
  }

  #warn (message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#app.log.warn(message)
  }

  #restore (): void {
    this.#watched?.restore()
    this.#watched = null
  }
}

/**
 * The routes of an application while its documents are generated. `@fastify/swagger` reads the method of a route when
 * it adds the route's operation to a path. So each route gets an accessor for its method, which notes its policy for
 * the operation that is added next. What transforms get, a schema or none, is as the application wrote it.
 */
class WatchedRoutes {
  readonly #methods: ReadonlyArray<readonly [options: RouteDeclaration, method: RouteDeclaration['method']]>
  /** The policies of copied routes, by the `operationId`. */
  readonly #byId = new Map<unknown, Policy>()
  /** The policy of the route whose method was read last. */
  #policy: Policy | undefined

  constructor (routes: readonly Described[], key: symbol) {
    this.#methods = routes.map(({ options }) => {
      const { method } = options
      const policy = registeredPolicy(options, key)
      const copied = idOfCopy(options)
      if (copied !== null) this.#byId.set(copied, policy)
      const get = (): RouteDeclaration['method'] => {
        this.#policy = policy
        return method
      }
      Object.defineProperty(options, 'method', { get, enumerable: true, configurable: true })
      return [options, method]
    })
  }

  /** Returns the policy of an operation that is being added to a path. */
  findPolicy ({ operationId }: Operation): Policy | undefined {
    return this.#byId.get(operationId) ?? this.#policy
  }

  /** Forgets the last route, because its operation was added. */
  leave (): void {
    this.#policy = undefined
  }

  restore (): void {
    for (const [options, value] of this.#methods) {
      Object.defineProperty(options, 'method', { value, writable: true, enumerable: true, configurable: true })
    }
  }
}

/**
 * Returns the `operationId` of a `HEAD` route in documents, or `null` for any other route. `@fastify/swagger` copies
 * `HEAD` routes with an `operationId`, to write another one into their schemas, and reads the method of the copy.
 */
function idOfCopy ({ method, schema }: RouteDeclaration): string | null {
  const { operationId } = (schema ?? {}) as { readonly operationId?: unknown }
  return method === 'HEAD' && operationId !== undefined ? `${String(operationId)}-head` : null
}

/** Counts the registrations of `@fastify/swagger` that see the routes of an instance. */
function registrations (context: FastifyInstance): number {
  return lineage(context).reduce((sum, instance) => sum + registrationsOn(instance), 0)
}

/** Counts the registrations on exactly this instance, whose name lists the plugins that were registered on it. */
function registrationsOn (instance: FastifyInstance): number {
  // true in child contexts, too, but takes no time where there is no registration
  if (!instance.hasPlugin(swagger)) return 0
  return instance.pluginName.split(' -> ').filter(name => name === swagger).length
}

/** Returns the policy that the registry of routes has put into the config. */
function registeredPolicy ({ config }: RouteDeclaration, key: symbol): Policy {
  return (config as Readonly<Record<symbol, RoutePolicy>>)[key]?.policy as Policy
}

function isHidden ({ schema }: RouteDeclaration): boolean {
  return isObject(schema) && schema.hide === true
}

/** Marks a hidden route as known, for the checks at boot. */
const seenMark = Object.defineProperty((): void => {}, 'name', { value: seenName })

/** Does nothing, because no request reaches a hidden route. */
const hiddenHandler = (): void => {}
