import cors, { type FastifyCorsOptions } from '@fastify/cors'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import t from 'tap'
import gatehouse from '../../lib/index.js'
import { alice, counted, guarded, stopsTheBoot, tokenScheme } from '../fixtures/routes.js'

const origin = 'https://app.example.com'
const preflight = { method: 'OPTIONS', url: '/x', headers: { origin, 'access-control-request-method': 'GET' } } as const
const hooks = ['onRequest', 'preParsing', 'preValidation', 'preHandler'] as const
const stages = ['preParsing', 'preHandler'] as const
const orders = ['before', 'after'] as const

/** Creates an application with @fastify/cors, and with the plugin unless `stage` is null. */
async function application (
  options: FastifyCorsOptions,
  order: (typeof orders)[number],
  stage: (typeof stages)[number] | null
): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  if (order === 'before') await app.register(cors, options)
  if (stage !== null) await app.register(gatehouse, { schemes: { user: tokenScheme() }, stage })
  if (order === 'after') await app.register(cors, options)
  app.get('/x', counted().handler)
  return app
}

const comparable = ({
  statusCode,
  headers,
  body
}: {
  statusCode: number
  headers: Record<string, unknown>
  body: string
}) => ({
  statusCode,
  allowed: headers['access-control-allow-origin'],
  methods: headers['access-control-allow-methods'],
  body
})

t.test('leaves what @fastify/cors answers itself unchanged, with every hook', async t => {
  const configurations: readonly FastifyCorsOptions[] = [
    { origin: true },
    { origin },
    { origin: true, hideOptionsRoute: false },
    { origin: true, credentials: true, optionsSuccessStatus: 200, maxAge: 60, methods: ['GET', 'DELETE'] },
    { delegator: (_request, callback) => { callback(null, { origin: true }) } }
  ]
  for (const options of configurations) {
    for (const hook of hooks) {
      const expected = comparable(await (await application({ ...options, hook }, 'before', null)).inject(preflight))
      t.equal(expected.allowed, origin)
      for (const stage of stages) {
        for (const order of orders) {
          const app = await application({ ...options, hook }, order, stage)
          t.same(
            comparable(await app.inject(preflight)),
            expected,
            `${hook}, ${order}, ${stage}: ${Object.keys(options).join()}`
          )
        }
      }
    }
  }
})

t.test('answers 401 to what @fastify/cors leaves to its route, unless there is a credential', async t => {
  const configurations: readonly FastifyCorsOptions[] = [
    { origin: true, preflight: false },
    { origin: true, preflightContinue: true },
    { origin: false },
    { origin: true, preflight: false, hideOptionsRoute: false }
  ]
  for (const options of configurations) {
    for (const hook of hooks) {
      const expected = comparable(await (await application({ ...options, hook }, 'before', null)).inject(preflight))
      for (const stage of stages) {
        for (const order of orders) {
          const app = await application({ ...options, hook }, order, stage)
          const message = `${hook}, ${order}, ${stage}: ${JSON.stringify(options)}`
          const refused = await app.inject(preflight)
          t.same(
            [refused.statusCode, refused.headers['www-authenticate'], refused.headers['cache-control']],
            [401, 'Token realm="test"', 'no-store'],
            message
          )
          t.equal(
            (await app.inject({ ...preflight, headers: { ...preflight.headers, 'x-user': 'wrong' } })).statusCode,
            401,
            message
          )
          t.equal(
            (await app.inject({ ...preflight, headers: { ...preflight.headers, ...alice } })).statusCode,
            expected.statusCode,
            message
          )
        }
      }
    }
  }
})

t.test('answers 401 to a request that is not a preflight and is not answered by @fastify/cors', async t => {
  for (const order of orders) {
    const app = await application({ origin: false, strictPreflight: false }, order, 'preParsing')
    t.equal((await app.inject({ method: 'OPTIONS', url: '/anything' })).statusCode, 401, order)
    t.equal((await app.inject({ method: 'OPTIONS', url: '/anything', headers: alice })).statusCode, 404, order)
  }
})

t.test('guards an OPTIONS * of the application, with a prefix and hidden', async t => {
  for (const order of orders) {
    for (const hook of hooks) {
      const app = Fastify() as unknown as FastifyInstance
      const page = counted()
      const child = async (inner: FastifyInstance): Promise<void> => {
        inner.options('*', { schema: { hide: true } as never }, page.handler)
      }
      const options = { origin: true, hook, preflight: false }
      if (order === 'before') await app.register(cors, options)
      await app.register(gatehouse, { schemes: { user: tokenScheme() } })
      await app.register(child, { prefix: '/child' })
      if (order === 'after') await app.register(cors, options)
      t.equal((await app.inject({ ...preflight, url: '/child/x' })).statusCode, 401, `${hook}, ${order}`)
      t.equal(page.reached, 0)
      t.equal(
        (await app.inject({ ...preflight, url: '/child/x', headers: { ...preflight.headers, ...alice } })).statusCode,
        200
      )
      const row = app.gatehouse.audit().find(({ url }) => url === '/child*')
      t.match(row, { method: 'OPTIONS', access: 'required', stage: 'preParsing' })
    }
  }
})

t.test('applies the default of the context to the route of @fastify/cors, and shows it in the audit', async t => {
  const app = await guarded({ schemes: { user: tokenScheme() }, default: { schemes: 'user' } })
  await app.register(
    async inner => {
      inner.gatehouse.default({ scopes: 'orders:write' })
      await inner.register(cors, { origin: true, preflight: false })
    },
    { prefix: '/api' }
  )
  const status = async (headers: Record<string, string>) =>
    (await app.inject({ method: 'OPTIONS', url: '/api/x', headers })).statusCode
  t.same([await status({}), await status(alice), await status({ 'x-user': 'boss' })], [401, 403, 404])
  t.match(
    app.gatehouse.audit().find(row => row.method === 'OPTIONS'),
    {
      url: '/api*',
      access: 'required',
      rules: ['scope orders:write'],
      from: 'default + group /api',
      stage: 'preHandler'
    }
  )
})

t.test('stops the boot if an onRoute hook removes the guard from the route of @fastify/cors', async t => {
  const app = await guarded()
  app.addHook('onRoute', route => {
    if (route.method === 'OPTIONS') delete (route as Partial<RouteOptions>).preHandler
  })
  await app.register(cors, { origin: true })
  await stopsTheBoot(
    t,
    async () => {
      await app.ready()
    },
    'OPTIONS * lost the preHandler hook by which fastify-gatehouse guards it',
    'Let it add to them'
  )
})
