import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { median } from './measure.js'
import { reportAccessTokens, reportRefreshTokens } from './tokens/access.js'
import { contestants, type Ready } from './tokens/server.js'

/**
 * Measures the cost of token requests: client credentials and refreshes, of this package on the memory store and of
 * `oidc-provider` with its own memory adapter. Each is a process of its own; a round asks one after the other. The
 * ratio is that of the CPU time, which other programs disturb less than the requests per second. Then it measures
 * repeated access tokens and the reading of refresh tokens, in this process and without the network.
 *
 * `npm run bench tokens`; `ROUNDS=5 SECONDS=4 CALLERS=16`. The goal is 1.5 times `oidc-provider`.
 */
const rounds = Number(process.env.ROUNDS ?? 5)
const seconds = Number(process.env.SECONDS ?? 3)
const callers = Number(process.env.CALLERS ?? 16)

const grants = ['client_credentials', 'refresh_token'] as const
type GrantType = typeof grants[number]

interface Answer {
  readonly access_token?: string
  readonly refresh_token?: string
}

async function ask (agent: Agent, { port, path, authorization }: Ready, body: string): Promise<Answer> {
  const call = request({
    agent,
    port,
    host: '127.0.0.1',
    method: 'POST',
    path,
    headers: {
      authorization, 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body)
    }
  })
  call.end(body)
  const [answer] = await once(call, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  if (answer.statusCode !== 200) throw new Error(`${answer.statusCode} ${text}`)
  return JSON.parse(text) as Answer
}

interface Figures {
  readonly perSecond: number
  /** Microseconds of a request. */
  readonly cpu: number
}

/** Asks for tokens of one kind with every caller for some seconds. */
async function measure (which: string, type: GrantType): Promise<Figures> {
  const child = fork(
    fileURLToPath(new URL('./tokens/server.js', import.meta.url)),
    [which, String(callers)],
    // oidc-provider prints notices about its defaults
    { env: { ...process.env, NODE_ENV: 'production' }, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] }
  )
  child.once('exit', code => { if (code !== null) throw new Error(`${which} ended with ${code}`) })
  const [ready] = await once(child, 'message') as [Ready]
  const cpuTime = async (): Promise<number> => {
    child.send('cpu')
    const [time] = await once(child, 'message') as [number]
    return time
  }
  const agent = new Agent({ keepAlive: true, maxSockets: callers })
  let answered = 0
  const run = async (token: string, until: number): Promise<string> => {
    let current = token
    while (performance.now() < until) {
      const form = new URLSearchParams({ grant_type: type, scope: 'orders:read', ...ready.more })
      if (type === 'refresh_token') form.set('refresh_token', current)
      const answer = await ask(agent, ready, form.toString())
      if (answer.access_token?.split('.').length !== 3) throw new Error('the access token is not a JWT')
      current = answer.refresh_token ?? current
      answered++
    }
    return current
  }
  const all = async (tokens: readonly string[], length: number): Promise<string[]> => {
    const until = performance.now() + length * 1000
    return await Promise.all(tokens.map(async token => await run(token, until)))
  }
  const warm = await all(ready.refreshTokens, 1)
  answered = 0
  const [start, before] = [performance.now(), await cpuTime()]
  await all(warm, seconds)
  const perSecond = answered / ((performance.now() - start) / 1000)
  const cpu = (await cpuTime() - before) / answered
  agent.destroy()
  child.kill()
  return { perSecond, cpu }
}

console.log(`Node ${process.version}, median of ${rounds} rounds of ${seconds} s, ${callers} callers\n`)
console.log('| grant | CPU µs a request | oidc-provider | requests/s | oidc-provider | ratio of CPU (min–max) |')
console.log('|---|---:|---:|---:|---:|---:|')
for (const type of grants) {
  const [own, other]: [Figures[], Figures[]] = [[], []]
  for (let round = 0; round < rounds; round++) {
    own.push(await measure(contestants[0], type))
    other.push(await measure(contestants[1], type))
  }
  const ratios = own.map(({ cpu }, i) => Number(other[i]?.cpu) / cpu)
  const figures = (['cpu', 'perSecond'] as const).flatMap(name =>
    [own, other].map(all => median(all.map(each => each[name])).toFixed(0)))
  console.log(`| ${type} | ${figures.join(' | ')} | ${median(ratios).toFixed(2)} ` +
    `(${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}) |`)
}

await reportAccessTokens(rounds)
await reportRefreshTokens(rounds)
