import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import t from 'tap'
import gatehouse, { apiKey, basic, jwt, session, type GatehouseOptions, type SchemeFactory } from '../../lib/index.js'
import { createApplication, scripted } from '../fixtures/schemes.js'

const key = randomBytes(24).toString('base64url')
const secret = randomBytes(32).toString('base64url')

/**
 * Returns the ids of the principals in some properties of a request: `null` for `null`, and none for a missing
 * property.
 */
const idsOf = (request: FastifyRequest, names: readonly string[]): Record<string, unknown> => {
  const fields = request as unknown as Readonly<Record<string, { readonly id: string } | null>>
  return Object.fromEntries(names.filter(name => name in request).map(name => [name, fields[name]?.id ?? null]))
}

t.test('decorate adds the principal of a scheme to the request, or null', async t => {
  const names = ['user', 'service', 'operator', 'visitor']
  const schemes = {
    user: scripted('user', { decorate: true }),
    service: apiKey({ keys: { [key]: { id: 'billing' } }, decorate: true }),
    ops: basic({ users: { ada: { password: 'correct horse battery' } }, decorate: 'operator' }),
    web: session({ secret, decorate: 'visitor' }),
    plain: scripted('plain')
  }
  const { app } = await createApplication({ schemes, default: ['user', 'service', 'ops', 'web', 'plain'] })
  app.addHook(
    'onRequest',
    async request => { t.same(idsOf(request, names), { user: null, service: null, operator: null, visitor: null }) }
  )
  app.get('/', request => idsOf(request, [...names, 'plain']))
  app.get('/both', { config: { auth: { schemes: { all: ['service', 'user'] } } } }, request => idsOf(request, names))
  app.get('/public', { config: { auth: false } }, request => idsOf(request, names))
  app.post(
    '/login', { config: { auth: false } }, async (_request, reply) => { await reply.login({ id: 'eve' }); return {} }
  )
  const cookie = (
    await app.inject({ method: 'POST', url: '/login' })
  ).cookies.map(({ name, value }) => `${name}=${value}`).join()
  const none = { user: null, service: null, operator: null, visitor: null }
  const ask = async (url: string, headers: Record<string, string>) => (
    await app.inject({ url, headers })
  ).json<unknown>()
  t.same(await ask('/', { 'x-user': 'ann' }), { ...none, user: 'ann' })
  t.same(await ask('/', { 'x-api-key': key }), { ...none, service: 'billing' })
  const authorization = `Basic ${Buffer.from('ada:correct horse battery').toString('base64')}`
  t.same(await ask('/', { authorization }), { ...none, operator: 'ada' })
  t.same(await ask('/', { cookie }), { ...none, visitor: 'eve' })
  t.same(await ask('/', { 'x-plain': 'bob' }), none)
  t.same(await ask('/both', { 'x-user': 'ann', 'x-api-key': key }), { ...none, user: 'ann', service: 'billing' })
  t.same(await ask('/public', { 'x-user': 'ann' }), none)
})

t.test('decorate works for the tokens of jwt', async t => {
  const options = { keys: secret, issuer: 'https://id.test', audience: 'api', sign: true, decorate: true } as const
  const { app } = await createApplication({ schemes: { user: jwt(options) } })
  app.get('/', request => idsOf(request, ['user']))
  const authorization = `Bearer ${await app.gatehouse.tokens.issue({ id: 'ann' })}`
  t.same((await app.inject({ url: '/', headers: { authorization } })).json(), { user: 'ann' })
})

t.test('a name that is taken, or is not a name, stops the boot', async t => {
  const boot = (schemes: Record<string, unknown>, before?: (app: FastifyInstance) => unknown) =>
    createApplication({ schemes, default: 'user' } as unknown as GatehouseOptions, {}, before)
  const other = fp(async app => { app.decorateRequest('user', '') }, { name: 'other-auth' })
  const stops = (schemes: Record<string, unknown>, message: RegExp, before?: (app: FastifyInstance) => unknown) =>
    t.rejects(boot(schemes, before), { code: 'AUTH_MISCONFIGURED', message })
  const user = scripted('user', { decorate: true })
  await stops(
    { user },
    /schemes\.user\.decorate needs request\.user, which exists already.*registered here: other-auth.*userPrincipal/,
    app => app.register(other)
  )
  await stops(
    { user },
    /request\.user, which exists already: it belongs to Fastify, to another scheme or to another plugin\./,
    app => { app.decorateRequest('user', '') }
  )
  await stops({ user, other: scripted('other', { decorate: 'user' }) }, /schemes\.other\.decorate needs request\.user/)
  for (const decorate of ['auth', 'principal', 'id', 'body', 'ip', 'constructor']) {
    await stops(
      { user: scripted('user', { decorate }) }, new RegExp(`needs request\\.${decorate}, which exists already`)
    )
  }
  for (const decorate of [false, '', 'a b', 7, '__proto__']) {
    const message = /schemes\.user\.decorate must be true, or the name of a property of request/
    await stops({ user: scripted('user', { decorate: decorate as true }) }, message)
    await stops(
      { user: basic({ users: { ada: { password: 'correct horse battery' } }, decorate: decorate as true }) }, message
    )
  }
  const own: SchemeFactory = () => scripted('own', { decorate: null })
  await t.resolves(boot({ user: own }))
})

t.test('request.auth or request.principal of another plugin stops the boot with the names of the plugins', async t => {
  for (const name of ['auth', 'principal']) {
    const app = Fastify()
    await app.register(fp(async app => { app.decorateRequest(name, null) }, { name: '@clerk/fastify' }))
    await t.rejects(async () => { await app.register(gatehouse, { schemes: { user: scripted('user') } }) }, {
      code: 'AUTH_MISCONFIGURED',
      message: new RegExp(
        `fastify-gatehouse needs request\\.${name}, which another plugin.*@clerk/fastify.*context of its own`
      )
    })
  }
})
