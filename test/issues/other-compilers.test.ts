import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod'
import t from 'tap'
import authPlugin, { apiKey, apiKeyRoutes, session } from '../../lib/index.js'

/** Routes of the plugin in applications whose own schemas are compiled in another way. */

const secret = randomBytes(32).toString('base64url')

const applications: Readonly<Record<string, () => FastifyInstance>> = {
  'the compilers of zod' () {
    return Fastify().setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler)
  },
  'a serializer that sends nothing' () {
    return Fastify().setSerializerCompiler(() => () => '')
  },
  'Ajv that keeps unknown fields' () {
    return Fastify({ ajv: { customOptions: { removeAdditional: false } } })
  }
}

for (const [name, create] of Object.entries(applications)) {
  t.test(`validates and answers the requests of apiKeyRoutes in an application with ${name}`, async t => {
    const app = create()
    t.teardown(() => app.close())
    await app.register(authPlugin, {
      schemes: { web: session({ secret }), service: apiKey({ managed: { prefix: 'acme' } }) },
      default: ['web', 'service']
    })
    app.post('/login', { config: { auth: { public: 'a login' } } }, async (_request, reply) => {
      await reply.login({ id: 'ada' })
      return reply.code(204).send()
    })
    await app.register(apiKeyRoutes, { prefix: '/keys' })

    const login = await app.inject({ method: 'POST', url: '/login' })
    const cookies = Object.fromEntries(login.cookies.map(({ name, value }) => [name, value]))
    const call = async (method: 'GET' | 'POST' | 'DELETE', path: string, body: object = {}) =>
      app.inject({ method, url: `/keys${path}`, cookies, ...method === 'POST' ? { payload: body } : {} })

    const created = await call('POST', '', { name: 'laptop', owner: { realm: 'web', id: 'bob' } })
    t.equal(created.statusCode, 201, created.body)
    const { key, record: { id, owner } } = created.json()
    t.same(owner, { realm: 'web', id: 'ada' })
    t.equal((await app.inject({ url: '/keys', headers: { 'x-api-key': key } })).statusCode, 401)
    const wrong = await call('POST', '', { name: '' })
    t.equal(wrong.statusCode, 400)
    t.match(wrong.json().message, /body\/name/)
    t.equal((await call('POST', `/${id}/rotate`, {})).statusCode, 400)
    t.equal((await call('POST', `/${id}/rotate`, { overlap: 60 })).statusCode, 201)
    t.equal((await call('GET', '')).json().keys.length, 2)
    t.equal((await call('DELETE', `/${id}`)).statusCode, 204)
  })
}
