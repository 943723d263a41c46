import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import authPlugin, { apiKey } from '../lib/index.js'
import { median, settled } from './measure.js'

/**
 * Measures the cost of the plugin for 1,000 routes, each with its HEAD, at boot and in heap: CPU time and bytes per
 * route, as medians of interleaved pairs.
 * `npm run bench boot`.
 */
const routes = 1000
const runs = 15

function declare (app: FastifyInstance): void {
  for (let i = 0; i < routes; i++) {
    app.get(
      `/resource-${i}/:id`,
      { config: { auth: i % 2 === 0 ? { scopes: 'orders:read' } : { roles: { any: ['clerk', 'admin'] } } } },
      async () => i
    )
  }
}

async function boot (withPlugin: boolean): Promise<{ ms: number, bytes: number }> {
  await settled()
  const heap = process.memoryUsage().heapUsed
  const before = process.cpuUsage()
  const app = Fastify()
  if (withPlugin) {
    await app.register(
      authPlugin, { schemes: { service: apiKey({ keys: { [randomBytes(32).toString('base64url')]: { id: 'a' } } }) } }
    )
  }
  declare(app)
  await app.ready()
  const { user, system } = process.cpuUsage(before)
  const ms = (user + system) / 1000
  await settled()
  const bytes = process.memoryUsage().heapUsed - heap
  await app.close()
  return { ms, bytes }
}

const bare: { ms: number, bytes: number }[] = []
const guarded: { ms: number, bytes: number }[] = []
for (let i = 0; i < runs + 3; i++) {
  const [without, withPlugin] = [await boot(false), await boot(true)]
  if (i < 3) continue
  bare.push(without)
  guarded.push(withPlugin)
}
const ms = median(guarded.map((each, i) => each.ms - (bare[i]?.ms ?? 0))) / routes
const bytes = median(guarded.map((each, i) => each.bytes - (bare[i]?.bytes ?? 0))) / routes
console.log(
  `${routes} routes with their HEAD, median of ${runs} pairs: ${ms.toFixed(3)} ms of CPU and ` +
  `${(bytes / 1024).toFixed(2)} KiB of heap a route`
)
