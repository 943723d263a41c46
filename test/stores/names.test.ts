import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, basic, jwt, session, type Store } from '../../lib/index.js'
import { random } from '../fixtures/secrets.js'
import { token } from '../fixtures/tokens.js'
import { backends } from './fixtures/backends.js'

/** Names that no store accepts. */
const unstorable: readonly string[] = ['\0', 'ann\0', '\ud800', 'ann\udfff']

const jwtSecret = random()
const claims = { iss: 'https://id.test', aud: 'https://api.test', exp: 4e9 }

async function started (t: Test, store: Store): Promise<FastifyInstance> {
  const app = Fastify() as unknown as FastifyInstance
  await app.register(gatehouse, {
    schemes: {
      service: apiKey({ managed: { prefix: 'acme' } }),
      user: jwt({ keys: jwtSecret, issuer: claims.iss, audience: claims.aud }),
      web: session({ secret: random() }),
      ops: basic({ verify: () => null })
    },
    default: ['service', 'user', 'web', 'ops'],
    store,
    limits: { guesses: { perAddress: 1_000 } },
    publicPaths: ['/login', '/logout-other']
  })
  app.get('/', async ({ principal }) => principal)
  app.post<{ Body: { name: string } }>('/login', async (request, reply) => {
    const person = await app.gatehouse.guesses.attempt(reply, request.body.name, () => null)
    return person ?? reply.code(401).send({ wrong: true })
  })
  app.post<{ Body: { id: string } }>('/logout-other', async ({ body: { id } }) => {
    const ann = { realm: 'web', id: 'ann' }
    await app.gatehouse.sessions.of(ann).revokeAll({ except: id })
    return [
      await app.gatehouse.sessions.ofAnyOwner().revoke(id), await app.gatehouse.apiKeys.ofAnyOwner().get(id),
      await app.gatehouse.apiKeys.of(ann).revoke(id)
    ]
  })
  await app.ready()
  t.teardown(() => app.close())
  return app
}

for (const { name, skip, make } of await backends()) {
  t.test(`answers names of requests that ${name} cannot store with a refusal, never with 500`, { skip }, async t => {
    const store = make(t).open()
    await store.migrate()
    const app = await started(t, store)
    for (const text of unstorable) {
      const get = async (headers: Record<string, string>): Promise<number> => (
        await app.inject({ url: '/', headers })
      ).statusCode
      const sent = Buffer.from(`${text}:password`).toString('base64')
      t.equal(await get({ authorization: `Basic ${sent}` }), 401, 'Basic')
      const presented = token({ ...claims, sub: text }, { alg: 'HS256', key: jwtSecret })
      t.equal(await get({ authorization: `Bearer ${presented}` }), 401, 'a token with the name as its sub')
      t.equal(await get({ 'x-api-key': `acme_${text}` }), 401, 'an API key')
      t.equal(
        await get({ cookie: `__Host-web=${encodeURIComponent(Buffer.from(text).toString('latin1'))}` }),
        401,
        'a session'
      )
      t.equal((await app.inject({ method: 'POST', url: '/login', payload: { name: text } })).statusCode, 401, 'a guess')
      const ids = await app.inject({ method: 'POST', url: '/logout-other', payload: { id: text } })
      t.same([ids.statusCode, ids.json()], [200, [false, null, false]], 'ids of sessions and keys')
    }
  })
}
