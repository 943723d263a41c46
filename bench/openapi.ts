import { randomBytes } from 'node:crypto'
import swagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import authPlugin, { apiKey } from '../lib/index.js'
import { median, settled } from './measure.js'

/**
 * Prints what the documentation of 1,000 routes, each with its HEAD, costs: CPU time at boot, heap, the time of
 * `app.swagger()` and the length of the document, each compared with an application whose document the plugin does not
 * complete. The other application has the plugin too, and `@fastify/swagger` under another name, which the plugin does
 * not know. A third one declares security and refusals by hand, in the schema of each route. Medians of interleaved
 * rounds. `npm run bench openapi`.
 */
const routes = 1000
const runs = 15

interface Cost {
  readonly ms: number
  readonly bytes: number
  readonly documentMs: number
  /** The length of the document as JSON, in characters. */
  readonly length: number
}

const schema = {
  tags: ['a'],
  querystring: { type: 'object', properties: { limit: { type: 'integer' } } },
  response: { 200: { type: 'object', properties: { id: { type: 'string' }, total: { type: 'number' } } } }
}

const errorSchema = {
  $id: 'AuthError',
  type: 'object',
  properties: {
    statusCode: { type: 'integer' }, code: { type: 'string' }, error: { type: 'string' }, message: { type: 'string' }
  }
}
const apiKeyScheme = { type: 'apiKey', in: 'header', name: 'x-api-key' } as const
const refusals = Object.fromEntries([401, 403, 429, 503].map(status => [status, { $ref: 'AuthError#' }]))

/** The origin of security and refusals in the document: none, the plugin, or the schemas of the routes. */
type Side = 'plain' | 'described' | 'byHand'

function declare (app: FastifyInstance, side: Side): void {
  const response = side === 'byHand' ? { ...schema.response, ...refusals } : schema.response
  const handWritten = [
    { security: [{ service: ['orders:read'] }] },
    { security: [{ service: [] }], 'x-auth': ['needs any of the roles clerk, admin'] }
  ]
  for (let i = 0; i < routes; i++) {
    const auth = i % 2 === 0 ? { scopes: 'orders:read' } : { roles: { any: ['clerk', 'admin'] } }
    const written = { summary: `Resource ${i}`, ...schema, response, ...side === 'byHand' ? handWritten[i % 2] : {} }
    app.get(`/resource-${i}/:id`, { schema: written, config: { auth } }, async () => ({}))
  }
}

/** `@fastify/swagger` under a name that the plugin does not look for. */
const unknown = fp(
  (app: FastifyInstance, options: object, done) => { swagger(app, options, done) }, { name: 'unknown' }
)

async function boot (side: Side): Promise<Cost> {
  await settled()
  const heap = process.memoryUsage().heapUsed
  const before = cpu()
  const app = Fastify()
  const keys = { [randomBytes(32).toString('base64url')]: { id: 'a' } }
  await app.register(authPlugin, { schemes: { service: apiKey({ keys }) } })
  if (side === 'byHand') app.addSchema(errorSchema)
  const components = side === 'byHand' ? { securitySchemes: { service: apiKeyScheme } } : {}
  const options = { openapi: { openapi: '3.1.1', info: { title: 'a', version: '1' }, components } }
  await (side === 'described' ? app.register(swagger, options) : app.register(unknown, options))
  declare(app, side)
  await app.ready()
  const ms = cpu() - before
  await settled()
  const bytes = process.memoryUsage().heapUsed - heap
  const start = cpu()
  const document = app.swagger()
  // a turn later, because the plugin has work left when the document is returned
  await new Promise(resolve => { setImmediate(resolve) })
  const documentMs = cpu() - start
  await app.close()
  return { ms, bytes, documentMs, length: JSON.stringify(document).length }
}

function cpu (): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const rounds: Array<Readonly<Record<Side, Cost>>> = []
for (let i = 0; i < runs + 3; i++) {
  const round = { plain: await boot('plain'), described: await boot('described'), byHand: await boot('byHand') }
  if (i >= 3) rounds.push(round)
}

function difference (key: keyof Cost): number {
  return median(rounds.map(({ plain, described }) => described[key] - plain[key])) / routes
}

function ratio (side: Side, key: keyof Cost): string {
  return median(rounds.map(round => round[side][key] / round.plain[key])).toFixed(2)
}

const plainMs = median(rounds.map(({ plain }) => plain.documentMs)).toFixed(0)
console.log(
  `${routes} routes with their HEAD, median of ${runs} rounds: ${difference('ms').toFixed(3)} ms of CPU and ` +
  `${(difference('bytes') / 1024).toFixed(2)} KiB of heap a route; app.swagger() takes ${plainMs} ms without security`
)
for (const [side, name] of [['described', 'the plugin'], ['byHand', 'security by hand']] as const) {
  console.log(
    `with ${name}: app.swagger() takes ${ratio(side, 'documentMs')} times as long for a document ` +
    `${ratio(side, 'length')} times as long`
  )
}
