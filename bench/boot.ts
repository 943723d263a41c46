import { randomBytes } from 'node:crypto'
import { pathToFileURL } from 'node:url'
import Fastify, { type FastifyInstance } from 'fastify'
import * as now from '../lib/index.js'
import { median, settled } from './measure.js'

/**
 * Measures the cost of the plugin for 1,000 routes, each with its HEAD, at boot and in heap: CPU time and bytes per
 * route, as medians of interleaved rounds.
 * `npm run bench boot`. `BASE=/other/bench/.build/lib` compares with the library of another working tree.
 */
const routes = 1000
const runs = 15

type Library = typeof now

interface Cost { readonly ms: number, readonly bytes: number }

function declare (app: FastifyInstance): void {
  for (let i = 0; i < routes; i++) {
    app.get(
      `/resource-${i}/:id`,
      { config: { auth: i % 2 === 0 ? { scopes: 'orders:read' } : { roles: { any: ['clerk', 'admin'] } } } },
      async () => i
    )
  }
}

/** Boots an application, bare if there is no library. */
async function boot (library: Library | null): Promise<Cost> {
  await settled()
  const heap = process.memoryUsage().heapUsed
  const before = process.cpuUsage()
  const app = Fastify()
  if (library !== null) {
    const service = library.apiKey({ keys: { [randomBytes(32).toString('base64url')]: { id: 'a' } } })
    await app.register(library.default, { schemes: { service } })
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

const { BASE } = process.env
const libraries: Readonly<Record<string, Library | null>> = {
  bare: null,
  ...BASE === undefined ? {} : { base: await import(pathToFileURL(`${BASE}/index.js`).href) as Library },
  now
}
const rounds: Array<Readonly<Record<string, Cost>>> = []
for (let i = 0; i < runs + 3; i++) {
  const round: Record<string, Cost> = {}
  for (const [name, library] of Object.entries(libraries)) round[name] = await boot(library)
  if (i >= 3) rounds.push(round)
}

/** Returns what one application costs more than another, per route: the median of the rounds. */
function difference (key: keyof Cost, name: string): number {
  return median(rounds.map(round => (round[name]?.[key] ?? NaN) - (round.bare?.[key] ?? NaN))) / routes
}

for (const name of Object.keys(libraries).slice(1)) {
  console.log(
    `${name}: ${routes} routes with their HEAD, median of ${runs} rounds: ${difference('ms', name).toFixed(3)} ms of ` +
    `CPU and ${(difference('bytes', name) / 1024).toFixed(2)} KiB of heap a route`
  )
}
