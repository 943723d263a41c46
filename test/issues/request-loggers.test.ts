import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, AuthError, type GatehouseOptions } from '../../lib/index.js'
import { random, tracing } from '../fixtures/secrets.js'

const key = random()

/**
 * Returns an error like those of `ioredis`, with the failed command and its arguments in a property and in the message.
 */
function errorQuoting (sent: unknown): Error {
  const text = typeof sent === 'string' ? sent : JSON.stringify(sent)
  class ReplyError extends Error {}
  const command = { name: 'get', args: [text] }
  return Object.assign(new ReplyError(`ERR no ${text}`, { cause: new Error(`GET ${text}`) }), {
    code: 'WRONGTYPE',
    command
  })
}

const throwing = apiKey({ from: ['header:x-api-key', 'query:key'], verify: sent => { throw errorQuoting(sent) } })

async function application (
  t: Test,
  options: Partial<GatehouseOptions> = {},
  prepare: (app: FastifyInstance) => unknown = () => {}
) {
  const { logger, lines } = tracing()
  const app = Fastify({ logger: { ...logger, level: 'info' } }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  prepare(app)
  await app.register(gatehouse, { schemes: { throwing }, ...options } as GatehouseOptions)
  app.get('/', async () => 'in')
  app.get('/public', { config: { auth: false } }, async () => 'in')
  return { app, lines, log: () => lines().trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>) }
}

/** Returns all own properties of an object. */
const contents = (object: object): unknown =>
  Reflect.ownKeys(object).map(name => [name, (object as Record<symbol | string, unknown>)[name]])

t.test('leaves a logger that requests share unchanged, whatever fails', async t => {
  const { app } = await application(t, {}, app => {
    const shared = app.log.child({ name: 'shared' })
    app.setChildLoggerFactory(() => shared)
    app.decorate('shared', shared)
  })
  await app.ready()
  const loggers = [app.log, app.getDecorator<object>('shared')]
  const before = loggers.map(contents)
  const fail = async () => app.inject({ url: '/', headers: { 'x-api-key': key } })
  for (let i = 0; i < 200; i++) t.equal((await fail()).statusCode, 500)
  t.strictSame(loggers.map(contents), before)
})

t.test('logs an error of an application function by name, code and stack position, without request data', async t => {
  const { app, lines, log } = await application(t)
  const ways = [
    { url: '/', headers: { 'x-api-key': key } },
    { url: `/?key=${key}` },
    {
      url: `/?key=${key}`,
      headers: { authorization: `Basic ${Buffer.from(`ada:${key}`).toString('base64')}`, cookie: `a=1; b=${key}` }
    }
  ]
  for (const way of ways) t.equal((await app.inject(way)).statusCode, 500)
  t.notOk(lines().includes(key.slice(3, 11)))
  const fault = log().find(line => line['msg'] === 'authentication fault')
  t.match(fault, {
    level: 50,
    err: {
      message: 'ReplyError WRONGTYPE',
      stack: /^ReplyError WRONGTYPE\n {4}at .*request-loggers\.test\.ts:\d+:\d+/
    },
    auth: { code: 'AUTH_FAULT', reason: /scheme 'throwing' or its load function threw/ }
  })
  t.match(
    log().find(line => line['msg'] === 'Internal Server Error'),
    { err: { type: 'AuthError' } },
    'nor in the line that Fastify writes'
  )
})

t.test('describes the cause of an AuthError without keeping it, and leaves the AuthError unchanged', async t => {
  const own = new AuthError('AUTH_FAULT', 'the reason', undefined, { cause: errorQuoting(key) })
  t.match(own.cause, { name: 'Error', message: 'ReplyError WRONGTYPE' })
  t.notOk(JSON.stringify(Object.getOwnPropertyDescriptors(own.cause)).includes(key))
  t.equal(new AuthError('AUTH_FAULT', 'another', undefined, { cause: own }).cause, own)
  t.match(new AuthError('AUTH_FAULT', 'a text', undefined, { cause: key }).cause, {
    message: 'a thrown string',
    stack: 'a thrown string'
  })
  const odd = Object.assign(new RangeError(key), { code: `${key} ${key}`, stack: undefined })
  t.match(new AuthError('AUTH_FAULT', 'no code', undefined, { cause: odd }).cause, {
    message: 'RangeError',
    stack: 'RangeError'
  })
  t.match(
    new AuthError('AUTH_FAULT', 'a number', undefined, { cause: Object.assign(new Error(key), { code: 14 }) }).cause,
    { message: 'Error 14' }
  )
})

t.test('logs the error of a function that writes errors by name', async t => {
  const refused = apiKey({ from: 'header:x-odd', verify: () => null })
  const { app, lines, log } = await application(t, {
    schemes: { refused },
    errors: (_error, request) => {
      throw errorQuoting(request.headers)
    }
  })
  t.equal((await app.inject({ url: '/', headers: { 'x-odd': key } })).statusCode, 401)
  t.match(
    log().find(line => line['msg'] === 'the errors function failed'),
    { err: { message: 'ReplyError WRONGTYPE' } }
  )
  t.notOk(lines().includes(key.slice(0, 8)))
})
