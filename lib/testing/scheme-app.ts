import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import Fastify, { type FastifyInstance } from 'fastify'
import type { GatehouseOptions } from '../../types/options.js'
import type { Outcome } from '../../types/outcome.js'
import type { Scheme, SchemeContext, SchemeFactory } from '../../types/scheme.js'
import { plugin } from '../plugin.js'
import { memoryStore } from '../stores/memory/memory.js'
import type { SentCredential } from './scheme-contract.js'

/** Returns a path with the parameters of a credential. */
export function urlOf (path: string, { query = {} }: SentCredential): string {
  return `${path}?${new URLSearchParams(query).toString()}`
}

/** Returns what a scheme gets from the plugin, for a scheme that is called without it. */
function contextOf (): SchemeContext {
  return {
    store: memoryStore(),
    shared: false,
    guesses: { attempt: async (_request, _account, check) => ({ kind: 'checked', result: await check() as never }) },
    load: null,
    grants: () => false
  }
}

function loginOf (app: FastifyInstance): () => Promise<string> {
  return async () => {
    const { headers } = await app.inject({ method: 'POST', url: '/login' })
    return String(headers['set-cookie']).replace(/;.*/s, '')
  }
}

/** The answer of a scheme. */
interface Answer {
  readonly isSync: boolean
  readonly outcome: Outcome
}

/** Creates an application whose only route calls a scheme, without the plugin. */
export async function bareScheme (definition: SchemeFactory | Scheme, name = 'it') {
  const app: FastifyInstance = Fastify()
  const made = typeof definition === 'function' ? await definition(app, name, contextOf()) : definition
  const { scheme, features } = 'scheme' in made ? made : { scheme: made, features: {} }
  const answers: Answer[] = []
  app.get('/', async request => {
    const outcome = scheme.authenticate(request)
    answers.push({ isSync: !(outcome instanceof Promise), outcome: await outcome })
    return {}
  })
  app.post('/login', async (request, reply) => {
    await features.sessions?.login(request, reply, { id: 'ann' }, {})
    return {}
  })
  const ask = async (sent: SentCredential): Promise<Answer> => {
    answers.length = 0
    const { body } = await app.inject({ url: urlOf('/', sent), headers: { ...sent.headers } })
    const [answer] = answers
    if (answer === undefined) throw new Error(`authenticate() threw: ${body}`)
    return answer
  }
  return { app, scheme, ask, login: loginOf(app) }
}

/** Creates an application with the plugin, the scheme and a route for each mode. */
export async function guardedScheme (definition: SchemeFactory | Scheme) {
  let lines = ''
  const stream = new Writable({ write (chunk, _encoding, done) { lines += String(chunk); done() } })
  const app: FastifyInstance = Fastify({ logger: { stream, level: 'info' } })
  const options = { schemes: { it: definition }, default: 'it', limits: { guesses: false } }
  await app.register(plugin, options as GatehouseOptions)
  for (const mode of ['required', 'optional', 'try'] as const) {
    app.get(`/${mode}`, { config: { auth: { mode } } }, async ({ principal, auth }) =>
      ({ id: principal?.id ?? null, error: auth.error?.code ?? null }))
  }
  if (app.gatehouse.sessions.schemes.length > 0) {
    app.post('/login', { config: { auth: { public: 'logs people in' } } }, async (_request, reply) => {
      await reply.login({ id: 'ann' })
      return {}
    })
  }
  /** Sends a credential by GET and by HEAD, whose answers must agree. */
  const ask = async (mode: string, sent: SentCredential): Promise<object> => {
    const request = { url: urlOf(`/${mode}`, sent), headers: { ...sent.headers } }
    const { statusCode: status, headers, body } = await app.inject(request)
    const head = await app.inject({ ...request, method: 'HEAD' })
    const challenge = headers['www-authenticate']
    if (head.statusCode !== status || head.headers['www-authenticate'] !== challenge) {
      throw new Error(`HEAD is answered ${head.statusCode}, and GET ${status}`)
    }
    if (status === 200) return { status, ...JSON.parse(body) as object }
    const { code } = JSON.parse(body) as { readonly code: string }
    return { status, code, challenge: String(challenge).split(' ', 1)[0]?.toLowerCase() }
  }
  return { app, ask, login: loginOf(app), log: () => lines }
}

/** Sends a GET with exactly these lines in its header, and returns the status. */
export async function sendLines (app: FastifyInstance, url: string, lines: readonly string[]): Promise<number> {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  socket.on('data', chunk => { text += String(chunk) })
  socket.write([`GET ${url} HTTP/1.1`, 'Host: gate.test', 'Connection: close', ...lines, '', ''].join('\r\n'), 'latin1')
  await once(socket, 'close')
  return Number(text.split(' ', 2)[1])
}
