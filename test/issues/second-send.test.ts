import { EventEmitter, once } from 'node:events'
import { createReadStream } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply, type RouteHandlerMethod } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, {
  memoryStore,
  session,
  type GatehouseOptions,
  type Scheme,
  type SessionCredential,
  type Store
} from '../../lib/index.js'
import { secret } from '../schemes/session/bare-app.js'

/**
 * A response that is sent twice while the first one waits for the store to check the session of its cookie. Without the
 * plugin, Fastify survives each of these: the first response counts. An exception outside of a request fails the whole
 * file.
 */

const older = secret()
const newer = secret()

/** Creates a store whose `get` is slow, and which emits an event when it is called. */
function slowStore () {
  const store = memoryStore()
  const calls = new EventEmitter()
  const slow: Store = {
    ...store,
    get: async (kind, id) => {
      calls.emit('get')
      await pause(20)
      return await store.get(kind, id)
    }
  }
  delete (slow as { subscribe?: unknown }).subscribe
  return { slow, calls }
}

interface Line { readonly level: number, readonly msg: string, readonly err?: { readonly message: string } }

/**
 * Creates an application in which every response sets a new cookie, because the old one was sealed with the older of
 * two secrets.
 */
async function application (
  t: Test,
  options: Partial<GatehouseOptions> & { readonly schemes?: Record<string, Scheme> } = {},
  server: object = {}
) {
  const { slow, calls } = slowStore()
  const log: Line[] = []
  const build = async (secrets: string[], more: Partial<GatehouseOptions> = {}) => {
    const app = Fastify({
      logger: {
        stream: {
          write: (line: string) => {
            log.push(JSON.parse(line) as Line)
          }
        }
      },
      ...server
    }) as unknown as FastifyInstance
    t.teardown(() => app.close())
    const web = session({ secret: secrets, staleness: 0, load: principal => principal })
    await app.register(authPlugin, { store: slow, default: 'web', ...more, schemes: { web, ...more.schemes } })
    app.post('/login', { config: { auth: { public: 'for tests' } } }, async (_request, reply) => {
      await reply.login({ id: 'alice' })
      return {}
    })
    return app
  }
  const before = await build([older])
  const app = await build([newer, older], options)
  const answer = await before.inject({ method: 'POST', url: '/login' })
  const cookie = String(answer.headers['set-cookie']).split(';')[0] ?? ''
  return { app, cookie, calls, log }
}

async function listen (app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

interface Answer { readonly status: number, readonly text: string, readonly setsCookie: boolean }

/** Sends one request. A response that was cut off has the status 0. */
async function ask (port: number, cookie: string, leaving?: AbortSignal): Promise<Answer> {
  return await new Promise(resolve => {
    const sent = httpRequest(
      {
        port,
        host: '127.0.0.1',
        path: '/',
        headers: { cookie },
        ...(leaving === undefined ? {} : { signal: leaving })
      },
      response => {
        let text = ''
        response.setEncoding('utf8').on('data', chunk => {
          text += String(chunk)
        })
        response.on('close', () => {
          resolve({
            status: response.statusCode ?? 0,
            text,
            setsCookie: response.headers['set-cookie'] !== undefined
          })
        })
      }
    )
    sent.on('error', () => {
      resolve({ status: 0, text: '', setsCookie: false })
    })
    sent.end()
  })
}

async function askHttp2 (port: number, cookie: string, leaving?: AbortSignal): Promise<Answer> {
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  client.on('error', () => {})
  const stream = client.request({ ':path': '/', cookie }, leaving === undefined ? {} : { signal: leaving })
  let [status, text, setsCookie] = [0, '', false]
  stream.on('response', headers => {
    status = headers[':status'] ?? 0
    setsCookie = headers['set-cookie'] !== undefined
  })
  stream.setEncoding('utf8').on('data', chunk => { text += String(chunk) })
  stream.on('error', () => {})
  stream.end()
  // not once(), which rejects with an error of the stream
  await new Promise(resolve => { stream.on('close', resolve) })
  client.destroy()
  return { status, text, setsCookie }
}

type Handler = RouteHandlerMethod

const first = { status: 200, text: '{"first":1}', setsCookie: true }
const send = (reply: FastifyReply, payload: unknown = { first: 1 }): void => { reply.send(payload) }

const handlers: Record<string, readonly [handler: Handler, answer: Partial<Answer>]> = {
  'an async handler that sends and throws': [
    async (_request, reply) => {
      send(reply)
      throw new Error('second')
    },
    first
  ],
  'a handler that sends and throws': [
    (_request, reply) => {
      send(reply)
      throw new Error('second')
    },
    first
  ],
  'a handler that sends twice': [
    (_request, reply) => {
      send(reply)
      send(reply, { second: 1 })
    },
    first
  ],
  'a handler that sends twice, with another status': [
    (_request, reply) => {
      send(reply)
      reply.code(500).send({ second: 1 })
    },
    first
  ],
  'a handler that sends again later': [
    (_request, reply) => {
      send(reply)
      setImmediate(() => {
        send(reply, { second: 1 })
      })
    },
    first
  ],
  'an async handler that sends and returns a value': [
    async (_request, reply) => {
      send(reply)
      return { second: 1 }
    },
    first
  ],
  'an async handler that sends and returns nothing': [
    async (_request, reply) => {
      send(reply)
    },
    first
  ],
  'an async handler that sends and returns the reply': [
    async (_request, reply) => {
      send(reply)
      return reply
    },
    first
  ],
  'a handler that sends a stream and throws': [
    (_request, reply) => {
      send(reply, Readable.from(['a', 'b']))
      throw new Error('second')
    },
    { status: 200, text: 'ab', setsCookie: true }
  ],
  'a handler that redirects and returns a value': [
    async (_request, reply) => {
      reply.redirect('/elsewhere')
      return 'second'
    },
    { status: 302, text: '', setsCookie: true }
  ],
  'a handler that sends and answers by itself': [
    (_request, reply) => {
      send(reply)
      reply.hijack()
      reply.raw.end('raw')
    },
    { status: 200, text: 'raw' }
  ],
  'a handler that begins an answer by itself and sends': [
    (_request, reply) => {
      reply.raw.writeHead(200).write('raw')
      send(reply)
    },
    {}
  ],
  'a handler that sends what cannot be sent': [
    (_request, reply) => {
      reply.type('text/html')
      send(reply)
    },
    { status: 500 }
  ],
  'a handler that sends a header that cannot be sent': [
    (_request, reply) => {
      reply.header('x-bad', 'a\nb')
      send(reply)
    },
    {}
  ],
  'a handler that sends a file that is not there': [
    (_request, reply) => {
      send(reply, createReadStream('/nonexistent/file'))
    },
    { status: 500, setsCookie: true }
  ],
  'a handler that refuses and throws': [
    (_request, reply) => {
      reply.forbid()
      throw new Error('second')
    },
    { status: 403, setsCookie: true }
  ]
}

for (const [protocol, server, request] of [['HTTP/1.1', {}, ask], ['HTTP/2', { http2: true }, askHttp2]] as const) {
  t.test(`survives every response that is sent twice, over ${protocol}`, async t => {
    for (const [title, [handler, answer]] of Object.entries(handlers)) {
      const { app, cookie } = await application(t, {}, server)
      app.get('/', handler)
      const port = await listen(app)
      t.match(await request(port, cookie), answer, title)
      t.equal((await request(port, '')).status, 401, `${title}: the next request is answered`)
    }
  })

  t.test(`survives clients that disconnect while a response waits, over ${protocol}`, async t => {
    for (const handler of [
      handlers['an async handler that sends and returns nothing'],
      handlers['a handler that sends and throws'],
      handlers['a handler that sends a stream and throws']
    ]) {
      const { app, cookie, calls } = await application(t, {}, server)
      app.get('/', handler?.[0] ?? (() => {}))
      const port = await listen(app)
      const leaving = new AbortController()
      const answer = request(port, cookie, leaving.signal)
      await once(calls, 'get')
      await once(calls, 'get')
      leaving.abort()
      await answer
      await pause(40)
      t.equal((await request(port, '')).status, 401)
    }
  })
}

t.test('logs that a second response was ignored, and what was thrown', async t => {
  const { app, cookie, log } = await application(t)
  app.get('/', async (_request, reply) => {
    send(reply, { first: 1 })
    throw new Error('second')
  })
  app.get('/twice', (_request, reply) => {
    send(reply)
    send(reply, { second: 1 })
  })
  await app.inject({ url: '/', headers: { cookie } })
  await app.inject({ url: '/twice', headers: { cookie } })
  const ignored = log.filter(({ msg }) => msg.includes('a second response was ignored'))
  t.match(ignored, [{ level: 50, err: { message: 'second' } }, { level: 40 }])
})

t.test('an error handler and a hook still answer if they fail after a response was held', async t => {
  const { app, cookie } = await application(t)
  app.setErrorHandler((_error, _request, reply) => { reply.code(500).send({ handled: 1 }) })
  app.addHook('onSend', async (_request, reply) => { if (reply.statusCode === 200) throw new Error('a later hook') })
  app.get('/', async () => ({ first: 1 }))
  const answer = await app.inject({ url: '/', headers: { cookie } })
  t.equal(answer.statusCode, 500)
  t.same(answer.json(), { handled: 1 })
  t.ok(answer.headers['set-cookie'])
})

t.test('sends a response once if another hook continues twice', async t => {
  const { app, cookie } = await application(t)
  app.get(
    '/',
    {
      preSerialization: async (_request, _reply, payload) => {
        await pause(5)
        return payload
      }
    },
    (_request, reply) => {
      send(reply)
      reply.send(new Error('second'))
    }
  )
  const answer = await app.inject({ url: '/', headers: { cookie } })
  t.equal(answer.statusCode, 500)
  t.ok(answer.headers['set-cookie'])
})

t.test('restores a send method that the application set on a reply after a response was held', async t => {
  const { app, cookie } = await application(t)
  const payloads: unknown[] = []
  let kept: unknown = null
  app.addHook('onRequest', async (_request, reply) => {
    const send = reply.send
    reply.send = function (payload) {
      payloads.push(payload)
      return send.call(this, payload)
    }
    kept = reply.send
  })
  let after: unknown = null
  app.addHook('onResponse', async (_request, reply) => { after = reply.send })
  app.get('/', async () => ({ first: 1 }))
  await app.inject({ url: '/', headers: { cookie } })
  t.same(payloads, [{ first: 1 }])
  t.equal(after, kept)
})

type Writer = (reply: FastifyReply) => unknown

const writers: Record<string, readonly [writer: Writer, answer: unknown]> = {
  'sends and returns nothing': [reply => { send(reply) }, { first: 1 }],
  'sends and returns the reply': [reply => reply.send({ first: 1 }), { first: 1 }],
  'sends and returns a value': [reply => { send(reply); return { second: 1 } }, { first: 1 }],
  'sends twice': [reply => { send(reply); send(reply, { second: 1 }) }, { first: 1 }],
  'sends and throws': [reply => { send(reply); throw new Error('second') }, { first: 1 }],
  'sends later, and returns the reply': [reply => { setImmediate(() => { send(reply) }); return reply }, { first: 1 }],
  'is async and sends': [async reply => { send(reply) }, { first: 1 }],
  'is async, sends and throws': [async reply => { send(reply); throw new Error('second') }, { first: 1 }],
  'is async, sends and returns a value': [async reply => { send(reply); return { second: 1 } }, { first: 1 }],
  'redirects and throws': [reply => { reply.redirect('/elsewhere', 403); throw new Error('second') }, null],
  'returns a value': [() => ({ first: 1 }), { first: 1 }],
  throws: [() => { throw new Error('second') }, { code: 'AUTH_ACCESS_DENIED' }],
  'is async and throws': [async () => { throw new Error('second') }, { code: 'AUTH_ACCESS_DENIED' }]
}

t.test('an errors function answers once, however it sends', async t => {
  for (const [title, [writer, answer]] of Object.entries(writers)) {
    for (const isSlow of [false, true]) {
      const { app, cookie } = await application(t, { errors: (_error, _request, reply) => writer(reply) })
      // an asynchronous hook of the application
      if (isSlow) app.addHook('onSend', async (_request, _reply, payload) => { await pause(5); return payload })
      app.get('/', { config: { auth: { roles: 'nobody' } } }, async () => 'reached')
      const port = await listen(app)
      const { status, text, setsCookie } = await ask(port, cookie)
      t.same({ status, setsCookie }, { status: 403, setsCookie: true }, title)
      if (answer === null) t.equal(text, '', title)
      else t.match(JSON.parse(text), answer as object, title)
      t.equal(
        (await ask(port, '')).status,
        title.startsWith('redirects') ? 403 : 401,
        `${title}: the next request is answered`
      )
    }
  }
})

t.test('a scheme that answers a refusal itself answers once, whatever it returns', async t => {
  for (const refuse of [() => undefined, () => false, () => true, () => { throw new Error('second') }]) {
    const own: Scheme = {
      authenticate: () => ({ kind: 'absent' }),
      openapi: { type: 'apiKey', in: 'header', name: 'x-own' },
      refuse: (_request, reply) => {
        reply.code(401).send({ first: 1 })
        return refuse() as boolean
      }
    }
    const { app } = await application(t, { schemes: { own }, default: 'own' } as never)
    app.addHook('onSend', async (_request, _reply, payload) => { await pause(5); return payload })
    app.get('/', async () => 'reached')
    const port = await listen(app)
    t.match(await ask(port, ''), { status: 401, text: '{"first":1}' })
    t.equal((await ask(port, '')).status, 401)
  }
})

t.test('saves changed data with a response even if the store answers late', async t => {
  const { app, cookie } = await application(t)
  app.get('/', async request => {
    const credential = request.auth.credential as SessionCredential<{ seen: number }>
    credential.update({ seen: 1 })
    return {}
  })
  const answer = await app.inject({ url: '/', headers: { cookie } })
  t.equal(answer.statusCode, 200)
  t.ok(answer.headers['set-cookie'])
})
