import { once } from 'node:events'
import { connect } from 'node:net'
import Fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { absent, apiKey, jwt, redactRequest, type GatehouseOptions, type Scheme } from '../../lib/index.js'
import { listen, send } from '../fixtures/schemes.js'
import { random, tracing } from '../fixtures/secrets.js'

const key = random()

interface Setting {
  readonly server?: FastifyServerOptions
  /** Runs before the plugin is registered. */
  readonly prepare?: (app: FastifyInstance) => unknown
}

async function desk (t: Test, schemes: GatehouseOptions['schemes'], { server = {}, prepare = () => {} }: Setting = {}) {
  const { logger, lines } = tracing()
  const app = Fastify({ logger: { ...logger, level: 'info' }, ...server }) as unknown as FastifyInstance
  await prepare(app)
  await app.register(gatehouse, { schemes, default: Object.keys(schemes) as never })
  t.teardown(() => app.close())
  app.get('/', async () => 'in')
  app.get('/p/:name', async () => 'in')
  const log = () => lines().trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>)
  return { app, lines, log, warnings: () => log().filter(line => line['level'] === 40) }
}

const good = apiKey({ from: ['header:x-api-key', 'query:key'], keys: { [key]: { id: 'a' } } })

t.test('hides the keys in query parameters in every line that Fastify logs about a request', async t => {
  const { app, lines, log, warnings } = await desk(t, { good })
  const requests: Readonly<Record<string, number>> = {
    [`/?key=${key}`]: 200,
    [`/?a=b&key=${key}&c=d`]: 200,
    [`/?k%65y=${key}`]: 200,
    [`/?key=${key}&key=${key}`]: 401,
    [`/?key=${key}"\\${key}`]: 401,
    [`/?%zz=1&key=${key}`]: 200,
    [`/nowhere?key=${key}`]: 404,
    [`/%zz?key=${key}`]: 400,
    [`/p/a;b=c?key=${key}`]: 200,
    [`/p/${'a'.repeat(101)}?key=${key}`]: 414
  }
  for (const [url, status] of Object.entries(requests)) {
    t.equal((await app.inject(url)).statusCode, status, url.replaceAll(key, 'KEY'))
  }
  t.equal((await send(await listen(t, app), 'GET', `/#key=${key}`)).status, 200, 'a fragment is a query to the router')
  t.notOk(lines().includes(key.slice(0, 8)), 'no line has any of it')
  t.match(log().find(line => line['msg'] === 'incoming request'), { req: { method: 'GET', url: '/?key=[hidden]' } })
  t.ok(lines().includes('/?a=b&key=[hidden]&c=d'), 'and everything else of the address is there')
  t.ok(lines().includes('Route GET:/nowhere?key=[hidden] not found'))
  t.same(warnings(), [])
})

t.test("hides them in errors that quote a URL, also with messageKey: 'message'", async t => {
  const { logger } = tracing()
  const { app, lines } = await desk(
    t,
    { good },
    { server: { logger: { ...logger, level: 'info', messageKey: 'message' } } }
  )
  const other = tracing()
  const own = await desk(
    t,
    { good },
    { server: { logger: { ...logger, stream: other.logger.stream, messageKey: 'message' } } }
  )
  app.get('/quotes', async ({ url }) => {
    throw new Error(`no ${url}`, { cause: new Error(`because of ${url}`) })
  })
  own.app.get('/twice', async ({ url, log }) => {
    log.info(`one ${url}`)
    return 'two'
  })
  t.equal((await app.inject(`/quotes?key=${key}`)).statusCode, 500)
  t.equal((await own.app.inject(`/twice?key=${key}`)).statusCode, 200)
  for (const all of [lines(), other.lines()]) t.notOk(all.includes(key.slice(0, 8)))
  t.ok(other.lines().includes('"message":"one /twice?key=[hidden]"'))
})

t.test(
  'hides only the parameters of its schemes, including those in the OpenAPI description of custom schemes',
  async t => {
    const own: Scheme = { openapi: { type: 'apiKey', in: 'query', name: 'device' }, authenticate: () => absent }
    const tokens = jwt({ keys: random(), issuer: false, audience: false, from: ['bearer', 'query:token'] })
    const { app, lines } = await desk(t, { own, tokens })
    await app.inject(`/?device=${key}&other=shown`)
    t.ok(lines().includes('/?device=[hidden]&other=shown'))
    const none = await desk(t, { header: apiKey({ keys: { [key]: { id: 'a' } } }) })
    const factory = none.app.childLoggerFactory
    await none.app.inject('/?key=shown')
    t.ok(none.lines().includes('/?key=shown'))
    t.equal(factory, Fastify().childLoggerFactory, 'where no credential travels in a query, no factory is set')
  }
)

t.test("keeps the application's log hooks and serializers working", async t => {
  const { logger, lines } = tracing()
  const serializers = { req: ({ url }: { url: string }) => ({ address: url, all: [{ url }], at: new Date(0) }) }
  const hooks = { streamWrite: (line: string) => `> ${line}` }
  const { app } = await desk(t, { good }, { server: { logger: { ...logger, serializers, hooks } as never } })
  await app.inject(`/?key=${key}`)
  t.ok(lines().startsWith('> {'))
  t.ok(
    lines().includes(
      '"req":{"address":"/?key=[hidden]","all":[{"url":"/?key=[hidden]"}],"at":"1970-01-01T00:00:00.000Z"}'
    )
  )
  t.notOk(lines().includes(key))
})

t.test('covers every child logger factory and serializer, of the application, a context and a route', async t => {
  const factories: string[] = []
  const factory = (name: string) =>
    function (
      this: FastifyInstance,
      logger: FastifyBaseLogger,
      bindings: object,
      options: object
    ): FastifyBaseLogger {
      factories.push(name)
      return logger.child({ ...bindings, factory: name }, options)
    }
  const prepare = (app: FastifyInstance) => app.setChildLoggerFactory(factory('application'))
  const { app, lines, log } = await desk(t, { good }, { prepare })
  const logSerializers = { req: ({ url }: { url: string }) => `own ${url}` }
  app.get('/route', { childLoggerFactory: factory('route') }, async () => 'in')
  app.get('/serializers', { logSerializers }, async () => 'in')
  app.register(async inner => {
    inner.setChildLoggerFactory(factory('context'))
    inner.get('/context', async () => 'in')
    inner.setNotFoundHandler(async (request, reply) => reply.code(404).send(request.id))
  }, { prefix: '/inner' })
  for (const url of ['/', '/route', '/serializers', '/inner/context', '/serializers']) {
    t.equal((await app.inject(`${url}?key=${key}`)).statusCode, 200)
  }
  t.equal((await app.inject(`/elsewhere?key=${key}`)).statusCode, 404)
  t.notOk(lines().includes(key.slice(0, 8)))
  t.same(factories, ['application', 'route', 'application', 'context', 'application', 'application'])
  t.match(
    log().find(line => line['factory'] === 'route'),
    { req: { url: '/route?key=[hidden]' } },
    'what a factory adds is there'
  )
  t.ok(lines().includes('"req":"own /serializers?key=[hidden]"'))
})

t.test('warns about the parameters with a logger other than pino, and not without a logger', async t => {
  const logs: unknown[] = []
  const write = (...args: unknown[]) => {
    logs.push(args)
  }
  const other = {
    level: 'info',
    trace: write,
    debug: write,
    info: write,
    warn: write,
    error: write,
    fatal: write,
    silent: write,
    child: () => other
  }
  const app = Fastify({ loggerInstance: other as never }) as unknown as FastifyInstance
  await app.register(gatehouse, { schemes: { good } })
  await app.ready()
  t.match(logs[0], [{ where: ['key'] }, /query parameters.*not pino.*redactRequest/])
  await app.close()
  const { app: silent } = await desk(t, { good }, { server: { logger: false } })
  t.equal(silent.childLoggerFactory, Fastify().childLoggerFactory)
  const { app: mixed } = await desk(t, { good }, { prepare: app => app.setChildLoggerFactory(() => other as never) })
  t.equal((await mixed.inject(`/?key=${key}`)).statusCode, 200, 'a factory may return another logger')
})

t.test('warns at boot if log lines of unknown paths cannot be redacted', async t => {
  const early = await desk(
    t,
    { good },
    { prepare: app => app.setNotFoundHandler(async (_request, reply) => reply.code(404).send('own')) }
  )
  await early.app.ready()
  t.match(early.warnings(), [{ where: ['key'], msg: /unknown paths.*before setNotFoundHandler.*redactRequest/ }])
  t.equal((await early.app.inject('/nowhere')).body, 'own')
  const { logger, lines } = tracing()
  const app = Fastify({ logger: { ...logger, level: 'warn' } }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(async inner => { await inner.register(gatehouse, { schemes: { good } }) }, { prefix: '/inner' })
  await app.ready()
  t.match(lines(), /unknown paths.*outermost/)
  const late = await desk(t, { good })
  late.app.setNotFoundHandler(async (_request, reply) => reply.code(404).send('own'))
  t.equal((await late.app.inject(`/nowhere?key=${key}`)).body, 'own', 'the application sets its own afterwards')
  t.notOk(late.lines().includes(key))
  t.same(late.warnings(), [])
})

t.test('warns at boot at level trace, which logs unreadable requests whole, unless errors are redacted', async t => {
  const { logger } = tracing()
  t.match((await desk(t, { good }, { server: { logger } })).app.log.level, 'trace')
  const plain = tracing()
  await (await desk(t, { good }, { server: { logger: plain.logger } })).app.ready()
  t.match(plain.lines(), /"level":40.*log level is trace.*err: redactRequest/)
  const safe = tracing()
  const err = redactRequest({ query: ['key'] })
  const { app } = await desk(t, { good }, { server: { logger: { ...safe.logger, serializers: { err } } } })
  await app.ready()
  t.notMatch(safe.lines(), '"level":40')
  const socket = connect(await listen(t, app), '127.0.0.1', () => { socket.write(`GET /?key=${key} HTTP/9\r\n\r\n`) })
  socket.resume()
  await once(socket, 'close')
  t.match(safe.lines(), /"level":10.*"msg":"client error"/)
  t.match(safe.lines(), /"err":\{[^}]*"code":"HPE_[A-Z_]+"/)
  t.notMatch(safe.lines(), /rawPacket/)
  t.notOk(safe.lines().includes(key.slice(0, 8)))
})

t.test('redactRequest', async t => {
  const redact = redactRequest({ query: ['key', 'a b'] })

  t.test('hides keys in lines that the plugin cannot reach, such as errors before the route is known', async t => {
    const { logger, lines } = tracing()
    const frameworkErrors = ((
      error: Error,
      request: { log: { error(error: Error): void } },
      reply: { send(error: Error): void }
    ) => {
      request.log.error(error)
      reply.send(error)
    }) as never
    const server = {
      frameworkErrors,
      logger: { ...logger, level: 'info', serializers: { req: redact, err: redact, msg: redact } }
    }
    const { app } = await desk(t, { good }, { server })
    t.equal((await app.inject(`/%zz?key=${key}`)).statusCode, 400)
    t.equal((await app.inject(`/p/${'a'.repeat(101)}?key=${key}`)).statusCode, 414)
    t.notOk(lines().includes(key.slice(0, 8)))
    t.match(
      lines(),
      /"req":\{"method":"GET","url":"\/%zz\?key=\[hidden\]","host":"localhost:80","remoteAddress":"127\.0\.0\.1"\}/
    )
  })

  t.test('accepts a request of Node, an error, a text and any other value', async t => {
    const url = `/x?key=${key}&a+b=1&c=2`
    const socket = { remotePort: 7 }
    const safe = '/x?key=[hidden]&a+b=[hidden]&c=2'
    t.same(redact({ method: 'GET', url, headers: { 'accept-version': '1.x' }, socket }), {
      method: 'GET', url: safe, version: '1.x', host: undefined, remoteAddress: undefined, remotePort: 7
    })
    t.match(redact({ method: 'GET', url, socket: null }), { url: safe, remotePort: undefined })
    t.equal(redact(`Route GET:${url} not found`), `Route GET:${safe} not found`)
    const error = Object.assign(new TypeError(`no ${url}`), { code: 'NO', rawPacket: Buffer.from(url) })
    const { stack, ...more } = redact(error)
    t.same(more, { type: 'TypeError', message: `no ${safe}`, code: 'NO' })
    t.ok(stack.includes('redact.test.ts') && !stack.includes(key))
    for (const value of [1, null, undefined, true]) t.equal((redact as (value: unknown) => unknown)(value), value)
    const hostile = { get url (): string { throw new Error('own') } }
    t.equal((redact as (value: unknown) => unknown)(hostile), '[hidden]', 'nothing throws in a serializer')
    const circle: Record<string, unknown> = { url }
    circle['circle'] = circle
    t.match((redact as (value: unknown) => unknown)(circle), { url: safe, circle: { url: safe } })
  })

  t.test('stops the boot for invalid options', async t => {
    const wrong: ReadonlyArray<readonly [options: unknown, message: RegExp]> = [
      [undefined, /options of redactRequest must be an object/],
      [{}, /redactRequest\.query must be a list/],
      [{ query: 'key' }, /redactRequest\.query must be a list/],
      [{ query: [''] }, /redactRequest\.query\[0\] must be the name of a query parameter/],
      [{ query: [7] }, /redactRequest\.query\[0\] must be the name of a query parameter/],
      [{ query: ['key'], header: [] }, /unknown key 'header'/]
    ]
    for (const [options, message] of wrong) {
      t.throws(() => redactRequest(options as never), { code: 'AUTH_MISCONFIGURED', message })
    }
  })
})
