import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import autocannon from 'autocannon'
import { cases, type Framework } from './contestants.js'
import { median } from './measure.js'

/**
 * Measures requests per second and CPU time per request of every case, each over the bare application of its framework
 * in the same round, and the bare applications of other frameworks over that of Fastify. A round runs all cases one
 * after the other, so that a machine whose speed drifts moves both sides of a ratio; quote the median over the rounds.
 *
 * `npm run bench`; `ROUNDS=5 SECONDS=2 ONLY=jwt npm run bench`.
 */
const rounds = Number(process.env.ROUNDS ?? 3)
const duration = Number(process.env.SECONDS ?? 2)
const only = new RegExp(process.env.ONLY ?? '', 'i')

interface Ready { readonly port: number, readonly headers: readonly Record<string, string>[], readonly status: number }
interface Figures { readonly rps: number, readonly cpu: number }
interface Running { readonly label: string, readonly child: ChildProcess, readonly ready: Ready }

async function start (index: number): Promise<Running> {
  const child = fork(
    fileURLToPath(new URL('./server.js', import.meta.url)),
    [String(index)],
    { env: { ...process.env, NODE_ENV: 'production' } }
  )
  const [ready] = await once(child, 'message') as [Ready]
  return { label: `${cases[index]?.group} | ${cases[index]?.name}`, child, ready }
}

async function cpuOf (child: ChildProcess): Promise<number> {
  child.send('cpu')
  const [{ cpu }] = await once(child, 'message') as [{ cpu: number }]
  return cpu
}

async function measure ({ child, ready, label }: Running): Promise<Figures> {
  const before = await cpuOf(child)
  const result = await autocannon({
    url: `http://127.0.0.1:${ready.port}`,
    // Many different requests go over one connection, one after the other: over several, each would come several times
    // within moments.
    connections: ready.headers.length === 1 ? 8 : 1,
    pipelining: ready.headers.length === 1 ? 10 : 80,
    duration,
    requests: ready.headers.map(headers => ({ method: 'GET', path: '/', headers }))
  })
  const cpu = await cpuOf(child) - before
  const answered = result['2xx'] + result.non2xx
  const wrong = ready.status < 300 ? result.non2xx : result['2xx']
  if (wrong > 0 || result.errors > 0) {
    throw new Error(`${label}: ${wrong} answers with another status than ${ready.status}, ${result.errors} errors`)
  }
  return { rps: answered / result.duration, cpu: cpu / answered }
}

const chosen = cases.flatMap(({ group, name }, index) =>
  group === 'bare' || only.test(`${group} ${name}`) ? [index] : [])
const figures = new Map<string, { ratio: number[], hook: number[] }>()
for (let round = 0; round < rounds; round++) {
  const bases = new Map<Framework, Figures>()
  for (const index of chosen) {
    const { framework = 'Fastify', group } = cases[index] ?? {}
    const running = await start(index)
    await measure(running)
    const one = await measure(running)
    running.child.kill()
    if (group === 'bare') bases.set(framework, one)
    const base = bases.get(group === 'bare' ? 'Fastify' : framework) ?? one
    const kept = figures.get(running.label) ?? { ratio: [], hook: [] }
    kept.ratio.push(one.rps / base.rps)
    kept.hook.push(one.cpu - base.cpu)
    figures.set(running.label, kept)
  }
}

console.log(
  `\nNode ${process.version}, median of ${rounds} rounds of ${duration} s, ` +
  'each case over the bare application of its framework, in the same round\n'
)
console.log('| case | who | requests/s over bare (min–max) | CPU µs a request more than bare |')
console.log('|---|---|---:|---:|')
for (const [label, { ratio, hook }] of figures) {
  const range = `${Math.min(...ratio).toFixed(2)}–${Math.max(...ratio).toFixed(2)}`
  console.log(`| ${label} | ${median(ratio).toFixed(2)} (${range}) | ${median(hook).toFixed(1)} |`)
}
