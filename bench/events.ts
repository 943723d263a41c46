import { randomBytes } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { MeterProvider, PeriodicExportingMetricReader, InMemoryMetricExporter } from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import Fastify from 'fastify'
import authPlugin, { jwt } from '../lib/index.js'
import { startTelemetry } from '../lib/otel/index.js'
import { Client } from './hooks/exchange.js'
import { median } from './measure.js'

/**
 * Prints what the events of a request with a repeated token cost, in µs of CPU: with nobody subscribed (twice, which
 * shows the noise), with a subscriber on every channel, and with OpenTelemetry. One application, measured in turns.
 * `npm run bench events`, with `--quick` for fewer rounds.
 */
const isQuick = process.argv.includes('--quick')
const rounds = isQuick ? 40 : 200
const requestsPerRound = 1000

const names = [
  'authenticated', 'refused', 'denied', 'throttled', 'unavailable', 'fault', 'login', 'logout', 'key-created',
  'key-rotated', 'key-revoked', 'key-used-after-end', 'store-down', 'store-up', 'token-issued', 'token-refreshed',
  'token-reused', 'token-revoked', 'code-reused', 'consent-given', 'client-refused', 'keys-fetched', 'keys-failed'
].map(name => `fastify-gatehouse:${name}`)

let received = 0
const count = (): void => { received++ }

const exporter = new InMemoryMetricExporter(0)
const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
const meterProvider = new MeterProvider({ readers: [reader] })
const span = new BasicTracerProvider().getTracer('bench').startSpan('request')

/** The measured states. Each function enters its state, and returns a function that leaves it. */
const states: Readonly<Record<string, () => () => void>> = {
  'nobody subscribed': () => () => {},
  'nobody subscribed, again': () => () => {},
  'a subscriber on every channel': () => {
    for (const name of names) subscribe(name, count)
    return () => { for (const name of names) unsubscribe(name, count) }
  },
  'OpenTelemetry: metrics and a span': () => startTelemetry({ meterProvider })
}

const app = Fastify()
await app.register(authPlugin, {
  schemes: {
    user: jwt({ keys: randomBytes(32).toString('base64url'), issuer: 'https://id.test', audience: 'bench', sign: true })
  }
})
// like @fastify/otel
app.decorateRequest('opentelemetry', (() => ({ span })) as never)
app.get('/', async () => 'in')
await app.ready()
const authorization = `Bearer ${await app.gatehouse.tokens.issue({ id: 'ada' }, { expiresIn: '1h' })}`
const client = new Client(app, [{ authorization }], 200)

async function measure (begin: () => () => void): Promise<number> {
  const end = begin()
  const before = process.cpuUsage()
  await client.send(requestsPerRound)
  const { user, system } = process.cpuUsage(before)
  end()
  return (user + system) / requestsPerRound
}

const all = Object.entries(states)
for (let i = 0; i < 20; i++) for (const [, begin] of all) await measure(begin)
const times = new Map<string, number[]>(all.map(([name]) => [name, []]))
for (let round = 0; round < rounds; round++) {
  // the first one in a round pays for the garbage of the previous round, so they take turns
  const turn = round % all.length
  for (const [name, begin] of [...all.slice(turn), ...all.slice(0, turn)]) times.get(name)?.push(await measure(begin))
}
const base = times.get('nobody subscribed') ?? []
for (const [name, each] of times) {
  const more = each.map((time, i) => time - (base[i] ?? NaN)).sort((a, b) => a - b)
  const [low = NaN, high = NaN] = [0.25, 0.75].map(part => more[Math.floor(more.length * part)])
  console.log(
    `${name}: ${median(each).toFixed(2)} µs a request, ${median(more).toFixed(2)} µs more ` +
    `(quartiles ${low.toFixed(2)} to ${high.toFixed(2)})`
  )
}
console.log(`${received} events were received`)
await app.close()
await meterProvider.shutdown()
