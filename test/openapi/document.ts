import swagger from '@fastify/swagger'
import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import gatehouse, { type GatehouseOptions, type Scheme } from '../../lib/index.js'
import { headerScheme, threeSchemes } from '../fixtures/policies.js'

/** The parts of a document that the tests look at. */
export interface Document {
  readonly openapi: string
  readonly components: {
    readonly schemas?: object
    readonly securitySchemes?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
    readonly responses?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

export interface Operation {
  readonly security?: unknown
  readonly responses: Readonly<Record<string, unknown>>
  readonly parameters?: unknown
  readonly [field: string]: unknown
}

export const versions = ['3.0.3', '3.1.1', '3.2.0'] as const

type Declare = (app: FastifyInstance) => unknown
type SwaggerOptions = Omit<FastifyDynamicSwaggerOptions, 'openapi'> & { readonly openapi?: object }

export interface Setting {
  readonly version?: string
  readonly options?: Record<string, unknown>
  readonly swagger?: SwaggerOptions
  /** `true` registers `@fastify/swagger` before the plugin. By default it is registered after it. */
  readonly first?: boolean
}

export interface LogLine { readonly level: number, readonly msg: string, readonly routes?: readonly string[] }

/** Starts an application with the plugin, by default with three schemes, and records its log. */
export async function start (t: Test, before: Declare, options: Record<string, unknown> = {}) {
  const log: LogLine[] = []
  const stream = { write: (line: string) => { log.push(JSON.parse(line) as LogLine) } }
  const app = Fastify({ logger: { stream, level: 'warn' } }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await before(app)
  const complete: unknown = 'schemes' in options ? options : { schemes: threeSchemes(), default: 'user', ...options }
  await app.register(gatehouse, complete as GatehouseOptions)
  return { app, log }
}

export async function registerSwagger (
  app: FastifyInstance, version = '3.0.3', more: SwaggerOptions = {}
): Promise<void> {
  const openapi = { openapi: version, info: { title: 'Orders', version: '1' }, ...more.openapi }
  await app.register(swagger, { ...more, openapi } as FastifyDynamicSwaggerOptions)
}

/** Returns the document of an application with these routes, and checks that it is valid. */
export async function describe (t: Test, declare: Declare, { version, options, swagger, first = false }: Setting = {}) {
  const { app, log } = await start(t, async app => { if (first) await registerSwagger(app, version, swagger) }, options)
  if (!first) await registerSwagger(app, version, swagger)
  await declare(app)
  await app.ready()
  return { app, log, document: await documentOf(t, app) }
}

/** One validator for all tests: it compiles the schema of each OpenAPI version once, which takes most of the time. */
const validator = new Validator()

/**
 * Returns the document of a ready application. Checks that it is valid and declares every scheme and scope that it
 * uses.
 */
export async function documentOf (t: Test, app: FastifyInstance, decorator: 'swagger' = 'swagger'): Promise<Document> {
  const made: unknown = app[decorator]()
  const document = JSON.parse(JSON.stringify(made)) as Document
  t.strictSame(structuredClone(made), document, 'a clone is the same')
  const { valid, errors } = await validator.validate(JSON.parse(JSON.stringify(made)) as Record<string, unknown>)
  t.ok(valid, `valid in ${document.openapi}`, { errors })
  t.same(undeclared(document), [])
  t.notMatch(JSON.stringify(document), /x-gatehouse|gatehouse-openapi/)
  return document
}

interface Flow { readonly scopes: Readonly<Record<string, string>> }

/** Returns the schemes that `security` names without a declaration, which validators do not notice. */
function undeclared ({ components, paths }: Document): readonly string[] {
  const schemes = components.securitySchemes ?? {}
  const operations = Object.values(paths).flatMap(item => Object.values(item))
  const requirements = operations.flatMap(
    ({ security = [] }) => security as ReadonlyArray<Record<string, readonly string[]>>
  )
  return requirements.flatMap(each => Object.entries(each)).flatMap(([name, scopes]) => {
    const scheme = schemes[name]
    if (scheme === undefined) return [name]
    if (scheme.type !== 'oauth2') return []
    const declared = Object.values(scheme.flows as Record<string, Flow>).flatMap(flow => Object.keys(flow.scopes))
    return scopes.flatMap(scope => declared.includes(scope) ? [] : [`${name} ${scope}`])
  })
}

/** Creates a scheme with this OpenAPI description. */
export function schemeOf (name: string, openapi: Scheme['openapi'], more: Partial<Scheme> = {}): Scheme {
  return headerScheme(name, { ...more, openapi })
}
