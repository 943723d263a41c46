import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, {
  memoryStore,
  session,
  type GatehouseOptions,
  type Scheme,
  type SessionCredential,
  type Store
} from '../../lib/index.js'
import { sessionFeature } from '../fixtures/schemes.js'
import { secret } from '../schemes/session/bare-app.js'
import { switchableStore } from '../schemes/session/stores.js'

/** A login that was not awaited was answered with 200, without a cookie, and without a log line. */

interface Line { readonly level: number, readonly msg: string, readonly auth?: { readonly code: string } }

function slowStore (): Store {
  const { subscribe, ...store } = memoryStore()
  return {
    ...store,
    add: async entry => { await pause(10); return await store.add(entry) },
    get: async (kind, id) => { await pause(10); return await store.get(kind, id) }
  }
}

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

interface Setup {
  readonly schemes?: GatehouseOptions['schemes']
  readonly store?: Store
}

async function application (
  t: Test,
  handlers: Readonly<Record<string, Handler>>,
  { store = slowStore(), schemes = {} }: Setup = {}
) {
  const log: Line[] = []
  const logger = { stream: { write: (line: string) => { log.push(JSON.parse(line) as Line) } } }
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(websocket)
  await app.register(authPlugin, {
    schemes: { web: session({ secret: secret(), staleness: 0 }), ...schemes },
    default: 'web',
    store
  })
  app.post('/enter', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
    await reply.login({ id: 'alice' })
    return {}
  })
  app.get('/me', async ({ principal, auth }) => ({
    id: principal?.id,
    data: (auth.credential as SessionCredential).data
  }))
  for (const [url, handler] of Object.entries(handlers)) {
    app.route({ method: 'POST', url, config: { auth: { mode: 'optional' } }, handler: handler as never })
  }
  const ask = async (url: string, cookie = '', headers: Record<string, string> = {}) => {
    const answer = await app.inject({ method: url === '/me' ? 'GET' : 'POST', url, headers: { cookie, ...headers } })
    const set = [answer.headers['set-cookie'] ?? []].flat()
    return { status: answer.statusCode, body: answer.body, set, cookie: String(set[0]).split(';')[0] ?? '' }
  }
  return { app, ask, errors: () => log.filter(({ level }) => level >= 50) }
}

const login = (reply: FastifyReply, options = {}): Promise<void> => reply.login({ id: 'bob' }, options)
const update = ({ auth }: FastifyRequest): void => {
  (auth.credential as SessionCredential<{ cart: string }>).update({ cart: 'full' })
}

t.test('waits for a login without await before the response', async t => {
  const { ask, errors } = await application(t, {
    '/async': async (_request, reply) => {
      login(reply)
      return { first: 1 }
    },
    '/callback': (_request, reply) => {
      login(reply)
      reply.send({ first: 1 })
    },
    '/redirect': async (_request, reply) => {
      login(reply)
      return reply.redirect('/', 303)
    },
    '/twice': async (_request, reply) => {
      reply.login({ id: 'carol' })
      await pause(30)
      login(reply)
      return { first: 1 }
    }
  })
  const { cookie: before } = await ask('/enter')
  for (const url of ['/async', '/callback', '/redirect', '/twice']) {
    for (const carried of ['', before]) {
      const { status, set, cookie } = await ask(url, carried)
      t.equal(status, url === '/redirect' ? 303 : 200, url)
      t.equal(set.length, 1, url)
      t.match((await ask('/me', cookie)).body, '"bob"')
    }
  }
  t.equal((await ask('/me', before)).status, 401, 'the session before is over')
  t.same(errors(), [])
})

t.test('waits for a logout without await before the response', async t => {
  const { ask, errors } = await application(t, {
    '/logout': async (_request, reply) => {
      reply.logout()
      return {}
    }
  })
  const { cookie } = await ask('/enter')
  const answer = await ask('/logout', cookie)
  t.match(answer.set, [/Max-Age=0/])
  t.equal((await ask('/me', cookie)).status, 401)
  t.same(errors(), [])
})

t.test('saves changed data with the response', async t => {
  const { ask, errors } = await application(t, { '/update': (request, reply) => { update(request); reply.send({}) } })
  const { cookie } = await ask('/enter')
  const changed = await ask('/update', cookie)
  t.match((await ask('/me', changed.cookie)).body, '"full"')
  t.same(errors(), [])
})

t.test('answers with the error of a login without await', async t => {
  const { store, state } = switchableStore()
  const { ask } = await application(t, {
    '/login': async (_request, reply) => {
      login(reply)
      return { first: 1 }
    },
    '/redirect': async (_request, reply) => {
      login(reply)
      return reply.redirect('/', 303)
    },
    '/later': async (_request, reply) => {
      login(reply)
      await pause(20)
      return { first: 1 }
    },
    '/wrong': async (_request, reply) => {
      login(reply, { kep: true })
      return { first: 1 }
    },
    '/logout': async (_request, reply) => {
      reply.logout()
      return { first: 1 }
    }
  }, { store })
  const { cookie } = await ask('/enter')
  for (const url of ['/login', '/redirect', '/later']) {
    const answer = await ask(url, '', { 'sec-fetch-site': 'cross-site' })
    t.match([answer.status, answer.set, answer.body], [403, [], 'AUTH_CROSS_SITE'], url)
  }
  t.equal((await ask('/wrong')).status, 500)
  state.down.add('add').add('take')
  t.equal((await ask('/login')).status, 503)
  t.equal((await ask('/logout', cookie)).status, 503)
})

t.test('answers 500 if a login fails unexpectedly', async t => {
  const own: Scheme = {
    authenticate: () => ({ kind: 'absent' }),
    openapi: { type: 'apiKey', in: 'header', name: 'x-own' }
  }
  const sessions = sessionFeature({
    login: async () => {
      await pause(5)
      throw new Error('own')
    }
  })
  const { ask } = await application(t, {
    '/own': async (_request, reply) => {
      login(reply, { scheme: 'own' })
      reply.code(201)
      return { first: 1 }
    }
  }, { schemes: { own: () => ({ scheme: own, features: { sessions } }) } })
  t.equal((await ask('/own')).status, 500)
})

t.test('a login whose failure is handled fails no response', async t => {
  const { ask, errors } = await application(t, {
    '/caught': async (_request, reply) => {
      await login(reply).catch(() => {})
      return { first: 1 }
    },
    '/caught-later': async (_request, reply) => {
      login(reply).catch(() => {})
      return { first: 1 }
    },
    '/tried': async (_request, reply) => {
      try {
        await login(reply)
      } catch {
        return { first: 1 }
      }
    },
    '/finally': async (_request, reply) => {
      login(reply).finally(() => {}).catch(() => {})
      return { first: 1 }
    },
    '/all': async (_request, reply) => {
      const [settled] = await Promise.allSettled([login(reply)])
      return { first: settled?.status === 'rejected' ? 1 : 0 }
    }
  })
  for (const url of ['/caught', '/caught-later', '/tried', '/finally', '/all']) {
    const answer = await ask(url, '', { 'sec-fetch-site': 'cross-site' })
    t.match([answer.status, answer.body], [200, '{"first":1}'], url)
  }
  t.same(errors(), [])
})

/** The ways in which a response is sent without Fastify. */
const ways: Readonly<Record<string, (reply: FastifyReply) => void>> = {
  hijack: reply => { reply.hijack(); reply.raw.end('raw') },
  raw: reply => { reply.raw.end('raw') },
  writeHead: reply => { reply.raw.writeHead(200); setImmediate(() => reply.raw.end('raw')) }
}

const changes: Readonly<Record<string, (request: FastifyRequest, reply: FastifyReply) => unknown>> = {
  'reply.login()': async (_request, reply) => { await login(reply) },
  'reply.logout()': async (_request, reply) => { await reply.logout() },
  'credential.update()': update,
  'reply.login() that nobody awaited': (_request, reply) => { login(reply) }
}

for (const [way, leave] of Object.entries(ways)) {
  for (const [change, run] of Object.entries(changes)) {
    t.test(`logs an error if a response leaves by ${way} after ${change}`, async t => {
      const { ask, errors } = await application(t, {
        '/': async (request, reply) => {
          await run(request, reply)
          leave(reply)
        }
      })
      const { cookie } = await ask('/enter')
      const answer = await ask('/', cookie)
      t.match([answer.status, answer.body, answer.set], [200, 'raw', []])
      for (let i = 0; i < 200 && errors().length === 0; i++) await pause(10)
      t.match(errors(), [{ msg: `without the session cookie of ${change.replace(/ that.*/, '')}` }])
      await pause(20)
      t.equal(errors().length, 1, 'one line is logged')
    })
  }
}

t.test('logs an error on a change after the response was hijacked', async t => {
  const { ask, errors } = await application(t, {
    '/login': async (_request, reply) => { reply.hijack(); await login(reply); reply.raw.end('raw') },
    '/update': async (request, reply) => { reply.hijack(); update(request); update(request); reply.raw.end('raw') }
  })
  const { cookie } = await ask('/enter')
  await ask('/login', cookie)
  t.match(errors(), [{ msg: 'reply.login()' }])
  await ask('/update', (await ask('/enter')).cookie)
  t.match(errors().slice(1), [{ msg: 'credential.update()' }, { msg: 'credential.update()' }])
})

t.test('refuses a change after the response was sent, or logs an error', async t => {
  let thrown: unknown
  const { ask, errors } = await application(t, {
    '/update': (request, reply) => {
      reply.raw.writeHead(200)
      try {
        update(request)
      } catch (error) {
        thrown = error
      }
      reply.raw.end()
    },
    '/login': (_request, reply) => {
      reply.send({})
      setImmediate(() => { login(reply) })
    }
  })
  await ask('/update', (await ask('/enter')).cookie)
  t.match(thrown, { code: 'AUTH_FAULT' })
  await ask('/login')
  for (let i = 0; i < 200 && errors().length === 0; i++) await pause(10)
  t.match(errors(), [{ msg: 'reply.login()' }])
})

t.test('logs an error on a change in a WebSocket', async t => {
  const { app, ask, errors } = await application(t, {})
  app.register(async child => {
    child.get('/socket', { websocket: true }, async (socket, request) => {
      update(request)
      // close() would wait for an answer
      socket.terminate()
    })
  })
  const { cookie } = await ask('/enter')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const opening = request({
    port,
    host: '127.0.0.1',
    path: '/socket',
    headers: {
      cookie,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': randomBytes(16).toString('base64')
    }
  }).end()
  const [, socket] = await once(opening, 'upgrade') as [unknown, Socket]
  await once(socket.resume(), 'close')
  t.match(errors(), [{ msg: 'credential.update()' }])
})

t.test('logs no error if a client disconnects before its answer', async t => {
  let arrived = (): void => {}
  const reached = new Promise<void>(resolve => { arrived = resolve })
  const { app, errors } = await application(t, {
    '/': async (_request, reply) => {
      await login(reply)
      const closed = once(reply.raw, 'close')
      arrived()
      await closed
      return {}
    }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('POST / HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 0\r\n\r\n')
  await reached
  socket.destroy()
  await pause(30)
  t.same(errors(), [])
})

t.test('logs an error if data is lost because the store does not answer', async t => {
  const { store, state } = switchableStore()
  const { ask, errors } = await application(t, {
    '/update': async request => {
      update(request)
      state.down.add('get')
      return {}
    },
    '/none': async () => {
      state.down.add('get')
      return {}
    }
  }, { store })
  const { cookie } = await ask('/enter')
  await ask('/none', cookie)
  t.same(errors(), [])
  state.down.clear()
  const answer = await ask('/update', cookie)
  t.match([answer.status, answer.set], [200, []])
  t.match(errors(), [{ msg: 'what credential.update() changed is lost' }])
})

t.test('each session scheme of an application writes its own cookie', async t => {
  const { ask } = await application(t, {
    '/both': async (_request, reply) => {
      login(reply, { scheme: 'web' })
      login(reply, { scheme: 'admin' })
      return {}
    }
  }, { schemes: { admin: session({ secret: secret() }) } as never })
  t.equal((await ask('/both')).set.length, 2)
})
