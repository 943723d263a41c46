import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import gatehouse, { absent, apiKey, jwt, type GatehouseOptions, type Scheme } from '../../lib/index.js'
import { listen, send } from '../support/schemes.js'
import { random, tracing } from '../support/secrets.js'

const key = random()

/** A scheme that throws what it was sent. */
const throwing = apiKey({ from: ['header:x-api-key', 'query:key'], verify: sent => { throw Object.assign(new Error(`no ${sent}`), { command: { args: [sent, 1] }, undefined: 'undefined' }) } })

async function desk (t: Test, schemes: GatehouseOptions['schemes'], server: FastifyServerOptions = {}, prepare: (app: FastifyInstance) => unknown = () => {}) {
  const { logger, lines } = tracing()
  const app = Fastify({ logger, ...server }) as unknown as FastifyInstance
  await prepare(app)
  await app.register(gatehouse, { schemes, default: Object.keys(schemes) as never })
  t.teardown(() => app.close())
  app.get('/', async request => { request.log.info({ own: request.url }, 'a line of the application'); return 'in' })
  app.get('/p/:name', async () => 'in')
  return { app, lines, log: () => lines().trim().split('\n').map(line => JSON.parse(line) as Record<string, unknown>) }
}

const good = apiKey({ from: ['header:x-api-key', 'query:key'], keys: { [key]: { id: 'a' } } })

t.test('the log holds no key of a query, wherever it quotes a URL', async t => {
  const frameworkErrors = ((error: Error, request: { log: { error (error: Error): void } }, reply: { send (error: Error): void }) => { request.log.error(error); reply.send(error) }) as never
  const { app, lines, log } = await desk(t, { good }, { frameworkErrors })
  const asked: Readonly<Record<string, number>> = {
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
  for (const [url, status] of Object.entries(asked)) t.equal((await app.inject(url)).statusCode, status, url.replaceAll(key, 'KEY'))
  t.equal((await send(await listen(t, app), 'GET', `/#key=${key}`)).status, 200, 'a fragment is a query to the router')
  t.notOk(lines().includes(key.slice(0, 8)), 'no line has any of it')
  t.match(log().find(line => line['msg'] === 'incoming request'), { req: { method: 'GET', url: '/?key=[hidden]' } })
  t.match(log().find(line => line['msg'] === 'a line of the application'), { own: '/?key=[hidden]' })
  t.ok(lines().includes('/?a=b&key=[hidden]&c=d'), 'and everything else of the address')
  t.ok(lines().includes('Route GET:/nowhere?key=[hidden] not found'))
})

t.test('only what a scheme reads is hidden: its own parameters, an application\'s scheme\'s as OpenAPI says, and nothing where none is read', async t => {
  const own: Scheme = { openapi: { type: 'apiKey', in: 'query', name: 'device' }, authenticate: () => absent }
  const { app, lines } = await desk(t, { own, tokens: jwt({ keys: random(), issuer: false, audience: false, from: ['bearer', 'query:token'] }) })
  await app.inject(`/?device=${key}&other=shown`)
  t.ok(lines().includes('/?device=[hidden]&other=shown'))
  const none = await desk(t, { header: apiKey({ keys: { [key]: { id: 'a' } } }) })
  await none.app.inject('/?key=shown')
  t.ok(none.lines().includes('/?key=shown'))
})

t.test('an application\'s own hook on lines, and its serializers, go on', async t => {
  const { logger, lines } = tracing()
  const serializers = { req: ({ url }: { url: string }) => ({ address: url }) }
  const hooks = { streamWrite: (line: string) => `> ${line}` }
  const { app } = await desk(t, { good }, { logger: { ...logger, serializers, hooks } as never })
  await app.inject(`/?key=${key}`)
  t.ok(lines().startsWith('> {'))
  t.ok(lines().includes('"req":{"address":"/?key=[hidden]"}'))
  t.notOk(lines().includes(key))
})

t.test('a logger that is not pino gets a warning with the parameters; none at all gets nothing', async t => {
  const said: unknown[] = []
  const write = (...args: unknown[]) => { said.push(args) }
  const other = { level: 'info', trace: write, debug: write, info: write, warn: write, error: write, fatal: write, silent: write, child: () => other }
  const app = Fastify({ loggerInstance: other as never }) as unknown as FastifyInstance
  await app.register(gatehouse, { schemes: { good } })
  t.match(said[0], [{ parameters: ['key'] }, /query parameters.*not pino.*serializer/])
  await app.close()
  await t.resolves(desk(t, { good }, { logger: false }))
})

t.test('what a function of the application throws is in the log without what was sent, in its message, beside it and in its cause', async t => {
  const { app, log, lines } = await desk(t, { throwing })
  for (const [what, sent] of Object.entries({ header: { url: '/', headers: { 'x-api-key': key } }, query: { url: `/?key=${key}` }, 'both ways': { url: `/?key=${key}`, headers: { authorization: `Basic ${Buffer.from(`ada:${key}`).toString('base64')}`, cookie: `a=1; b=${key}` } } })) {
    t.equal((await app.inject(sent)).statusCode, 500, what)
  }
  t.notOk(lines().includes(key.slice(3, 11)))
  const fault = log().find(line => line['msg'] === 'authentication fault')
  t.match(fault, { level: 50, time: Number, err: { type: 'Error', message: 'no [hidden]', stack: /hidden\.test\.ts/, command: { args: ['[hidden]', 1] }, undefined: 'undefined' }, auth: { code: 'AUTH_FAULT' } })
  t.match(log().find(line => line['msg'] === 'Internal Server Error'), { err: { type: 'AuthError', message: 'Internal Server Error: no [hidden]' } }, 'and in the line that Fastify writes')
})

t.test('pieces of 8 characters are hidden, and what is shorter is not', async t => {
  const { app, log } = await desk(t, { cut: apiKey({ verify: sent => { throw new Error(`${sent.slice(0, 7)} ${sent.slice(8, 16)} "${sent.slice(20)}" ${sent}${sent} 1`) } }) })
  await app.inject({ url: '/', headers: { 'x-api-key': key } })
  t.match(log().find(line => line['msg'] === 'authentication fault'), { err: { message: `${key.slice(0, 7)} [hidden] "[hidden]" [hidden] 1` } })
})

t.test('a line that cannot be read is left out, and nothing throws', async t => {
  const { logger, lines } = tracing()
  const { app } = await desk(t, { throwing }, { logger: { ...logger, timestamp: () => ',"time":"\\q"' } as never })
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode, 500)
  t.ok(lines().includes('a line is left out'))
  t.notOk(lines().includes(key.slice(0, 8)))
})

t.test('a logger that all requests share stays as it was', async t => {
  const { app, lines } = await desk(t, { throwing }, {}, app => { app.setChildLoggerFactory(logger => logger) })
  await app.inject({ url: '/', headers: { 'x-api-key': key } })
  t.ok(lines().includes(key), 'a secret of one request is not hidden for ever')
  app.log.info({ after: key })
  t.ok(lines().includes(`"after":"${key}"`))
})

t.test('the error of a when function, and of a function that writes errors, quotes nothing that was sent', async t => {
  const { logger, lines } = tracing()
  const app = Fastify({ logger }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  const quoting = (request: { headers: object }): never => { throw new Error(JSON.stringify(request.headers)) }
  await app.register(gatehouse, { schemes: { good, odd: apiKey({ from: 'header:x-odd', verify: () => null }) }, default: ['odd', 'good'], errors: (_error, request) => quoting(request) })
  app.get('/when', { config: { auth: { when: (_principal, request) => quoting(request) } } }, async () => 'in')
  t.equal((await app.inject({ url: '/when', headers: { 'x-api-key': key } })).statusCode, 500)
  t.equal((await app.inject({ url: '/when', headers: { 'x-odd': key } })).statusCode, 401)
  t.ok(lines().includes('the errors function failed'))
  t.notOk(lines().includes(key.slice(0, 8)))
})
