import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { chart, type ChartRow } from './hooks/chart.js'
import { Client } from './hooks/exchange.js'
import { bare, byHand, paths, type Library, type Path } from './hooks/paths.js'
import { median } from './measure.js'

/**
 * Measures the cost of the guard on each path, in µs of CPU and in bytes of heap per request, beside a hook written by
 * hand. All applications of a path are in one process, and a round measures them one after the other, so that a drift
 * of the machine's speed affects all of them. The cost of a bare application with the same answer, or with a prepared
 * error, is subtracted.
 *
 * `npm run bench hooks`, with `--quick` for fewer rounds; `ONLY=session` for some paths. With `--check` it exits with 1
 * if a path is slower than the other package that it is measured beside, by more than the noise of both.
 * `--chart FILE` draws the figures. `BASE=/other/bench/.build/lib` compares with the library of another working tree.
 */
const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean' }, check: { type: 'boolean' }, chart: { type: 'string' } }
})
const isQuick = flags.quick === true
const rounds = isQuick ? 20 : 60
const requestsPerRound = isQuick ? 500 : 1000
/** Milliseconds of CPU time until the compiler has finished its work. */
const warmUp = isQuick ? 400 : 2000
const only = new RegExp(process.env.ONLY ?? '', 'i')

interface Cost { readonly us: number, readonly spread: number, readonly bytes: number }
type Costs = Readonly<Record<string, Cost>>

async function libraryOf (folder: string | undefined): Promise<Library> {
  return folder === undefined
    ? await import('../lib/index.js')
    : await import(pathToFileURL(`${folder}/index.js`).href) as Library
}

async function clientsOf ({ make, ideal, status, peer }: Path): Promise<Readonly<Record<string, Client>>> {
  const { app, headers } = await make(await libraryOf(undefined))
  const base = process.env.BASE === undefined ? {} : { base: await make(await libraryOf(process.env.BASE)) }
  const made = {
    bare: { app: bare(status), headers: [{}] },
    ideal: { app: byHand(ideal(headers)), headers },
    now: { app, headers },
    ...peer === undefined ? {} : { peer: await peer.make() },
    ...base
  }
  for (const { app } of Object.values(made)) await app.ready()
  return Object.fromEntries(
    Object.entries(made).map(([name, { app, headers }]) => [name, new Client(app, headers, status)])
  )
}

/** Returns the CPU time of some requests, in µs. */
async function measure (client: Client): Promise<number> {
  const before = process.cpuUsage()
  await client.send(requestsPerRound)
  const { user, system } = process.cpuUsage(before)
  return user + system
}

async function warm (client: Client): Promise<void> {
  for (let spent = 0; spent < warmUp * 1000;) spent += await measure(client)
}

/**
 * Returns the bytes that a request allocates. The first requests after a collection are not counted: V8 then runs some
 * code unoptimised, which allocates up to twice as much.
 */
async function bytesOf (client: Client): Promise<number> {
  const count = 2000
  global.gc?.()
  await client.send(count)
  const before = process.memoryUsage().heapUsed
  await client.send(count)
  return (process.memoryUsage().heapUsed - before) / count
}

/** Measures one path in this process. */
async function run (path: Path): Promise<Costs> {
  const clients = Object.entries(await clientsOf(path))
  for (const [, client] of clients) await warm(client)
  const times = new Map<string, number[]>(clients.map(([name]) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    // the first one in a round pays for the garbage of the previous round, so they take turns
    const turn = round % clients.length
    for (const [name, client] of [...clients.slice(turn), ...clients.slice(0, turn)]) {
      times.get(name)?.push(await measure(client) / requestsPerRound)
    }
  }
  const empty = times.get('bare') ?? []
  const emptyBytes = await bytesOf(clients[0]?.[1] as Client)
  const costs: Record<string, Cost> = {}
  for (const [name, client] of clients) {
    const net = (times.get(name) ?? []).map((each, i) => each - (empty[i] ?? NaN)).sort((a, b) => a - b)
    const spread = ((net[Math.floor(net.length * 0.75)] ?? NaN) - (net[Math.floor(net.length * 0.25)] ?? NaN)) / 2
    costs[name] = { us: median(net), spread, bytes: await bytesOf(client) - emptyBytes }
  }
  return costs
}

async function inChild (index: number): Promise<Costs> {
  const child = fork(fileURLToPath(import.meta.url), process.argv.slice(2), {
    env: { ...process.env, NODE_ENV: 'production', HOOKS_PATH: String(index) },
    execArgv: ['--expose-gc', '--min-semi-space-size=64', '--max-semi-space-size=64']
  })
  const [costs] = await once(child, 'message') as [Costs]
  child.kill()
  return costs
}

function cellOf (cost: Cost | undefined): string {
  return cost === undefined ? '' : `${cost.us.toFixed(2)} ± ${cost.spread.toFixed(2)}`
}

/** Returns a message if the guard is slower than the other package by more than the spread of both. */
function behind ({ name, peer }: Path, { now, peer: other }: Costs): string[] {
  if (now === undefined || other === undefined || peer?.doesLess === true) return []
  if (now.us - other.us <= now.spread + other.spread) return []
  return [`${name}: ${cellOf(now)} µs, slower than ${peer?.name} with ${cellOf(other)} µs.`]
}

/** Measures the chosen paths, each in a process of its own, and prints the table. */
async function report (): Promise<void> {
  const sides = [...process.env.BASE === undefined ? [] : ['base'], 'now', 'ideal', 'peer']
  const columns = ['µs', 'bytes'].flatMap(unit => sides.map(side => `${side}, ${unit}`))
  console.log(`| path | ${columns.join(' | ')} | peer |`)
  console.log(`|---|${columns.map(() => '---:|').join('')}---|`)
  const slower: string[] = []
  const rows: ChartRow[] = []
  for (const [index, path] of paths.entries()) {
    if (!only.test(path.name)) continue
    const costs = await inChild(index)
    const us = sides.map(side => cellOf(costs[side]))
    const bytes = sides.map(side => costs[side]?.bytes.toFixed(0) ?? '')
    console.log(`| ${[path.name, ...us, ...bytes, path.peer?.name ?? ''].join(' | ')} |`)
    slower.push(...behind(path, costs))
    const { now, ideal, peer } = costs
    rows.push({ name: path.name, guard: now?.us ?? NaN, byHand: ideal?.us ?? NaN, peer: peer?.us ?? null })
  }
  if (flags.chart !== undefined) writeFileSync(flags.chart, chart(rows))
  if (flags.check !== true) return
  for (const message of slower) console.error(message)
  if (slower.length > 0) process.exitCode = 1
}

const own = paths[Number(process.env.HOOKS_PATH)]
if (own === undefined) await report()
else process.send?.(await run(own))
