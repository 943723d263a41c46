import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import type { Figures, Kind, Ready } from './load/server.js'

/**
 * Measures a server under load, over sockets: how late its event loop gets at 80 % of the load that it can bear, with
 * good and bad credentials of every kind, and how long a good client waits while 200 connections send bad ones. Both
 * also with a bare application, which shows what Fastify and the machine add.
 *
 * `npm run bench:load`; `SECONDS=60`.
 */
const duration = Number(process.env.SECONDS ?? 20)
/** Requests per second of a flood that a server can bear: 200 connections of ten requests each. */
const bearable = 2000

interface Server { readonly child: ChildProcess, readonly ready: Ready }

async function start (kind: Kind): Promise<Server> {
  const child = fork(
    fileURLToPath(new URL('./load/server.js', import.meta.url)), [kind],
    { env: { ...process.env, NODE_ENV: 'production' } }
  )
  const [ready] = await once(child, 'message') as [Ready]
  return { child, ready }
}

async function figuresOf ({ child }: Server): Promise<Figures> {
  child.send('figures')
  const [figures] = await once(child, 'message') as [Figures]
  return figures
}

interface Load {
  readonly headers: Ready['good']
  readonly seconds: number
  /** Requests per second of all connections; without it as many as the server answers. */
  readonly rate?: number
  readonly connections?: number
}

async function load ({ ready }: Server, { headers, seconds, rate, connections = 50 }: Load): Promise<number> {
  const result = await autocannon({
    url: `http://127.0.0.1:${ready.port}`,
    connections,
    duration: seconds,
    requests: headers.map(each => ({ method: 'GET', path: '/', headers: each })),
    ...rate === undefined ? {} : { overallRate: Math.floor(rate) }
  })
  return (result['2xx'] + result.non2xx) / result.duration
}

/** Returns the 99th percentile of the milliseconds that a client of 50 requests per second waits. */
async function goodClient ({ ready }: Server, seconds: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: number[] = []
  const end = Date.now() + seconds * 1000
  for (let i = 0; Date.now() < end; i++) {
    const begun = performance.now()
    const headers = ready.good[i % ready.good.length] ?? {}
    const call = request({ agent, port: ready.port, host: '127.0.0.1', headers })
    call.end()
    const [answer] = await once(call, 'response')
    answer.resume()
    await once(answer, 'end')
    times.push(performance.now() - begun)
    await sleep(20)
  }
  agent.destroy()
  return times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? NaN
}

/** Measures the client in a process of its own, because that of the flood is busy. */
async function inClient (server: Server, seconds: number): Promise<number> {
  const child = fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, CLIENT: JSON.stringify({ ready: server.ready, seconds }) }
  })
  const [p99] = await once(child, 'message') as [number]
  return p99
}

async function measure (kind: Kind): Promise<string> {
  const server = await start(kind)
  const { good, bad } = server.ready
  await load(server, { headers: [...good, ...bad], seconds: 3 })
  const most = await load(server, { headers: [...good, ...bad], seconds: 5 })
  await figuresOf(server)
  await load(server, { headers: [...good, ...bad], seconds: duration, rate: most * 0.8 })
  const { p99 } = await figuresOf(server)
  const quiet = await inClient(server, 5)
  const waits: string[] = []
  for (const rate of [bearable, undefined]) {
    const flood = load(server, {
      headers: bad, seconds: duration, connections: 200, ...rate === undefined ? {} : { rate }
    })
    await sleep(1000)
    const wait = await inClient(server, duration - 2)
    await flood
    waits.push(`${wait.toFixed(1)} (${(wait / quiet).toFixed(1)})`)
  }
  server.child.kill()
  return `| ${[kind, most.toFixed(0), p99.toFixed(1), quiet.toFixed(1), ...waits].join(' | ')} |`
}

if (process.env.CLIENT === undefined) {
  console.log('| application | requests/s at most | p99 of the event loop at 80 %, ms | p99 of a quiet client, ms | ' +
    `while 200 connections send ${bearable} bad requests/s (ratio) | as many as they can (ratio) |`)
  console.log('|---|---:|---:|---:|---:|---:|')
  for (const kind of ['bare', 'memory'] as const) console.log(await measure(kind))
} else {
  const { ready, seconds } = JSON.parse(process.env.CLIENT) as { readonly ready: Ready, readonly seconds: number }
  process.send?.(await goodClient({ ready } as Server, seconds))
  process.disconnect()
}
