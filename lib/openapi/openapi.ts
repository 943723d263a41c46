import type { FastifyInstance } from 'fastify'
import { lineage } from '../policy/defaults.js'
import type { Policy } from '../policy/policy.js'
import { methodsOf, type RouteDeclaration } from '../policy/resolve.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { seenName } from '../routes/printed-routes.js'
import { isObject } from '../util/objects.js'
import { DocumentWriter, policyField, type DocumentOptions } from './document-writer.js'
import type { OpenApiDocument } from './document.js'
import { watchPaths } from './path-writes.js'

const swagger = '@fastify/swagger'

/** A route that may be described. */
interface Described {
  readonly context: FastifyInstance
  readonly options: RouteDeclaration
  /** How many registrations of `@fastify/swagger` saw it. */
  readonly seenBy: number
}

/** What `@fastify/swagger` passes to a transform. One for Swagger 2.0 has a `swaggerObject` instead. */
interface Transformed {
  readonly openapiObject?: OpenApiDocument
}

/** The schema of a hidden route. `hide` is known to the types of `@fastify/swagger` alone, which may be missing. */
const hidden: object = { hide: true }

/**
 * Adds the policies of an application to the documents of `@fastify/swagger`, wherever and however often it is
 * registered.
 *
 * A document shows itself to nobody but the `swaggerTransform` of a route, and a route of the application that had ours
 * would lose the application's own `transform`. So each registration gets a carrier: a hidden route, ahead of the
 * application's, that no request reaches and whose transform completes the document.
 */
export class OpenApi {
  readonly #app: FastifyInstance
  readonly #key: symbol
  readonly #options: DocumentOptions
  #routes: Described[] = []
  /** Registrations that have a carrier, by the instance that they are registered on. */
  readonly #carried = new WeakMap<FastifyInstance, number>()
  readonly #begun = new WeakSet<OpenApiDocument>()
  readonly #warned = new Set<string>()
  #carriers = 0
  /** The schemas that stand aside while documents are made; `null` when none is. */
  #schemas: ReadonlyArray<readonly [RouteDeclaration, RouteDeclaration['schema']]> | null = null

  /** @param key the symbol under which routes carry their policy. */
  constructor (app: FastifyInstance, key: symbol, options: DocumentOptions) {
    this.#app = app
    this.#key = key
    this.#options = options
    this.#carry(app)
  }

  /** Notes a route: what `onRoute` calls. Returns false for a carrier, which is no route of the application. */
  note (context: FastifyInstance, options: RouteDeclaration): boolean {
    if (isObject(options.config) && options.config.swaggerTransform === this.#begin) return false
    this.#carry(context)
    this.#routes.push({ context, options, seenBy: registrations(context) })
    return true
  }

  /** Warns of routes that came before `@fastify/swagger`, and forgets those that no document has. */
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

  /** Declares a carrier if a registration that an instance can see has none. */
  #carry (context: FastifyInstance): void {
    const open = lineage(context).filter(instance => registrationsOn(instance) > (this.#carried.get(instance) ?? 0))
    if (open.length === 0) return
    for (const instance of open) this.#carried.set(instance, registrationsOn(instance))
    this.#carriers++
    const config: object = { swaggerTransform: this.#begin }
    context.route({
      method: 'GET',
      // what stands behind a question mark is never part of a path that is looked up
      url: `/?gatehouse-openapi-${this.#carriers}`,
      exposeHeadRoute: false,
      schema: hidden,
      config,
      onError: seen,
      handler: carrierHandler
    })
  }

  /** Begins the description of a document: what a carrier does in place of a transform. */
  readonly #begin = ({ openapiObject }: Transformed): object => {
    if (openapiObject === undefined) this.#refuseOldVersion()
    else if (!this.#begun.has(openapiObject)) this.#complete(openapiObject)
    return { schema: hidden, url: '/' }
  }

  #refuseOldVersion (): void {
    this.#hidePolicies()
    this.#warn(
      'fastify-gatehouse: a document of Swagger 2.0 cannot say who may call a route. Give @fastify/swagger the ' +
      'option openapi, so that it makes a document of OpenAPI 3'
    )
  }

  #complete (document: OpenApiDocument): void {
    this.#begun.add(document)
    this.#warnOfOtherTypes(document)
    this.#showPolicies()
    const policies = this.#routes.map(({ options }) => policyOf(options, this.#key))
    const writer = new DocumentWriter(document, policies, this.#options)
    const stop = watchPaths(document, item => { writer.complete(item) })
    // a document is made at once, without waiting for anything
    queueMicrotask(() => {
      stop()
      this.#hidePolicies()
    })
  }

  /** Warns of a scheme that the application describes under the name of one of ours, and describes as another type. */
  #warnOfOtherTypes ({ components }: OpenApiDocument): void {
    for (const [name, written] of Object.entries(components.securitySchemes ?? {})) {
      const type = this.#options.schemes.get(name)?.scheme.openapi.type
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

  /** Puts schemas that say which policy a route has in the place of the application's. */
  #showPolicies (): void {
    this.#schemas ??= this.#routes.map(({ options }, i) => {
      const { schema } = options
      // a transform may leave out what is falsy
      const marked: object = { ...schema, [policyField]: String(i) }
      options.schema = marked
      return [options, schema]
    })
  }

  /** Puts the application's schemas back. */
  #hidePolicies (): void {
    for (const [options, schema] of this.#schemas ?? []) {
      if (schema === undefined) Reflect.deleteProperty(options, 'schema')
      else options.schema = schema
    }
    this.#schemas = null
  }
}

/** Counts the registrations of `@fastify/swagger` that see the routes of an instance. */
function registrations (context: FastifyInstance): number {
  return lineage(context).reduce((sum, instance) => sum + registrationsOn(instance), 0)
}

/** Counts the registrations on exactly this instance, whose name lists the plugins that were registered on it. */
function registrationsOn ({ pluginName }: FastifyInstance): number {
  return pluginName.split(' -> ').filter(name => name === swagger).length
}

function policyOf ({ config }: RouteDeclaration, key: symbol): Policy | undefined {
  return (config as Readonly<Record<symbol, RoutePolicy | undefined>>)[key]?.policy
}

function isHidden ({ schema }: RouteDeclaration): boolean {
  return isObject(schema) && schema.hide === true
}

/** Marks a carrier as a route that was seen, for the checks at boot. */
const seen = Object.defineProperty((): void => {}, 'name', { value: seenName })

/** Answers nobody: no request reaches a carrier. */
const carrierHandler = (): void => {}
