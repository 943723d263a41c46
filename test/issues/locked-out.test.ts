import Fastify from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { basic } from '../../lib/index.js'

const right = 'correct horse'

/** Creates an application with Basic and a login of its own. All requests come from one address, that of `inject`. */
async function createApp (t: Test) {
  const app = Fastify()
  t.teardown(() => app.close())
  const check = (user: string, password: string) => password === right ? { id: user } : null
  await app.register(gatehouse, { schemes: { ops: basic({ verify: check }) } })
  app.get('/ops', async () => 'in')
  app.post<{ Body: Record<'user' | 'password', string> }>(
    '/login',
    { config: { auth: { public: 'the way in' } } },
    async ({ body: { user, password } }, reply) =>
      (await app.gatehouse.guesses.attempt(reply, user, () => check(user, password))) ?? reply.code(401).send()
  )
  const login = async (user: string, password = 'wrong') =>
    (await app.inject({ method: 'POST', url: '/login', payload: { user, password } })).statusCode
  const ask = async (user: string, password = 'wrong') =>
    (
      await app.inject({
        url: '/ops',
        headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
      })
    ).statusCode
  return { login, ask }
}

t.test('admits a person after three typos and two wrong guesses at other accounts', async t => {
  const { login, ask } = await createApp(t)
  t.same([await login('ben'), await ask('ops')], [401, 401], 'the two lines that the example prints')
  t.same([await login('ada'), await login('ada'), await login('ada')], [401, 401, 401])
  t.equal(await login('ada', right), 200)
})

t.test('admits an office in which nine people mistype three times', async t => {
  const { login } = await createApp(t)
  for (let i = 0; i < 27; i++) t.equal(await login(`person ${i % 9}`), 401)
  for (let i = 0; i < 9; i++) t.equal(await login(`person ${i}`, right), 200)
})

t.test('still answers 429 to the sixth guess at an account, and the thirty-first from an address', async t => {
  const account = await createApp(t)
  for (let i = 0; i < 5; i++) t.equal(await account.login('ada'), 401)
  t.equal(await account.login('ada', right), 429)
  t.equal(await account.login('ben', right), 200, 'nobody else is locked')
  const address = await createApp(t)
  for (let i = 0; i < 30; i++) t.equal(await (i % 2 === 0 ? address.login : address.ask)(`person ${i}`), 401)
  t.equal(await address.login('ada', right), 429)
})
