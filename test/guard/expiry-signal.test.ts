import { EventEmitter, once } from 'node:events'
import http, { ServerResponse, type IncomingMessage } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { expirySignal } from '../../lib/guard/request-auth.js'
import gatehouse, { authenticated, type Scheme, type Store } from '../../lib/index.js'
import { memoryStore } from '../../lib/stores/memory/index.js'
import type { Authenticated } from '../../types/outcome.js'
import { alice, createInstance } from '../schemes/session/app.js'
import { secret } from '../schemes/session/bare-app.js'
import { withoutSubscribe } from '../schemes/session/stores.js'

const noLog = { error: () => {} }

/** An open stream. `ended` resolves with the text at its end, which depends on the code of the error. */
interface Stream { readonly ended: Promise<string>, leave (): void }

type Kind = 'WebSocket' | 'event stream'

/** Adds routes that keep a connection open until the signal aborts. */
async function streams (app: FastifyInstance): Promise<void> {
  await app.register(websocket)
  const routes = async (app: FastifyInstance) => {
    app.get('/socket', { websocket: true }, (socket, { auth }) => {
      auth.signal?.addEventListener('abort', () => {
        socket.close(4401, (auth.signal?.reason as { code: string }).code)
      })
    })
    app.get('/events', (request, reply) => {
      reply.hijack()
      reply.raw.writeHead(200, { 'content-type': 'text/event-stream' })
      reply.raw.write(': welcome\n\n')
      const { signal } = request.auth
      signal?.addEventListener('abort', () => {
        reply.raw.end(`event: end\ndata: ${(signal.reason as { code: string }).code}\n\n`)
      })
    })
  }
  await app.register(routes)
}

/** Opens a stream over a real socket. */
async function open (kind: Kind, app: FastifyInstance, headers: Record<string, string>): Promise<Stream> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return kind === 'WebSocket' ? await openSocket(port, headers) : await openEvents(port, headers)
}

async function openSocket (port: number, headers: Record<string, string>): Promise<Stream> {
  const upgrade = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ=='
  }
  const request = http.request({ port, path: '/socket', headers: { ...headers, ...upgrade } }).end()
  const [, socket] = await once(request, 'upgrade') as [IncomingMessage, Socket]
  return {
    ended: (async () => {
      const [frame] = await once(socket, 'data') as [Buffer]
      socket.destroy()
      // a close frame (RFC 6455, 5.5.1): two bytes of a header, two of a status, and the reason
      return frame[0] === 0x88 && frame.readUInt16BE(2) === 4401
        ? frame.subarray(4).toString()
        : `frame ${frame.toString('hex')}`
    })(),
    leave: () => { socket.destroy() }
  }
}

async function openEvents (port: number, headers: Record<string, string>): Promise<Stream> {
  const request = http.request({ port, path: '/events', headers }).end()
  const [response] = await once(request, 'response') as [IncomingMessage]
  let text = ''
  response.setEncoding('utf8').on('data', chunk => { text += chunk })
  response.on('error', () => {})
  await once(response, 'data')
  return {
    ended: (async () => {
      await once(response, 'end')
      return /data: (\w+)/.exec(text)?.[1] ?? text
    })(),
    leave: () => { request.destroy() }
  }
}

async function deskOf (options: Parameters<typeof createInstance>[0] = {}) {
  const desk = await createInstance({ ...options, after: streams })
  t.teardown(() => desk.app.close())
  return desk
}

t.test('ends a WebSocket that was injected, which has no connection', async t => {
  const scheme: Scheme = {
    openapi: { type: 'http', scheme: 'bearer' },
    authenticate: () =>
      authenticated({ id: 'ann' }, { credential: null, expiresAt: new Date(Date.now() + 200) }) as never
  }
  const app = Fastify()
  await app.register(gatehouse, { schemes: { user: scheme } })
  await streams(app)
  t.teardown(() => app.close())
  await app.ready()
  // keeps the process alive: the timer of the signal does not, and there is no connection
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => { clearInterval(alive) })
  let closed: Promise<unknown> | undefined
  // on a busy machine the socket may be closed before injectWS returns
  await app.injectWS('/socket', {}, { onInit: socket => { closed = once(socket, 'close') } })
  t.match(await closed, [4401])
})

t.test('stops watching when the connection of an upgrade closes, whose response never does', async t => {
  let watched = 0
  const scheme: Scheme = {
    openapi: { type: 'http', scheme: 'bearer' },
    authenticate: () => authenticated({ id: 'ann' }, { onRevoked: () => { watched++; return () => { watched-- } } })
  }
  const app = Fastify()
  await app.register(gatehouse, { schemes: { user: scheme } })
  app.get('/', (request, reply) => {
    reply.hijack()
    t.equal(request.auth.signal?.aborted, false)
    const { socket } = request.raw
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n')
  })
  // unlike @fastify/websocket, this does not connect the response with the socket
  app.server.on('upgrade', request => { app.routing(request, new ServerResponse(request)) })
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const connected = once(app.server, 'connection') as Promise<[Socket]>
  const opening = http.request({ host: '127.0.0.1', port, headers: { connection: 'upgrade', upgrade: 'test' } }).end()
  const [, socket] = await once(opening, 'upgrade') as [IncomingMessage, Socket]
  t.equal(watched, 1)
  const [connection] = await connected
  socket.destroy()
  await once(connection.destroy(), 'close')
  t.equal(watched, 0)
})

for (const kind of ['WebSocket', 'event stream'] as const) {
  for (const [where, store] of [
    ['with a store', memoryStore()],
    ['without a store', null]
  ] as const) {
    t.test(
      `ends a ${kind} with its session, ${where}, after any kind of logout, and no other connection`,
      async t => {
        const { app, ask, enter, sessions } = await deskOf(store === null ? {} : { store })
        const [one, two, three, four, bob] = [
          await enter(),
          await enter(),
          await enter(),
          await enter(),
          await enter({ id: 'bob' })
        ]
        const [first, second, third, fourth, other] = await Promise.all(
          [one, two, three, four, bob].map(async ({ cookie }) => await open(kind, app, { cookie }))
        )
        const also = await open(kind, app, { cookie: one.cookie })
        let left = false
        for (const each of [fourth, other]) {
          each?.ended.then(
            () => {
              left = true
            },
            () => {}
          )
        }
        await ask('/logout', { cookie: one.cookie })
        t.equal(await first?.ended, 'AUTH_INVALID_CREDENTIALS')
        t.equal(await also.ended, 'AUTH_INVALID_CREDENTIALS', 'both streams of one session')
        await sessions.of(alice).revoke(two.id)
        t.equal(await second?.ended, 'AUTH_INVALID_CREDENTIALS')
        await sessions.of(alice).revokeAll({ except: four.id })
        t.equal(await third?.ended, 'AUTH_INVALID_CREDENTIALS')
        await new Promise(resolve => setTimeout(resolve, 20))
        t.equal(left, false, 'the streams of the spared session and of another person go on')
        fourth?.leave()
        other?.leave()
      }
    )
  }

  t.test(
    `ends a ${kind} on the other instance: at once if the store notifies, otherwise at the next check`,
    async t => {
      const store = memoryStore()
      for (const shared of [store, withoutSubscribe(store)] satisfies Store[]) {
        const key = secret()
        const [here, there] = [
          await deskOf({ store: shared, session: { secret: key, staleness: 0 } }),
          await deskOf({ store: shared, session: { secret: key, staleness: 0 } })
        ]
        const { cookie } = await here.enter()
        const stream = await open(kind, there.app, { cookie })
        await here.ask('/logout', { cookie })
        t.equal(await stream.ended, 'AUTH_INVALID_CREDENTIALS')
      }
    }
  )

  t.test(`ends a ${kind} when its session expires`, async t => {
    const { app, enter } = await deskOf({ session: { idleTimeout: 1, absoluteTimeout: 1 } })
    const { cookie } = await enter()
    const stream = await open(kind, app, { cookie })
    t.equal(await stream.ended, 'AUTH_TOKEN_EXPIRED')
  })

  t.test(`releases everything of a ${kind} when its client disconnects`, async t => {
    const watched = { now: 0, ever: 0 }
    const scheme: Scheme = {
      openapi: { type: 'http', scheme: 'test' },
      authenticate: () => authenticated({ id: 'a' }, {
        expiresAt: new Date(Date.now() + 86_400_000 * 3),
        onRevoked: () => {
          watched.now++
          watched.ever++
          return () => { watched.now-- }
        }
      })
    }
    const timers = watchTimers(t, 86_400_000)
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, { schemes: { test: scheme } })
    await streams(app)
    const open4 = await Promise.all([0, 1, 2, 3].map(async () => await open(kind, app, {})))
    t.same([watched, timers.size], [{ now: 4, ever: 4 }, 4])
    for (const each of open4) {
      each.ended.catch(() => {})
      each.leave()
    }
    for (let tries = 0; tries < 100 && watched.now > 0; tries++) await new Promise(resolve => setTimeout(resolve, 5))
    t.same([watched.now, timers.size], [0, 0])
  })
}

/** Records the running timers of at least this many milliseconds. */
function watchTimers (t: { teardown (fn: () => void): void }, least: number): ReadonlySet<NodeJS.Timeout> {
  const { setTimeout: set, clearTimeout: clear } = globalThis
  const running = new Set<NodeJS.Timeout>()
  globalThis.setTimeout = ((run: () => void, wait: number) => {
    const timer = set(run, wait)
    if (wait >= least) running.add(timer)
    return timer
  }) as typeof setTimeout
  globalThis.clearTimeout = (timer => {
    running.delete(timer as NodeJS.Timeout)
    clear(timer)
  }) as typeof clearTimeout
  t.teardown(() => { Object.assign(globalThis, { setTimeout: set, clearTimeout: clear }) })
  return running
}

const identity = (outcome: Partial<Authenticated>) => ({
  bound: {
    name: 'test',
    ambient: false,
    load: null,
    features: {},
    scheme: { openapi: { type: 'http', scheme: 'x' }, authenticate: () => authenticated({ id: 'a' }) }
  } as const,
  outcome: authenticated({ realm: 'test', id: 'a', scopes: [], roles: [] }, outcome)
})

t.test('ends at once for a session that ended after its request was authenticated', async t => {
  const { app, ask, enter } = await createInstance({
    after: async app => {
      app.get('/late', async ({ auth }) => {
        await app.gatehouse.sessions.of(alice).revokeAll()
        const { signal } = auth
        await new Promise(resolve => { setImmediate(resolve) })
        return { aborted: signal?.aborted, code: (signal?.reason as { code?: string } | undefined)?.code }
      })
    }
  })
  t.teardown(() => app.close())
  const { cookie } = await enter()
  const { body } = await ask('/late', { method: 'GET', cookie })
  t.same(body, { aborted: true, code: 'AUTH_INVALID_CREDENTIALS' })
})

t.test('does not end early for an expiry beyond the longest timer', t => {
  const { setTimeout: set, now } = { setTimeout: globalThis.setTimeout, now: Date.now }
  const waits: { readonly run: () => void; readonly wait: number }[] = []
  Object.assign(globalThis, {
    setTimeout: (run: () => void, wait: number) => {
      waits.push({ run, wait })
      return set(() => {}, 0)
    }
  })
  t.teardown(() => {
    Object.assign(globalThis, { setTimeout: set })
    Date.now = now
  })
  const end = now() + 30 * 86_400_000
  const carrier = new EventEmitter()
  const signal = expirySignal([identity({ expiresAt: new Date(end) })], carrier, noLog)
  t.equal(waits[0]?.wait, 2 ** 31 - 1)
  Date.now = () => end - 1_000
  waits[0]?.run()
  t.equal(signal.aborted, false)
  t.equal(waits[1]?.wait, 1_000)
  Date.now = () => end
  waits[1]?.run()
  t.equal(signal.aborted, true)
  t.match(signal.reason, { code: 'AUTH_TOKEN_EXPIRED', statusCode: 401 })
  t.equal(carrier.listenerCount('close'), 0)
  t.end()
})

t.test('ends once, at the earliest expiry of several credentials, and stops watching the others', t => {
  let revoke = (): void => {}
  const stopped: string[] = []
  const carrier = new EventEmitter()
  const signal = expirySignal([
    identity({ onRevoked: revoked => { revoke = revoked; return () => { stopped.push('first') } } }),
    identity({ onRevoked: () => () => { stopped.push('second') } }),
    identity({})
  ], carrier, noLog)
  revoke()
  revoke()
  t.equal(signal.aborted, true)
  t.match(signal.reason, { code: 'AUTH_INVALID_CREDENTIALS' })
  t.same(stopped, ['first', 'second'])
  t.equal(carrier.listenerCount('close'), 0)
  t.end()
})

t.test('ends at once if a scheme reports revocation synchronously, and releases everything', t => {
  let stopped = 0
  const carrier = new EventEmitter()
  const watched = identity({ onRevoked: revoked => { revoked(); return () => { stopped++ } } })
  const signal = expirySignal([watched], carrier, noLog)
  t.equal(signal.aborted, true)
  t.equal(stopped, 1)
  t.end()
})

t.test('does not watch a closed connection', t => {
  for (const end of [
    { closed: true },
    { destroyed: true },
    { stream: { closed: true } },
    { stream: { destroyed: true } }
  ]) {
    const carrier = Object.assign(new EventEmitter(), end)
    const signal = expirySignal(
      [
        identity({
          expiresAt: new Date(0),
          onRevoked: () => {
            throw new Error('watched')
          }
        })
      ],
      carrier,
      noLog
    )
    t.equal(signal.aborted, false)
    t.equal(carrier.listenerCount('close'), 0)
  }
  t.end()
})

t.test('logs what the end of a watch throws when the connection closes, which would end the process', async t => {
  const lines: unknown[] = []
  const log = { error: (line: unknown, text?: unknown) => { lines.push([line, text]) } }
  const carrier = new EventEmitter()
  let left = 0
  expirySignal([
    identity({ onRevoked: () => () => { throw new Error('not connected') } }),
    identity({ onRevoked: () => async () => { throw new Error('not connected') } }),
    identity({ onRevoked: () => () => { left++ } })
  ], carrier, log)
  carrier.emit('close')
  await new Promise(resolve => { setImmediate(resolve) })
  t.equal(left, 1, 'the others end all the same')
  const line = [
    { err: { code: 'AUTH_FAULT', detail: /^the end of onRevoked of the scheme '.*' threw$/ } },
    'a watched credential could not be left'
  ]
  t.match(lines, [line, line])
})

t.test('an onRevoked that throws is a fault, and leaves nothing behind', t => {
  const carrier = new EventEmitter()
  let left = 0
  const watched = [
    identity({ onRevoked: () => () => { left++ } }),
    identity({ onRevoked: () => { throw new Error('not connected') } })
  ]
  t.throws(() => expirySignal(watched, carrier, noLog), {
    code: 'AUTH_FAULT', detail: /^onRevoked of the scheme '.*' threw$/
  })
  t.equal(left, 1)
  t.equal(carrier.listenerCount('close'), 0)
  t.end()
})
