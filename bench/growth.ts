import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import { addresses } from './growth/addresses.js'
import type { Section } from './growth/flood.js'
import { keys } from './growth/keys.js'
import { tokens } from './growth/tokens.js'

/**
 * Measures the growth of a process under keys, tokens, cookies, names and addresses that are all different, sent
 * through the whole application by `app.inject`. Every section runs in a process of its own and is measured three
 * times, after a collection: *cold*, before its first request; *full*, when what is bounded holds as much as it ever
 * will; and at the end. The goal is less than 20 MiB of heap from the start. The bare application says what of it is
 * Fastify's and V8's.
 *
 * `npm run bench growth`; `COUNT=5000000` by default, `ONLY=keys` (tokens, addresses, principals, nothing) for some.
 */
const count = Number(process.env.COUNT ?? 5_000_000)
const only = new RegExp(process.env.ONLY ?? '', 'i')
const steps = 10

interface Memory { readonly heap: number, readonly external: number, readonly rss: number }

const bare: Section = {
  name: 'nothing: a bare application',
  full: 30_000,
  async make () {
    const app = Fastify()
    app.get('/', async (_request, reply) => reply.code(401).send({}))
    await app.ready()
    return {
      app,
      statuses: [401],
      send: async i => (await app.inject({ url: '/', headers: { 'x-api-key': `key-${i}` } })).statusCode
    }
  }
}

const sections: readonly Section[] = [bare, ...keys, ...tokens, ...addresses]

/** Returns the used memory. `external` includes the array buffers. */
async function memory (): Promise<Memory> {
  // finished requests are released only in later turns of the event loop, with the plugin or without
  for (let i = 0; i < 3; i++) {
    await turn()
    global.gc?.()
  }
  const { heapUsed, external, rss } = process.memoryUsage()
  return { heap: heapUsed / 1_048_576, external: external / 1_048_576, rss: rss / 1_048_576 }
}

async function measure ({ name, full, make }: Section): Promise<void> {
  const { app, send, statuses } = await make()
  const answers = new Map<number, number>()
  let sent = 0
  const until = async (end: number): Promise<Memory> => {
    for (; sent < end; sent++) {
      const status = await send(sent)
      if (!statuses.includes(status)) throw new Error(`${name}: number ${sent} was answered with ${status}`)
      answers.set(status, (answers.get(status) ?? 0) + 1)
      if (sent % 100 === 0) await turn()
    }
    return memory()
  }
  const cold = await memory()
  const filled = await until(full)
  let last = filled
  let most = filled.heap
  for (let step = 1; step <= steps; step++) {
    last = await until(full + Math.round(count * step / steps))
    most = Math.max(most, last.heap)
    console.error(
      `${name}: ${sent}, heap ${last.heap.toFixed(1)} MiB, ${(last.heap - cold.heap).toFixed(1)} more than cold, ` +
      `${(last.heap - filled.heap).toFixed(1)} more than full`
    )
  }
  await app.close()
  const more = (from: Memory, kind: keyof Memory): string => (last[kind] - from[kind]).toFixed(1)
  const status = [...answers].sort(([a], [b]) => a - b).map(([code, times]) => `${code} ×${times}`).join(', ')
  console.log(row(
    name,
    status,
    cold.heap.toFixed(1),
    more(cold, 'heap'),
    (most - cold.heap).toFixed(1),
    more(filled, 'heap'),
    more(cold, 'external'),
    more(cold, 'rss'),
    more(filled, 'rss')
  ))
}

/** Returns a row of a Markdown table. */
function row (...cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

const chosen = process.argv[2]
if (chosen === undefined) {
  console.log(`Node ${process.version}, ${count} after what fills the bounds; MiB after a collection\n`)
  console.log(row(
    'what',
    'answers',
    'heap, cold',
    'heap more than cold',
    'at most',
    'heap more than full',
    'external more than cold',
    'rss more than cold',
    'rss more than full'
  ))
  console.log('|---|---|---:|---:|---:|---:|---:|---:|---:|')
  for (const [index, { name }] of sections.entries()) {
    if (!only.test(name)) continue
    const [code] = await once(
      fork(fileURLToPath(import.meta.url), [String(index)], { execArgv: ['--expose-gc'] }), 'exit'
    )
    if (code !== 0) process.exitCode = 1
  }
} else {
  await measure(sections[Number(chosen)] ?? bare)
}
