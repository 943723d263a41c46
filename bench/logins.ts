import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import type { Delays, Command, Ready } from './logins/server.js'

/**
 * Measures many concurrent logins over sockets, each of another account from another address: the delay of the event
 * loop of the server, the number of logins that are answered, and the longest wait. The server is a process of its own;
 * the callers are in this one. `npm run bench logins`; `RUNS=3 LOGINS=200,400`. The goal is a p99 below 50 ms at 200.
 */
const runs = Number(process.env.RUNS ?? 3)
const sizes = (process.env.LOGINS ?? '200,400').split(',').map(Number)

const server = fork(
  fileURLToPath(new URL('./logins/server.js', import.meta.url)),
  [String(Math.max(...sizes))],
  { env: { ...process.env, NODE_ENV: 'production' } }
)
const [{ port, password }] = await once(server, 'message') as [Ready]
// a separate connection for each, as people have
const agent = new Agent({ keepAlive: false, maxSockets: Infinity })

const form = 'application/x-www-form-urlencoded'
const ways: Readonly<Record<string, (user: string) => {
  readonly method: string, readonly path: string, readonly headers: Record<string, string>, readonly body: string
}>> = {
  form: user => ({
    method: 'POST',
    path: '/login',
    headers: { 'content-type': form },
    body: new URLSearchParams({ username: user, password }).toString()
  }),
  basic: user => ({
    method: 'GET',
    path: '/ops',
    headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` },
    body: ''
  })
}

async function send (way: string, i: number): Promise<{ readonly status: number, readonly took: number }> {
  const { method, path, headers, body } = (ways[way] as (typeof ways)[string])(`user-${i}`)
  const start = performance.now()
  const call = request({
    agent,
    port,
    host: '127.0.0.1',
    method,
    path,
    headers: { ...headers, 'x-forwarded-for': `10.0.${i >> 8}.${i & 255}` }
  })
  call.end(body)
  const [answer] = await once(call, 'response')
  answer.resume()
  await once(answer, 'end')
  return { status: answer.statusCode, took: performance.now() - start }
}

async function sendCommand (command: Command): Promise<Delays> {
  server.send(command)
  const [answered] = await once(server, 'message') as [Delays]
  return answered
}

console.log(`Node ${process.version}\n`)
console.log(
  '| logins at once | answered | in, ms | the last refusal after, ms | event-loop delay p50, ms | p99 | most |'
)
console.log('|---|---|---:|---:|---:|---:|---:|')
for (const size of sizes) {
  for (const way of Object.keys(ways)) {
    for (let run = 0; run < runs; run++) {
      await sendCommand('begin')
      const answers = await Promise.all(Array.from({ length: size }, (_, i) => send(way, i)))
      const { p50, p99, most } = await sendCommand('end')
      const statuses = [...new Set(answers.map(({ status }) => status))].sort().map(
        status => `${status} ×${answers.filter(answer => answer.status === status).length}`
      )
      const last = (all: typeof answers): string => all.length === 0
        ? '–'
        : Math.max(...all.map(({ took }) => took)).toFixed(0)
      const refused = answers.filter(({ status }) => status > 400)
      console.log(
        `| ${size}, ${way} | ${statuses.join(', ')} | ${last(answers)} | ${last(refused)} ` +
        `| ${p50.toFixed(1)} | ${p99.toFixed(1)} | ${most.toFixed(1)} |`
      )
    }
  }
}
agent.destroy()
server.kill()
