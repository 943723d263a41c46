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
 * not know. Medians of interleaved pairs. `npm run bench openapi`.
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

function declare (app: FastifyInstance): void {
  for (let i = 0; i < routes; i++) {
    const auth = i % 2 === 0 ? { scopes: 'orders:read' } : { roles: { any: ['clerk', 'admin'] } }
    app.get(
      `/resource-${i}/:id`, { schema: { summary: `Resource ${i}`, ...schema }, config: { auth } }, async () => ({})
    )
  }
}

/** `@fastify/swagger` under a name that the plugin does not look for. */
const unknown = fp(
  (app: FastifyInstance, options: object, done) => { swagger(app, options, done) }, { name: 'unknown' }
)

async function boot (isDescribed: boolean): Promise<Cost> {
  await settled()
  const heap = process.memoryUsage().heapUsed
  const before = cpu()
  const app = Fastify()
  const keys = { [randomBytes(32).toString('base64url')]: { id: 'a' } }
  await app.register(authPlugin, { schemes: { service: apiKey({ keys }) } })
  const options = { openapi: { openapi: '3.1.1', info: { title: 'a', version: '1' } } }
  await (isDescribed ? app.register(swagger, options) : app.register(unknown, options))
  declare(app)
  await app.ready()
  const ms = cpu() - before
  await settled()
  const bytes = process.memoryUsage().heapUsed - heap
  const start = cpu()
  const document = app.swagger()
  const documentMs = cpu() - start
  await app.close()
  return { ms, bytes, documentMs, length: JSON.stringify(document).length }
}

function cpu (): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const pairs: Array<readonly [without: Cost, described: Cost]> = []
for (let i = 0; i < runs + 3; i++) {
  const pair = [await boot(false), await boot(true)] as const
  if (i >= 3) pairs.push(pair)
}
const difference = (key: keyof Cost) => median(
  pairs.map(([without, described]) => described[key] - without[key])
) / routes
const [plain, described] = [0, 1].map(side => median(pairs.map(pair => pair[side]?.documentMs ?? NaN)))
const ratio = (key: 'documentMs' | 'length') => median(pairs.map(([without, each]) => each[key] / without[key]))
console.log(
  `${routes} routes with their HEAD, median of ${runs} pairs: ${difference('ms').toFixed(3)} ms of CPU and ` +
  `${(difference('bytes') / 1024).toFixed(2)} KiB of heap a route; app.swagger() takes ${plain?.toFixed(0)} ms ` +
  `without and ${described?.toFixed(0)} ms with security, ${ratio('documentMs').toFixed(2)} times as long for a ` +
  `document ${ratio('length').toFixed(2)} times as long`
)
