import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import gatehouse, { memoryStore, session, type SchemeFactory } from '../../lib/index.js'
import type { GrantRecord } from '../../types/tokens.js'
import { createApplication, scripted, sessionFeature } from '../fixtures/schemes.js'

t.test('calls the features of a factory that returns { scheme, features }, and guards with the scheme', async t => {
  const calls: string[] = []
  const keys = {
    get: async () => null,
    update: async () => null,
    revoke: async (id: string) => id === 'mine',
    rotate: async () => null
  }
  const own: SchemeFactory = () => ({
    scheme: scripted('own'),
    features: {
      sessions: sessionFeature({ login: async (_request, _reply, { id }) => { calls.push(`login ${id}`) } }),
      tokens: { issue: async ({ id }) => `token of ${id}` },
      apiKeys: {
        of: ({ id }) => ({
          ...keys,
          create: async () => {
            throw new Error('none')
          },
          list: async () => {
            calls.push(`list ${id}`)
            return []
          }
        }),
        ofAnyOwner: () => keys,
        revokeLeaked: async key => { calls.push(`leaked ${key}`) }
      }
    }
  })
  const { app } = await createApplication({ schemes: { own } })
  app.get('/', async ({ principal }) => principal)
  app.get('/back', { config: { auth: { public: 'says where to' } } }, async request => {
    return app.gatehouse.sessions.returnTo(request, '/home')
  })
  app.post('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  t.equal((await app.inject({ url: '/', headers: { 'x-own': 'ann' } })).statusCode, 200)
  t.equal((await app.inject('/')).statusCode, 401)
  t.equal((await app.inject({ method: 'POST', url: '/login' })).statusCode, 200)
  const { apiKeys, sessions, tokens } = app.gatehouse
  t.same([apiKeys.schemes, sessions.schemes], [['own'], ['own']])
  t.equal(await tokens.issue({ id: 'ann' }), 'token of ann')
  t.same(await apiKeys.of({ realm: 'own', id: 'ann' }).list(), [])
  t.equal(await apiKeys.ofAnyOwner().revoke('mine'), true)
  await apiKeys.revokeLeaked('key')
  t.same(calls, ['login ann', 'list ann', 'leaked key'])
  t.equal((await app.inject('/back')).body, '/home', 'a scheme without returnTo leaves the fallback')
})

t.test('stops the boot if a factory returns neither a scheme nor { scheme, features }', async t => {
  const wrong: unknown[] = [
    undefined,
    null,
    {},
    { scheme: {}, features: {} },
    { scheme: scripted('own') },
    { scheme: scripted('own'), features: null }
  ]
  for (const made of wrong) {
    await t.rejects(createApplication({ schemes: { own: (() => made) as SchemeFactory } }), {
      code: 'AUTH_MISCONFIGURED',
      message: /schemes\.own is a function that returned no scheme.*\{ scheme, features \}/
    })
  }
})

t.test('stops the boot for features and descriptions that would fail while requests are served', async t => {
  const scheme = scripted('own')
  const describing = (openapi: object) => () => ({ ...scripted('own'), openapi })
  const wrong: ReadonlyArray<readonly [make: () => unknown, message: RegExp]> = [
    [() => ({ scheme, features: { apiKey: {} } }), /schemes\.own\.features has an unknown key.*Did you mean 'apiKeys'/],
    [() => ({ scheme, features: { tokens: undefined } }), /'tokens' set to undefined/],
    [() => ({ scheme, features: { tokens: 5 } }), /schemes\.own\.features\.tokens must be an object. Got 5/],
    [() => ({ scheme, features: { routes: {} } }), /schemes\.own\.features\.routes must be a function/],
    [() => ({ scheme, features: { routes: async () => {} } }), /schemes\.own\.features\.routes must .* at once/],
    [
      () => ({ scheme, features: { routes: async () => { throw new Error('lost') } } }),
      /schemes\.own\.features\.routes must declare its routes at once\. It returned a promise\. Prepare/
    ],
    [describing({ type: 'http', scheme: 'my scheme' }), /schemes\.own\.openapi\.scheme must be.*Got 'my scheme'/],
    [describing({ type: 'http' }), /schemes\.own\.openapi\.scheme must be.*Got undefined/]
  ]
  for (const [make, message] of wrong) {
    const own = make as SchemeFactory
    await t.rejects(createApplication({ schemes: { own } }), { code: 'AUTH_MISCONFIGURED', message })
  }
})

t.test('sessions.of() acts on all schemes with sessions, or on the named one', async t => {
  const app = Fastify() as unknown as FastifyInstance
  t.teardown(() => app.close())
  const secret = randomBytes(32).toString('base64url')
  await app.register(gatehouse, {
    schemes: { web: session({ secret }), staff: session({ secret }), plain: scripted('plain') },
    default: ['web', 'staff'],
    store: memoryStore()
  })
  app.post('/login/:scheme', { config: { auth: { public: 'logs in' } } }, async (request, reply) => {
    await reply.login({ realm: 'people', id: 'ann' }, { scheme: (request.params as { scheme: 'web' }).scheme })
    return {}
  })
  const { sessions } = app.gatehouse
  const ann = { realm: 'people', id: 'ann' }
  for (const scheme of ['web', 'staff']) await app.inject({ method: 'POST', url: `/login/${scheme}` })
  t.equal((await sessions.of(ann).list()).length, 2)
  const [web] = await sessions.of(ann, { scheme: 'web' }).list()
  t.equal(await sessions.ofAnyOwner({ scheme: 'staff' }).revoke(web?.id ?? ''), false)
  t.equal(await sessions.of({ realm: 'people', id: 'bob' }).revoke(web?.id ?? ''), false)
  await sessions.of(ann, { scheme: 'staff' }).revokeAll()
  t.same((await sessions.of(ann).list()).map(({ id }) => id), [web?.id])
  t.equal(await sessions.ofAnyOwner().revoke(web?.id ?? ''), true)
  t.throws(() => sessions.of(ann, { scheme: 'plain' }), {
    code: 'AUTH_FAULT',
    detail: "the scheme 'plain' cannot keep sessions. Known: 'web' or 'staff'"
  })
  t.throws(() => sessions.of(undefined as never), { code: 'AUTH_FAULT' })
})

t.test('sessions.returnTo() returns the path of the scheme that has one', async t => {
  const web = sessionFeature({ returnTo: (_request, fallback) => fallback })
  const staff = sessionFeature({ returnTo: ({ url }, fallback) => url === '/back' ? '/orders' : fallback })
  const { app } = await createApplication({
    schemes: {
      web: () => ({ scheme: scripted('web'), features: { sessions: web } }),
      staff: () => ({ scheme: scripted('staff'), features: { sessions: staff } })
    },
    default: ['web', 'staff']
  })
  for (const url of ['/back', '/other']) {
    app.get(url, { config: { auth: false } }, async request => app.gatehouse.sessions.returnTo(request, '/home'))
  }
  t.equal((await app.inject('/back')).body, '/orders')
  t.equal((await app.inject('/other')).body, '/home')
})

t.test('tokens.of() lists a grant of several schemes once, and tokens.jwks() needs the name of an issuer', async t => {
  const grant = (id: string, lastUsedAt: string) => ({ id, lastUsedAt }) as GrantRecord
  const shared = grant('shared', '2030-01-02T00:00:00.000Z')
  const issuing = (name: string, grants: readonly GrantRecord[]): SchemeFactory => () => ({
    scheme: scripted(name),
    features: {
      tokens: {
        issue: async () => '',
        of: () => ({ list: async () => grants, revoke: async () => false, revokeAll: async () => {} }),
        jwks: () => ({ keys: [{ kty: 'OKP', kid: name }] })
      }
    }
  })
  const schemes = {
    one: issuing('one', [grant('old', '2030-01-01T00:00:00.000Z'), shared]),
    two: issuing('two', [shared, grant('new', '2030-01-03T00:00:00.000Z')])
  }
  const { tokens } = (await createApplication({ schemes, default: ['one', 'two'] })).app.gatehouse
  const list = async (scheme?: 'one') => await tokens.of({ realm: 'people', id: 'ann' }, scheme && { scheme }).list()
  t.same((await list()).map(({ id }) => id), ['new', 'shared', 'old'])
  t.same((await list('one')).map(({ id }) => id), ['shared', 'old'])
  t.match(tokens.jwks({ scheme: 'two' as never }), { keys: [{ kid: 'two' }] })
  t.throws(() => tokens.jwks(), { code: 'AUTH_FAULT', detail: /^several schemes can sign tokens/ })
  const { tokens: ofOne } = (await createApplication({ schemes: { one: schemes.one } })).app.gatehouse
  t.match(ofOne.jwks(), { keys: [{ kid: 'one' }] })
  t.throws(() => ofOne.jwks({ scheme: 'two' as never }), { code: 'AUTH_FAULT', detail: /Known: 'one'/ })
})

t.test('lets a scheme answer with several challenges', async t => {
  const challenge = () => ['Bearer', 'DPoP'].map(scheme => ({ scheme, params: { realm: 'own' } }))
  const { app } = await createApplication({ schemes: { own: scripted('own', { challenge }) } })
  app.get('/', async () => 'in')
  t.equal((await app.inject('/')).headers['www-authenticate'], 'Bearer realm="own", DPoP realm="own"')
})
