import cluster, { type Worker } from 'node:cluster'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import type { Figures, Kind, Ready } from './load/server.js'

/**
 * Measures one and two processes behind one port that share a store: requests per second, and the CPU time per request
 * of the application and of the store, with sessions, managed keys, tokens and refused credentials in turn. The time of
 * the store is read from `/proc`, so the server must be on this machine; it includes whatever else it does.
 *
 * `npm run bench instances`; `SECONDS=10`. Finds the stores by `REDIS_URL` and `DATABASE_URL`.
 */
const duration = Number(process.env.SECONDS ?? 10)
/** The milliseconds of a tick in `/proc/<pid>/stat`. */
const tick = 10
const programs = { bare: null, memory: null, redis: 'redis-server', postgres: 'postgres' } as const

/** Returns the milliseconds of CPU that the processes of a program have used. */
function cpuOf (program: string | null): number {
  if (program === null) return 0
  const ids = readdirSync('/proc').filter(name => /^\d+$/.test(name))
  return ids.map(id => ticksOf(id, program)).reduce((sum, ticks) => sum + ticks, 0) * tick
}

function ticksOf (id: string, program: string): number {
  try {
    const [, name, rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${id}/stat`, 'utf8')) ?? []
    const fields = rest.split(' ')
    // the user and system time of the process, and of its children that have ended (proc(5))
    return name === program ? [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0) : 0
  } catch {
    return 0
  }
}

/** Returns a free port, which the workers share by its number. */
async function freePort (): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  return port
}

async function measure (kind: Kind, count: number): Promise<string> {
  cluster.setupPrimary({ exec: fileURLToPath(new URL('./load/server.js', import.meta.url)), args: [kind] })
  const secret = randomBytes(32).toString('base64url')
  const env = { NODE_ENV: 'production', BENCH_SECRET: secret, BENCH_PORT: String(await freePort()) }
  const workers: Worker[] = []
  let ready: Ready | undefined
  for (let i = 0; i < count; i++) {
    const worker = cluster.fork(env)
    const [made] = await once(worker, 'message') as [Ready]
    ready ??= made
    workers.push(worker)
  }
  const { port, good, bad } = ready as Ready
  const send = async (seconds: number) => await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections: 20,
    duration: seconds,
    requests: [...good, ...bad].map(headers => ({ method: 'GET', path: '/', headers }))
  })
  const figures = async () => await Promise.all(workers.map(async worker => {
    worker.send('figures')
    return (await once(worker, 'message') as [Figures])[0]
  }))
  await send(2)
  await figures()
  const before = cpuOf(programs[kind])
  const result = await send(duration)
  const answered = result['2xx'] + result.non2xx
  const ofStore = (cpuOf(programs[kind]) - before) / answered * 1000
  const ofApp = (await figures()).reduce((sum, { cpu }) => sum + cpu, 0) / answered * 1000
  for (const worker of workers) worker.kill()
  await Promise.all(workers.map(async worker => worker.isDead() || await once(worker, 'exit')))
  const rate = answered / result.duration
  return `| ${[kind, count, rate.toFixed(0), ofApp.toFixed(1), ofStore.toFixed(2)].join(' | ')} |`
}

console.log('| store | processes | requests/s | CPU of the application, µs a request | of the store, µs a request |')
console.log('|---|---:|---:|---:|---:|')
for (const kind of ['bare', 'memory', 'redis', 'postgres'] as const) {
  // without a shared store, a second process would not know the sessions and keys of the first
  for (const count of kind === 'memory' ? [1] : [1, 2]) console.log(await measure(kind, count))
}
