import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import formbody from '@fastify/formbody'
import Fastify from 'fastify'
import authPlugin, { basic, session } from '../../lib/index.js'
import { hashPassword, passwords } from '../../lib/passwords/index.js'

/** The message of the server when it listens. */
export interface Ready { readonly port: number, readonly password: string }

/** A command: to begin measuring the event loop, or to end and report. */
export type Command = 'begin' | 'end'

/** The delay of the event loop, in milliseconds. */
export interface Delays { readonly p50: number, readonly p99: number, readonly most: number }

const password = 'correct horse'
const stored = await hashPassword(password)
const people = passwords()
const users = new Map(
  Array.from(
    { length: Number(process.argv[2]) }, (_, i) => [`user-${i}`, { hash: stored, principal: { id: `user-${i}` } }]
  )
)

// the callers say which address they come from, as a proxy would
const app = Fastify({ trustProxy: '127.0.0.1' })
await app.register(formbody)
await app.register(authPlugin, {
  schemes: {
    web: session({ secret: randomBytes(32).toString('base64url') }),
    ops: basic({ find: name => users.get(name) ?? null })
  },
  default: 'web',
  publicPaths: ['/login']
})
app.post<{ Body: { username: string, password: string } }>('/login', async (request, reply) => {
  const { username, password } = request.body
  const user = users.get(username)
  const person = await app.gatehouse.guesses.attempt(
    reply, username, async () => (await people.verify(password, user?.hash)).valid ? user?.principal ?? null : null
  )
  if (person === null) return reply.code(401).send({ error: 'Wrong name or password' })
  await reply.login(person)
  return reply.redirect('/', 303)
})
app.get('/ops', { config: { auth: 'ops' } }, async () => 'in')
await app.listen({ port: 0, host: '127.0.0.1' })

const delay = monitorEventLoopDelay({ resolution: 1 })
process.on('message', (command: Command) => {
  if (command === 'begin') delay.reset()
  delay[command === 'begin' ? 'enable' : 'disable']()
  process.send?.(
    { p50: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6, most: delay.max / 1e6 } satisfies Delays
  )
})
process.send?.({ port: (app.server.address() as AddressInfo).port, password } satisfies Ready)
