import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo, Server } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, {
  apiKey, session, type AuthError, type GatehouseOptions, type Principal
} from '../../lib/index.js'
import { injectAs } from '../../lib/testing/index.js'
import { typescript } from '../fixtures/programs.js'
import { cleanEnvironment } from '../house/run.js'
import { root } from '../fixtures/root.js'

const secret = randomBytes(32).toString('base64url')
const key = randomBytes(32).toString('base64url')
const schemes = () => ({
  web: session({ secret, secure: false }),
  service: apiKey({ keys: { [key]: { id: 'billing' } } })
})

async function appWith (t: Test, options: Partial<GatehouseOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(gatehouse, { schemes: schemes(), default: ['web', 'service'], ...options } as GatehouseOptions)
  app.get('/me', async ({ principal, auth }) => ({ principal, scheme: auth.scheme, credential: auth.credential }))
  t.teardown(() => app.close())
  return app
}

const ada = { id: 'ada', roles: ['clerk'] }
const message = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    return `${(error as AuthError).code}: ${(error as AuthError).message}`
  }
  return ''
}
const rejection = async (run: Promise<unknown>): Promise<string> => {
  const [{ reason }] = await Promise.allSettled([run]) as [{ reason?: AuthError }]
  return `${reason?.code}: ${reason?.message}`
}

t.test('authenticates as the principal, by the named scheme', async t => {
  const app = await appWith(t)
  const response = await injectAs(app, { ...ada, name: 'Ada' }, { scheme: 'web' })('/me')
  t.same(response.json(), {
    principal: { id: 'ada', name: 'Ada', realm: 'web', scopes: [], roles: ['clerk'] },
    scheme: 'web',
    credential: { id: 'test', data: {} }
  })
  t.equal((await injectAs(app, ada, { scheme: 'service' })('/me')).json().credential, null)
  const billing = injectAs(app, { id: 'billing', realm: 'machines' }, { scheme: 'service', credential: { id: 'k1' } })
  t.match((await billing({ url: '/me', method: 'GET' })).json(), {
    principal: { realm: 'machines' }, scheme: 'service', credential: { id: 'k1' }
  })
  t.equal((await app.inject('/me')).statusCode, 401, 'and nobody else is')
})

t.test('gives handlers an empty session, whose data lasts for one request', async t => {
  const app = await appWith(t)
  app.get('/cart', { config: { auth: 'web' } }, async ({ auth }) => {
    if (auth.scheme !== 'web') return null
    const { credential } = auth as unknown as { credential: { data: object, update (data: object): void } }
    const before = credential.data
    credential.update({ items: 1 })
    return [before, credential.data]
  })
  const clerk = injectAs(app, ada, { scheme: 'web' })
  for (let i = 0; i < 2; i++) t.same((await clerk('/cart')).json(), [{}, { items: 1 }])
})

t.test('needs no scheme where the application has one', async t => {
  const app = await appWith(t, { schemes: { web: schemes().web }, default: 'web' })
  t.match((await injectAs(app, ada)('/me')).json(), { principal: ada, scheme: 'web' })
})

t.test('skips authentication only', async t => {
  const app = await appWith(t, { load: () => null })
  const ok = async () => 'ok'
  app.get('/desk', { config: { auth: { roles: 'clerk' } } }, ok)
  app.get('/own/:id', { config: { auth: { when: ({ id }, { params }) => id === (params as { id: string }).id } } }, ok)
  app.get('/fresh', { config: { auth: { schemes: 'web', maxAge: '1m' } } }, ok)
  app.get('/few', { config: { auth: { rateLimit: { max: 1, window: '1m' } } } }, ok)
  app.get('/service', { config: { auth: 'service' } }, ok)
  app.get('/public', { config: { auth: { public: 'for all' } } }, async request => ({ id: request.principal }))
  app.get('/feed', { config: { auth: { mode: 'optional' } } }, async request => ({ id: request.principal?.id }))
  app.post('/desk', ok)
  const clerk = injectAs(app, ada, { scheme: 'web' })
  const guest = injectAs(app, { id: 'eve' }, { scheme: 'web', authenticatedAt: new Date(Date.now() - 61_000) })
  const statuses = async (as: typeof clerk, ...urls: readonly string[]) => {
    const list: number[] = []
    for (const url of urls) list.push((await as(url)).statusCode)
    return list
  }
  t.same(await statuses(clerk, '/desk', '/own/ada', '/own/eve', '/fresh', '/few', '/few', '/service'),
    [200, 200, 403, 200, 200, 429, 401])
  t.same(await statuses(guest, '/desk', '/own/ada', '/fresh', '/few', '/nowhere'), [403, 403, 401, 200, 404])
  t.same((await clerk('/public')).json(), { id: null }, 'a public route runs no scheme')
  t.same((await clerk('/feed')).json(), { id: 'ada' })
  const crossSite = { method: 'POST', url: '/desk', headers: { 'sec-fetch-site': 'cross-site' } } as const
  t.equal((await clerk(crossSite)).json().code, 'AUTH_CROSS_SITE')
  t.equal((await injectAs(app, ada, { scheme: 'service' })(crossSite)).statusCode, 200)
})

t.test('reports a time of authentication only for schemes that do', async t => {
  const app = await appWith(t)
  app.get('/when', async request => ({ at: request.auth.authenticated ? request.auth.authenticatedAt : '' }))
  t.match((await injectAs(app, ada, { scheme: 'web' })('/when')).json(), { at: /^20/ })
  t.same((await injectAs(app, ada, { scheme: 'service' })('/when')).json(), { at: null })
})

t.test('a list of schemes meets a route that requires all of them', async t => {
  const app = await appWith(t)
  app.get('/both', { config: { auth: { schemes: { all: ['web', 'service'] } } } }, async ({ auth }) => auth.all)
  t.equal((await injectAs(app, ada, { scheme: 'web' })('/both')).statusCode, 401)
  const both = (await injectAs(app, ada, { scheme: ['web', 'service'] })('/both')).json()
  t.match(both, { web: { principal: { realm: 'web' } }, service: { principal: { realm: 'service' } } })
})

t.test('works where the plugin is registered in a child context', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(async child => {
    await child.register(gatehouse, { schemes: { web: schemes().web } })
    child.get('/me', async request => request.principal)
  })
  t.match((await injectAs(app, ada)('/me')).json(), ada)
})

t.test('a handler that calls app.inject does so without the principal', async t => {
  const app = await appWith(t)
  const nested = async () => ({ status: (await app.inject('/me')).statusCode })
  app.get('/nested', nested)
  app.get('/public', { config: { auth: { public: 'for all' } } }, nested)
  const clerk = injectAs(app, ada, { scheme: 'web' })
  for (const url of ['/nested', '/public']) t.same((await clerk(url)).json(), { status: 401 }, url)
  t.match((await Promise.all([clerk('/me'), app.inject('/me')])).map(({ statusCode }) => statusCode), [200, 401])
})

t.test('another application in the same call does not see the principal', async t => {
  const other = await appWith(t)
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onRequest', async () => { await other.ready() })
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('x-other', (await other.inject('/me')).statusCode)
  })
  await app.register(gatehouse, { schemes: { web: schemes().web } })
  app.get('/me', async () => 'ok')
  const { statusCode, headers } = await injectAs(app, ada)('/me')
  t.same([statusCode, headers['x-other']], [200, '401'])
})

/** Every part of a request in which a client could try to send a principal. */
const attempts = (url: string): ReadonlyArray<readonly [string, RequestInit]> => {
  const text = JSON.stringify({ ...ada, realm: 'web', principal: ada, scheme: 'web', isLightMyRequest: true })
  const encoded = encodeURIComponent(text)
  return [
    [`${url}/me`, {}],
    [`${url}/me`, { headers: { principal: text, 'x-principal': text, injectas: text, authorization: text } }],
    [`${url}/me?principal=${encoded}&auth=${encoded}&injectAs=${encoded}`, {}],
    [`${url}/me`, { headers: { cookie: `principal=${encoded}; session=${encoded}; injectAs=${encoded}` } }],
    [`${url}/me`, { method: 'POST', body: text, headers: { 'content-type': 'application/json' } }]
  ]
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port

async function fetchAll (port: number): Promise<readonly number[]> {
  const all = attempts(`http://127.0.0.1:${port}`)
  return await Promise.all(all.map(async ([url, init]) => (await fetch(url, init)).status))
}

async function http2Status (port: number): Promise<number> {
  const client = connect(`http://127.0.0.1:${port}`)
  const stream = client.request({ ':path': '/me', principal: JSON.stringify(ada) })
  const [headers] = await once(stream, 'response')
  client.destroy()
  return Number(headers[':status'])
}

t.test('a request through a socket never carries the principal', async t => {
  for (const stage of ['preParsing', 'preHandler'] as const) {
    const app = await appWith(t, { stage })
    app.post('/me', async ({ principal }) => principal)
    app.get('/fetch', async () => {
      await app.listen({ port: 0, host: '127.0.0.1' })
      return await fetchAll(portOf(app.server))
    })
    const clerk = injectAs(app, ada, { scheme: 'web' })
    t.same((await clerk('/fetch')).json(), [401, 401, 401, 401, 401], `fetch in a handler, ${stage}`)
    t.match(await rejection(clerk('/me')), /the server listens/)
    t.same(await fetchAll(portOf(app.server)), [401, 401, 401, 401, 401], `from outside, ${stage}`)
  }
})

t.test('a request through HTTP/2 never carries the principal', async t => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { web: schemes().web } })
  app.get('/me', async () => {
    await app.listen({ port: 0, host: '127.0.0.1' })
    return await http2Status(portOf(app.server))
  })
  t.equal((await injectAs(app, ada)('/me')).body, '401')
})

t.test('a server that begins in the call, before the guard, carries no principal to the application', async t => {
  const servers: ReadonlyArray<readonly [string, () => Server]> =
    [['HTTP/1', () => createServer()], ['HTTP/2', () => createHttp2Server()]]
  for (const [name, create] of servers) {
    const app = Fastify()
    t.teardown(() => app.close())
    let begun = false
    app.addHook('onRequest', async (_request: FastifyRequest, reply: FastifyReply) => {
      if (begun) return
      begun = true
      const server = create().on('request', app.routing as never).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const port = portOf(server)
      const status = name === 'HTTP/1' ? (await fetch(`http://127.0.0.1:${port}/me`)).status : await http2Status(port)
      server.close()
      await reply.send({ status })
    })
    await app.register(gatehouse, { schemes: { web: schemes().web } })
    app.get('/me', async () => 'ok')
    t.same((await injectAs(app, ada)('/me')).json(), { status: 401 }, name)
  }
})

t.test('is refused in production', async t => {
  const { NODE_ENV } = process.env
  const restore = () => {
    if (NODE_ENV === undefined) delete process.env.NODE_ENV
    else process.env.NODE_ENV = NODE_ENV
  }
  t.teardown(restore)
  const app = await appWith(t)
  const clerk = injectAs(app, ada, { scheme: 'web' })
  process.env.NODE_ENV = 'production'
  t.match(message(() => injectAs(app, ada)), /^AUTH_MISCONFIGURED: injectAs\(\) is refused, because NODE_ENV/)
  t.match(await rejection(clerk('/me')), /^AUTH_MISCONFIGURED: injectAs\(\) is refused, because NODE_ENV/)
  restore()
  t.equal((await clerk('/me')).statusCode, 200)
})

t.test('names what is wrong with its arguments', async t => {
  const app = await appWith(t)
  const wrong: ReadonlyArray<readonly [() => unknown, RegExp]> = [
    [() => injectAs({ id: 'ann' } as never, ada), /: injectAs\(\) needs a Fastify application as its first argument/],
    [() => injectAs(null as never, ada), /: injectAs\(\) needs a Fastify application as its first argument/],
    [() => injectAs(app, ada, { scheme: new Array(1) as never }), /scheme\[0\] must be a non-empty string/],
    [() => injectAs(app, {} as Principal), /The principal of injectAs\(\) is wrong: .* non-empty string id/],
    [() => injectAs(app, ada, { schema: 'web' } as never), /options of injectAs\(\) have an unknown key 'schema'/],
    [() => injectAs(app, ada, { scheme: [] }), /The option injectAs\(\)\.scheme must name a scheme/],
    [() => injectAs(app, ada, { scheme: ['web', 7 as never] }), /injectAs\(\)\.scheme\[1\] must be a non-empty string/],
    [() => injectAs(app, ada, { authenticatedAt: new Date(NaN) }), /must be a valid Date/],
    [() => injectAs(app, ada, { authenticatedAt: '2030-01-01' as never }), /must be a valid Date\. Got/]
  ]
  for (const [run, expected] of wrong) t.match(message(run), expected)
  t.match(await rejection(injectAs(app, ada)('/me')), /needs the option scheme, .* web and service/)
  t.match(
    await rejection(injectAs(app, ada, { scheme: 'wbe' as never })('/me')),
    /names 'wbe', which is not among the schemes of the application\. Did you mean 'web'\?/
  )
  t.match(await rejection(injectAs(Fastify(), ada)('/me')), /got an application without fastify-gatehouse/)
})

t.test('the guard is unchanged before the first call', async t => {
  const program = `
    import Fastify from 'fastify'
    import gatehouse, { absent } from './lib/index.ts'
    import { injectAs } from './lib/testing/index.ts'
    import * as seam from './lib/guard/test-seam.ts'
    const app = Fastify()
    await app.register(gatehouse, { schemes: { a: { openapi: { type: 'mutualTLS' }, authenticate: () => absent } } })
    app.get('/', async () => 'ok')
    const ada = injectAs(app, { id: 'ada' })
    await app.inject('/')
    const before = seam.testSeam
    const { statusCode } = await ada('/')
    console.log(JSON.stringify([before, statusCode, seam.testSeam === null]))
  `
  const { stdout, stderr } = spawnSync(
    process.execPath, [typescript, '--input-type=module', '--eval', program], { cwd: root, env: cleanEnvironment() }
  )
  t.equal(String(stdout).trim(), '[null,200,false]', { stderr: String(stderr) })
})
