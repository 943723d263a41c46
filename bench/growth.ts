import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import authPlugin, { apiKey } from '../lib/index.js'

/**
 * What the heap grows by under bad keys, each another one: those of no form, which cost no look-up, and those of a good form that nobody was given.
 * Run with `node --expose-gc .bench/bench/growth.js` after `npx tsc -p tsconfig.bench.json`; `KEYS=5000000` by default. The issue asks for less than 20 MiB.
 */
const count = Number(process.env.KEYS ?? 5_000_000)
const steps = 10

function heap (): number {
  global.gc?.()
  return process.memoryUsage().heapUsed / 1_048_576
}

const { KeyFormat } = await import('../lib/api-keys/format.js')
const format = new KeyFormat('acme_live')
const app = Fastify()
await app.register(authPlugin, { schemes: { service: apiKey({ managed: { prefix: 'acme_live' } }) } })
app.get('/', async () => ({}))
await app.ready()

async function send (key: string): Promise<void> {
  const { statusCode } = await app.inject({ url: '/', headers: { 'x-api-key': key } })
  if (statusCode !== 401) throw new Error(`a bad key was answered with ${statusCode}`)
}

for (let i = 0; i < 30_000; i++) {
  await send(format.make())
  if (i % 100 === 0) await turn()
}
await turn()
const before = heap()
console.log(`before: ${before.toFixed(1)} MiB`)
for (let step = 1; step <= steps; step++) {
  for (let i = 0; i < count / steps; i++) {
    await send(i % 2 === 0 ? format.make() : `acme_live_${randomBytes(27).toString('hex').slice(0, 36)}`)
    // injected requests are let go of only when the event loop turns, with the plugin or without
    if (i % 100 === 0) await turn()
  }
  await turn()
  const now = heap()
  console.log(`${Math.round(count / steps * step)} bad keys: ${now.toFixed(1)} MiB, ${(now - before).toFixed(1)} MiB more`)
}
await app.close()
