import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request, type ClientRequest, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import type { Figures, Kind, Ready } from './load/server.js'

/**
 * Measures a server under load, over sockets: how late its event loop gets at 80 % of the load that it can bear, with
 * good and bad credentials of every kind, and how long a good client waits while 200 connections send bad ones. Both
 * also with a bare application, which shows what Fastify and the machine add.
 *
 * `npm run bench load`; `SECONDS=60`.
 */
const duration = Number(process.env.SECONDS ?? 20)
/** The number of connections of a flood. */
const connections = 200
/** The requests per second of a flood that a server can handle. */
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
  /** The requests per second of all connections. By default, as many as the server answers. */
  readonly rate?: number
}

async function load ({ ready }: Server, { headers, seconds, rate }: Load): Promise<number> {
  const result = await autocannon({
    url: `http://127.0.0.1:${ready.port}`,
    connections: 50,
    duration: seconds,
    requests: headers.map(each => ({ method: 'GET', path: '/', headers: each })),
    ...rate === undefined ? {} : { overallRate: Math.floor(rate) }
  })
  return (result['2xx'] + result.non2xx) / result.duration
}

/** The work of a client process. */
interface ClientTask {
  readonly port: number
  readonly headers: Ready['good']
  readonly seconds: number
  readonly connections: number
  /** The milliseconds between two requests of a connection. With 0, the next one is sent after the response. */
  readonly every: number
}

/**
 * Sends requests over connections that begin at different times, so that the requests are spread evenly; `autocannon`
 * sends all requests of a second at its beginning. Returns the 99th percentile of the milliseconds until the answer.
 */
async function runClient ({ port, headers, seconds, connections, every }: ClientTask): Promise<number> {
  const times: number[] = []
  const end = Date.now() + seconds * 1000
  const connect = async (index: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    await sleep(every * index / connections)
    for (let next = Date.now(), sent = index; next < end; sent++) {
      const begun = performance.now()
      await answerTo(request({ agent, port, host: '127.0.0.1', headers: headers[sent % headers.length] ?? {} }))
      times.push(performance.now() - begun)
      next = Math.max(next + every, Date.now())
      if (every > 0) await sleep(next - Date.now())
    }
    agent.destroy()
  }
  await Promise.all(Array.from({ length: connections }, async (_, index) => { await connect(index) }))
  return times.sort((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? NaN
}

async function answerTo (call: ClientRequest): Promise<void> {
  call.end()
  const [answer] = await once(call, 'response') as [IncomingMessage]
  answer.resume()
  await once(answer, 'end')
}

/** Runs a client in a process of its own, so that one client does not wait for another. */
async function inProcess (task: ClientTask): Promise<number> {
  const child = fork(fileURLToPath(import.meta.url), [], { env: { ...process.env, CLIENT: JSON.stringify(task) } })
  const [p99] = await once(child, 'message') as [number]
  return p99
}

/** Returns the 99th percentile of a client with good credentials that sends 50 requests per second. */
async function goodClient ({ ready: { port, good } }: Server, seconds: number): Promise<number> {
  return await inProcess({ port, headers: good, seconds, connections: 1, every: 20 })
}

async function flood ({ ready: { port, bad } }: Server, every: number): Promise<number> {
  return await inProcess({ port, headers: bad, seconds: duration, connections, every })
}

async function measure (kind: Kind): Promise<string> {
  const server = await start(kind)
  const { good, bad } = server.ready
  await load(server, { headers: [...good, ...bad], seconds: 3 })
  const most = await load(server, { headers: [...good, ...bad], seconds: 5 })
  await figuresOf(server)
  await load(server, { headers: [...good, ...bad], seconds: duration, rate: most * 0.8 })
  const { p99 } = await figuresOf(server)
  const quiet = await goodClient(server, 5)
  const waits: string[] = []
  for (const every of [1000 * connections / bearable, 0]) {
    const flooded = flood(server, every)
    await sleep(1000)
    const wait = await goodClient(server, duration - 2)
    await flooded
    waits.push(`${wait.toFixed(1)} (${(wait / quiet).toFixed(1)})`)
  }
  server.child.kill()
  return `| ${[kind, most.toFixed(0), p99.toFixed(1), quiet.toFixed(1), ...waits].join(' | ')} |`
}

if (process.env.CLIENT === undefined) {
  console.log('| application | requests/s at most | p99 of the event loop at 80 %, ms | p99 of a quiet client, ms | ' +
    `while ${connections} connections send ${bearable} bad requests/s (ratio) | as many as they can (ratio) |`)
  console.log('|---|---:|---:|---:|---:|---:|')
  for (const kind of ['bare', 'memory'] as const) console.log(await measure(kind))
} else {
  process.send?.(await runClient(JSON.parse(process.env.CLIENT) as ClientTask))
  process.disconnect()
}
