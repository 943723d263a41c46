import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, {
  absent, apiKey, AuthError, authenticated, basic, foreign, invalid, jwt, limited, session, unavailable,
  type GatehouseOptions, type Scheme, type SchemeFactory
} from '../../lib/index.js'
import { timeLimit } from '../fixtures/time-limit.js'
import { secretOf, token as signed } from '../fixtures/tokens.js'

const secret = secretOf()
const user = jwt({ keys: secret, issuer: 'https://id.example.com', audience: 'api', sign: true })

/** Creates an application whose route `/` passes its request to the test. */
async function createApp (t: Test, schemes: GatehouseOptions['schemes'], more: Partial<GatehouseOptions> = {}) {
  const app = Fastify()
  await app.register(gatehouse, { schemes, default: Object.keys(schemes), ...more } as GatehouseOptions)
  const requests: FastifyRequest[] = []
  app.get('/', { config: { auth: false } }, async request => { requests.push(request) })
  t.teardown(() => app.close())
  const requestWith = async (headers: Record<string, string> = {}, url = '/') => {
    await app.inject({ url, headers })
    return { request: requests.pop() as FastifyRequest }
  }
  const authenticate = async (scheme: string, credential: unknown, headers?: Record<string, string>) =>
    app.gatehouse.authenticate(scheme, credential, await requestWith(headers))
  return { app, requestWith, authenticate }
}

/** Creates a scheme that records what it reads, and accepts every credential. */
function recordingScheme (openapi: Scheme['openapi'], sources?: Scheme['sources']) {
  const requests: Record<string, unknown>[] = []
  const scheme: Scheme = {
    openapi,
    ...sources === undefined ? {} : { sources },
    authenticate ({ headers, raw, query, ip, url }) {
      requests.push({ headers: { ...headers }, same: raw.headers === headers, lines: raw.rawHeaders, query, ip, url })
      return authenticated({ id: 'ann' }, { credential: null }) as never
    }
  }
  return { requests, scheme }
}

t.test('A credential in a message', async t => {
  await t.test('has dates of its own, which no other request with the credential shares', async t => {
    const schemes = {
      seen: jwt({ keys: secret, issuer: 'https://id.example.com', audience: 'api' }),
      issued: apiKey({ managed: { prefix: 'acme_live' } })
    }
    const { app, authenticate } = await createApp(t, schemes)
    const expiresAt = new Date(Date.now() + 3_600_000)
    const { key } = await app.gatehouse.apiKeys.of({ realm: 'web', id: 'ann' }).create({ name: 'ci', expiresAt })
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: 'https://id.example.com', aud: 'api', sub: 'ann', iat: now, auth_time: now, exp: now + 3600 }
    const token = signed(claims, { alg: 'HS256', key: secret })
    for (const [scheme, credential] of [['seen', token], ['issued', key]] as const) {
      // a token is cached when it is seen for the second time
      await authenticate(scheme, credential)
      await authenticate(scheme, credential)
      const first = await authenticate(scheme, credential)
      if (first.kind !== 'authenticated') return t.fail(`${scheme} is ${first.kind}`)
      first.expiresAt?.setTime(0)
      first.authenticatedAt?.setTime(0)
      const second = await authenticate(scheme, credential)
      if (second.kind !== 'authenticated') return t.fail(`${scheme} is ${second.kind}`)
      t.equal(second.expiresAt?.getTime(), scheme === 'issued' ? expiresAt.getTime() : (now + 3600) * 1000, scheme)
      t.equal(second.authenticatedAt?.getTime(), scheme === 'issued' ? undefined : now * 1000, scheme)
    }
  })

  await t.test('of a connection_init opens a WebSocket, which ends when the credential expires', async t => {
    const app = Fastify()
    await app.register(websocket)
    await app.register(gatehouse, { schemes: { user } })
    const sockets: { terminate (): void }[] = []
    app.get('/graphql', { websocket: true, config: { auth: false } }, (socket, request) => {
      sockets.push(socket)
      socket.on('message', async (data: unknown) => {
        const { payload } = JSON.parse(String(data)) as { payload: { token?: unknown } }
        const caller = await app.gatehouse.authenticate('user', payload.token, { request })
        if (caller.kind !== 'authenticated') return socket.close(4403, caller.kind)
        caller.signal.addEventListener('abort', () => { socket.close(4401, (caller.signal.reason as AuthError).code) })
        socket.send(JSON.stringify({ type: 'connection_ack', id: caller.principal.id }))
      })
    })
    t.teardown(() => app.close())
    await app.ready()
    const connect = async (token?: unknown) => {
      const socket = await app.injectWS('/graphql')
      const ended = once(socket, 'close').then(([code, reason]) => [code, String(reason)])
      const first = Promise.race([once(socket, 'message').then(([data]) => String(data)), ended])
      socket.send(JSON.stringify({ type: 'connection_init', payload: { token } }))
      return { first: await first, ended, socket }
    }
    t.strictSame((await connect()).first, [4403, 'absent'])
    t.strictSame((await connect({})).first, [4403, 'invalid'])
    t.strictSame((await connect('opaque')).first, [4403, 'foreign'])
    const good = await connect(await app.gatehouse.tokens.issue({ id: 'ada' }))
    t.equal(good.first, '{"type":"connection_ack","id":"ada"}')
    good.socket.terminate()
    const short = await connect(await app.gatehouse.tokens.issue({ id: 'ada' }, { expiresIn: shortLife() }))
    t.strictSame(await short.ended, [4401, 'AUTH_TOKEN_EXPIRED'])
    // a connection of injectWS does not close by itself
    for (const socket of sockets) socket.terminate()
  })

  await t.test('has the outcome that it has on a request, with load, signal and allows', async t => {
    const { app, authenticate } = await createApp(t, { user }, {
      roles: { admin: { scopes: ['orders:write'] } },
      scopes: { 'orders:read': '', 'orders:write': '', 'orders:delete': '' },
      load: ({ id }) => id === 'gone' ? null : { id, roles: ['admin'], email: `${id}@example.com` }
    })
    const token = await app.gatehouse.tokens.issue({ id: 'ada', scopes: ['orders:read'] })
    const caller = await authenticate('user', token)
    if (caller.kind !== 'authenticated') return t.fail(caller.kind)
    t.match(caller.principal, { realm: 'https://id.example.com', id: 'ada', email: 'ada@example.com' })
    t.strictSame([Object.isFrozen(caller), Object.isFrozen(caller.principal)], [true, true])
    t.ok(caller.expiresAt instanceof Date)
    t.match(caller.credential, { claims: { sub: 'ada' } })
    t.strictSame(
      [{ scopes: 'orders:read' }, { scopes: 'orders:write' }, { scopes: 'orders:delete' }, { roles: 'admin' }]
        .map(query => caller.allows(query as { scopes: string })),
      [true, true, false, true]
    )
    t.throws(() => caller.allows({} as { scopes: string }), { code: 'AUTH_FAULT' })
    t.equal(caller.signal, caller.signal, 'the signal is the same object each time')
    t.equal(caller.signal.aborted, false)
    t.match(await authenticate('user', await app.gatehouse.tokens.issue({ id: 'gone' })), { kind: 'invalid' })
    t.match(await authenticate('user', `${token}x`), { kind: 'invalid' })
    t.match(await authenticate('user', 'opaque'), { kind: 'foreign' })
    for (const nothing of [undefined, null, '']) t.match(await authenticate('user', nothing), { kind: 'absent' })
    for (const wrong of [7, {}, [token], true]) t.match(await authenticate('user', wrong), { kind: 'invalid' })
    t.match(
      await authenticate('user', `Bearer ${token}`), { kind: 'invalid' }, 'a token is passed without the word Bearer'
    )
    t.match(await authenticate('user', `${token}, ${token}`), { kind: 'invalid' })
  })

  await t.test('is read where the scheme reads it, and nothing else is', async t => {
    const sent = { authorization: 'Bearer other', cookie: 'a=b', 'x-key': 'other', 'x-more': '1', host: 'here' }
    const table: [openapi: Scheme['openapi'], sources: string[] | undefined, headers: object, query: object][] = [
      [{ type: 'http', scheme: 'Bearer' }, undefined, { authorization: 'Bearer mine', 'x-key': 'other' }, { k: 'q' }],
      [{ type: 'http', scheme: 'DPoP' }, undefined, { authorization: 'DPoP mine', 'x-key': 'other' }, { k: 'q' }],
      [{ type: 'oauth2', flows: {} }, undefined, { authorization: 'Bearer mine', 'x-key': 'other' }, { k: 'q' }],
      [{ type: 'apiKey', in: 'header', name: 'X-Key' }, undefined, { 'x-key': 'mine' }, { k: 'q' }],
      [{ type: 'apiKey', in: 'query', name: 'k' }, undefined, { 'x-key': 'other' }, { k: 'mine' }],
      [{ type: 'apiKey', in: 'cookie', name: 'a' }, ['cookie:a', 'query:k', 'header:x-key'], {}, { k: 'mine' }]
    ]
    for (const [openapi, sources, headers, query] of table) {
      const { scheme, requests } = recordingScheme(openapi, sources as Scheme['sources'])
      const { app, requestWith } = await createApp(t, { own: scheme })
      const options = await requestWith(sent, '/?k=q')
      const before = { ...options.request.headers }
      t.match(await app.gatehouse.authenticate('own', 'mine', options), { kind: 'authenticated' })
      const [read = {}] = requests
      const kept = { 'user-agent': 'lightMyRequest', host: 'here', 'x-more': '1' }
      t.strictSame(read.headers, { ...kept, ...headers }, JSON.stringify(openapi))
      t.strictSame(Object.fromEntries(pairs(read.lines as string[])), read.headers, 'rawHeaders has the same headers')
      t.strictSame([read.query, read.same, read.ip, read.url], [query, true, '127.0.0.1', '/?k=q'])
      t.same([options.request.headers, options.request.query], [before, { k: 'q' }], 'the request is as it was')
    }
  })

  await t.test('is refused with AUTH_FAULT for wrong calls and for schemes whose credential browsers send', async t => {
    const http = (scheme: string) => recordingScheme({ type: 'http', scheme }).scheme
    const { app, requestWith } = await createApp(t, {
      web: session({ secret }),
      ops: basic({ users: { ada: { password: 'correct horse battery' } } }),
      cookies: jwt({ keys: secret, issuer: 'a', audience: 'b', from: 'cookie:token' }),
      names: apiKey({ keys: { [secret]: { id: 'a' } }, from: 'basic:username' }),
      basic: http('Basic'),
      negotiate: http('Negotiate'),
      marked: { ...http('bearer'), ambient: true },
      whole: { ...http('bearer'), sources: ['header:authorization'] as const, ambient: true },
      tls: recordingScheme({ type: 'mutualTLS' }).scheme,
      user
    })
    const options = await requestWith()
    const fault = async (run: Promise<unknown>) => {
      const error = await run.then(() => null, (error: unknown) => error)
      return error instanceof AuthError ? `${error.code}: ${error.detail}` : error
    }
    for (const name of ['web', 'ops', 'cookies', 'names', 'basic', 'negotiate', 'marked', 'whole']) {
      t.match(
        await fault(app.gatehouse.authenticate(name, 'credential', options)),
        `the scheme '${name}' of gatehouse.authenticate() takes credentials that browsers send by themselves`
      )
    }
    const calls: [message: string, ...call: unknown[]][] = [
      ["the scheme 'tls' of gatehouse.authenticate() has no place for a credential", 'tls', 'x', options],
      ["there is no scheme 'toString'. Known: web, ops", 'toString', 'x', options],
      ['there is no scheme undefined', undefined, 'x', options],
      ['must be an object with the key request', 'user', 'x'],
      ['gatehouse.authenticate().request must be the request of Fastify', 'user', 'x', {}],
      ['that opened the connection. Got undefined', 'user', 'x', { request: undefined }],
      ['opened the connection. Got an object', 'user', 'x', { request: options.request.raw }],
      ['opened the connection. Got null', 'user', 'x', { request: null }],
      ["unknown key 'reply'", 'user', 'x', { ...options, reply: null }]
    ]
    for (const [message, ...call] of calls) {
      const run = app.gatehouse.authenticate(...call as Parameters<typeof app.gatehouse.authenticate>)
      t.match(await fault(run), message)
    }
  })

  await t.test('has the outcomes of a scheme, and a fault if it throws', async t => {
    const answers: Record<string, unknown> = {
      absent,
      foreign,
      invalid: invalid('no'),
      limited: limited('slow', 9),
      unavailable: unavailable('down'),
      no: null,
      wrong: { kind: 'fine' }
    }
    const scheme: Scheme = {
      openapi: { type: 'http', scheme: 'bearer' },
      authenticate ({ headers }) {
        const answer = String(headers.authorization).slice('Bearer '.length)
        if (answer === 'throws') throw new Error('the secret of somebody')
        return answers[answer] as never
      }
    }
    const { authenticate } = await createApp(t, { own: scheme })
    for (const kind of ['absent', 'foreign', 'invalid', 'limited', 'unavailable']) {
      t.match(await authenticate('own', kind), { kind })
    }
    t.match(await authenticate('own', 'no'), { kind: 'invalid' })
    await t.rejects(authenticate('own', 'throws'), { code: 'AUTH_FAULT', message: 'Internal Server Error' })
    await t.rejects(authenticate('own', 'wrong'), { code: 'AUTH_FAULT' })
  })

  await t.test('is limited in guesses as on a request', async t => {
    const pins: SchemeFactory = (_app, _name, { guesses }) => ({
      openapi: { type: 'http', scheme: 'Pin' },
      authenticate: async request => {
        const pin = String(request.headers.authorization).slice(4)
        const guess = await guesses.attempt(request, 'door', () => pin === '1234' && { id: 'door' })
        if (guess.kind !== 'checked') return guess
        return guess.result === null ? invalid('wrong') : authenticated(guess.result, { credential: null }) as never
      }
    })
    const { authenticate } = await createApp(t, { pins })
    t.match(await authenticate('pins', '1234'), { kind: 'authenticated', principal: { id: 'door' } })
    for (let i = 0; i < 5; i++) t.match(await authenticate('pins', `${i}`), { kind: 'invalid' })
    t.match(await authenticate('pins', '1234'), { kind: 'limited' })
  })

  await t.test('that is revoked is refused, and aborts the signal until its connection closes', async t => {
    const { app } = await createApp(t, { service: apiKey({ managed: { prefix: 'acme' } }) })
    const callers: unknown[] = []
    const signals: AbortSignal[] = []
    const reasons: string[] = []
    const { key, record } = await app.gatehouse.apiKeys.of({ realm: 'staff', id: 'ann' }).create({ name: 'k' })
    const open = async (app: FastifyInstance) => {
      app.get('/open', { config: { auth: false } }, async request => {
        const caller = await app.gatehouse.authenticate('service', key, { request })
        callers.push(caller)
        if (caller.kind !== 'authenticated') return 'out'
        signals.push(caller.signal)
        caller.signal.addEventListener('abort', () => { reasons.push((caller.signal.reason as AuthError).code) })
        return 'in'
      })
    }
    await app.register(open)
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as AddressInfo
    const agents = [new http.Agent({ keepAlive: true }), new http.Agent({ keepAlive: true })]
    t.teardown(() => { for (const agent of agents) agent.destroy() })
    for (const agent of agents) {
      const [response] = await once(http.get({ port, host: '127.0.0.1', path: '/open', agent }), 'response')
      await once((response as http.IncomingMessage).resume(), 'end')
    }
    agents[0]?.destroy()
    await sleep(50)
    await app.gatehouse.apiKeys.of({ realm: 'staff', id: 'ann' }).revoke(record.id)
    t.strictSame(
      signals.map(signal => signal.aborted), [false, true], 'only the signal of the open connection is aborted'
    )
    t.strictSame(reasons, ['AUTH_INVALID_CREDENTIALS'])
    t.equal((await app.inject('/open')).body, 'out')
    t.match(callers, [{ kind: 'authenticated' }, { kind: 'authenticated' }, { kind: 'invalid' }])
  })

  await t.test('is accepted over HTTP/2, where its use ends with the stream', async t => {
    const app = Fastify({ http2: true })
    await app.register(gatehouse, { schemes: { user } })
    const signals: AbortSignal[] = []
    const expiresIn = shortLife()
    app.get('/', { config: { auth: false } }, async request => {
      const token = await app.gatehouse.tokens.issue({ id: 'ada' }, { expiresIn })
      const caller = await app.gatehouse.authenticate('user', token, { request })
      if (caller.kind === 'authenticated') signals.push(caller.signal)
      return caller.kind
    })
    t.teardown(() => app.close())
    const client = http2.connect(await app.listen({ host: '127.0.0.1', port: 0 }))
    t.teardown(() => { client.close() })
    const stream = client.request({ ':path': '/' }).setEncoding('utf8')
    t.equal((await once(stream, 'data'))[0], 'authenticated')
    await once(stream.resume(), 'close')
    await sleep(expiresIn * 1_000 + 300)
    t.equal(signals[0]?.aborted, false, 'the stream has ended')
  })
})

/** Returns a token lifetime, in seconds, that lasts until the token is used, even on a busy machine. */
function shortLife (): number {
  return 1 + Math.ceil(timeLimit(1_000) / 1_000)
}

function * pairs (lines: readonly string[]): Iterable<[string, string]> {
  for (let i = 0; i < lines.length; i += 2) yield [String(lines[i]), String(lines[i + 1])]
}
