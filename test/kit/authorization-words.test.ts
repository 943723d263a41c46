import { randomBytes } from 'node:crypto'
import t from 'tap'
import { apiKey, basic, jwt, type ApiKeyOptions, type CredentialSource } from '../../lib/index.js'
import { createApplication } from '../fixtures/schemes.js'

const key = randomBytes(24).toString('base64url')

/** Returns the `Authorization` of HTTP Basic. */
const basicOf = (userPass: string): string => `Basic ${Buffer.from(userPass).toString('base64')}`

async function keysFrom (from: CredentialSource | readonly CredentialSource[], more: Partial<ApiKeyOptions> = {}) {
  const options = { keys: { [key]: { id: 'billing' } }, from, ...more } as ApiKeyOptions
  const { app } = await createApplication({ schemes: { service: apiKey(options) } })
  app.route({ method: ['GET', 'POST'], url: '/', handler: async request => ({ id: request.principal?.id }) })
  return async (authorization: string, headers: Record<string, string> = {}, method: 'GET' | 'POST' = 'GET') => {
    const answer = await app.inject({ url: '/', method, headers: { authorization, ...headers } })
    const { code = null } = answer.json<{ code?: string }>()
    return {
      status: answer.statusCode,
      code,
      challenge: answer.headers['www-authenticate'] ?? null,
      cache: answer.headers['cache-control'] ?? null
    }
  }
}

const entered = { status: 200, code: null, challenge: null, cache: null }

t.test('authorization:Token reads a credential after another word in Authorization', async t => {
  const ask = await keysFrom('authorization:Token')
  const challenge = 'Token realm="service"'
  for (const word of ['Token', 'token', 'TOKEN']) t.same(await ask(`${word} ${key}`), entered, word)
  t.match(await ask('Token wrong'), { status: 401, code: 'AUTH_INVALID_CREDENTIALS', challenge })
  for (const joined of [`Token ${key}, Token ${key}`, `Token ${key} ${key}`, 'Token', 'Token ']) {
    t.match(await ask(joined), { status: 401, code: 'AUTH_INVALID_CREDENTIALS' }, joined)
  }
  for (const other of [`Bearer ${key}`, basicOf(`${key}:`), `Tokens ${key}`]) {
    t.match(await ask(other), { status: 401, code: 'AUTH_REQUIRED', challenge }, other)
  }
  const named = await keysFrom('authorization:Token', { challenge: 'Key' })
  t.match(await named('Token wrong'), { challenge: /^Key/ })
})

t.test('basic:username reads a key as the user name of HTTP Basic, which browsers send by themselves', async t => {
  const ask = await keysFrom('basic:username')
  t.same(await ask(basicOf(`${key}:`)), entered)
  t.match(
    await ask(basicOf('wrong:')), { status: 401, code: 'AUTH_INVALID_CREDENTIALS', challenge: 'Basic realm="service"' }
  )
  for (const bad of [':', 'no colon', `${key}\n:`]) {
    t.match(await ask(basicOf(bad)), { status: 401, code: 'AUTH_INVALID_CREDENTIALS' }, JSON.stringify(bad))
  }
  t.match(
    await ask(basicOf(`${key}:password`)), { status: 401, code: 'AUTH_REQUIRED' }, 'a password is for another scheme'
  )
  t.match(await ask(`Bearer ${key}`), { status: 401, code: 'AUTH_REQUIRED' })
  const other = { 'sec-fetch-site': 'cross-site' }
  t.match(await ask(basicOf(`${key}:`), other, 'POST'), { status: 403, code: 'AUTH_CROSS_SITE' })
  const both = await keysFrom(['header:x-api-key', 'basic:username'])
  t.equal((await both(basicOf(`${key}:`), other, 'POST')).status, 403)
  t.equal((await both('', { 'x-api-key': key, ...other }, 'POST')).status, 200)
})

t.test('a place that has a name of its own, or a key that it cannot carry, stops the boot', async t => {
  const stops = (from: string, message: RegExp, keys = {}) =>
    t.rejects(keysFrom(from as 'bearer', keys), { code: 'AUTH_MISCONFIGURED', message })
  await stops('authorization:Bearer', /is 'authorization:Bearer'\. Write 'bearer'/)
  await stops('authorization:basic', /is 'authorization:basic'\. Write 'basic:username'/)
  await stops('authorization:', /must be 'bearer'/)
  await stops('basic:password', /must be 'bearer'/)
  await stops('basic:username', /ends at a colon/, { keys: { [`${key}:x`]: { id: 'a' } } })
})

t.test('a JWT may stand after a word of its own', async t => {
  const user = jwt({
    keys: key.padEnd(43, 'x'), issuer: 'https://id.test', audience: 'api', sign: true, from: 'authorization:JWT'
  })
  const { app } = await createApplication({ schemes: { user } })
  app.get('/', async () => ({}))
  const token = await app.gatehouse.tokens.issue({ id: 'ann' })
  t.equal((await app.inject({ url: '/', headers: { authorization: `JWT ${token}` } })).statusCode, 200)
  t.equal((await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })).statusCode, 401)
})

t.test('basic refuses empty passwords, unless emptyPassword says that verify decides', async t => {
  const verify = (username: string, password: string) => password === '' ? { id: username } : null
  const ask = async (options: object) => {
    const { app } = await createApplication({ schemes: { ops: basic({ verify, ...options }) } })
    app.get('/', async () => ({}))
    const statusOf = async (userPass: string) => (
      await app.inject({ url: '/', headers: { authorization: basicOf(userPass) } })
    ).statusCode
    return [await statusOf('ada:'), await statusOf('ada:wrong'), await statusOf(':')]
  }
  t.same(await ask({}), [401, 401, 401])
  t.same(await ask({ emptyPassword: 'verify' }), [200, 401, 401])
  await t.rejects(ask({ emptyPassword: true }), { message: /schemes\.ops\.emptyPassword must be 'verify'/ })
  const users = { ada: { password: 'correct horse battery' } }
  await t.rejects(createApplication({ schemes: { ops: basic({ users, emptyPassword: 'verify' } as never) } }), {
    message: /schemes\.ops\.emptyPassword is only used by verify/
  })
})
