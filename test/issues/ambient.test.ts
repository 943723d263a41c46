import { randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import t from 'tap'
import {
  absent,
  apiKey,
  authenticated,
  jwt,
  memoryStore,
  read,
  type GatehouseOptions,
  type CredentialSource,
  type Scheme
} from '../../lib/index.js'
import { createApplication, handler } from '../fixtures/schemes.js'

const key = randomBytes(24).toString('base64url')
const other = randomBytes(24).toString('base64url')
const secret = randomBytes(32)
const claims = { issuer: 'https://id.test', audience: 'api', keys: secret }
const sign = (sub: string) =>
  new SignJWT({ sub, iss: claims.issuer, aud: claims.audience })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1m')
    .sign(secret)
const [token, second] = [await sign('ann'), await sign('bob')]

/** The headers of a browser for a request that another site caused. */
const foreignSite = { host: 'gate.test', origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }

async function asking (scheme: GatehouseOptions['schemes'][string]) {
  const { app } = await createApplication({ schemes: { it: scheme }, store: memoryStore() })
  app.post('/', handler().handler)
  app.post('/try', { config: { auth: { mode: 'try' } } }, handler().handler)
  const ask = async (headers: Record<string, string>, url = '/'): Promise<string> => {
    const answer = await app.inject({ method: 'POST', url, headers: { ...foreignSite, ...headers } })
    return answer.statusCode === 200 ? '200' : `${answer.statusCode} ${(answer.json() as { code: string }).code}`
  }
  return { app, ask }
}

t.test('checks the site only for a credential in the cookie if a scheme reads Bearer and a cookie', async t => {
  const from = ['bearer', 'cookie:token'] as const
  const mapped = { ...claims, principal: async ({ sub }: { sub?: unknown }) => ({ id: String(sub) }) }
  for (const scheme of [
    jwt({ ...claims, from }),
    jwt({ ...claims, from: [...from].reverse() }),
    jwt({ ...mapped, from })
  ]) {
    const { ask } = await asking(scheme)
    const bearer = { authorization: `Bearer ${token}` }
    for (const time of ['first', 'remembered']) {
      t.equal(await ask(bearer), '200', time)
      t.equal(await ask({ cookie: `token=${token}` }), '403 AUTH_CROSS_SITE', time)
      t.equal(await ask({ cookie: `token=${token}` }, '/try'), '403 AUTH_CROSS_SITE', time)
      t.equal(
        await ask({ ...bearer, cookie: `token=${token}` }),
        '200',
        `${time}: the same in both is one credential, which a script sent`
      )
      t.equal(
        await ask({ ...bearer, cookie: `token=${second}` }),
        '401 AUTH_INVALID_CREDENTIALS',
        `${time}: two different ones are as bad as ever`
      )
    }
    t.equal(await ask({ cookie: `token=${token}`, 'sec-fetch-site': 'same-origin' }), '200')
  }
})

t.test('does the same for API keys in every pair of a cookie and another source', async t => {
  const carry: Readonly<Record<string, (value: string) => { headers?: Record<string, string>, url?: string }>> = {
    bearer: value => ({ headers: { authorization: `Bearer ${value}` } }),
    'header:x-api-key': value => ({ headers: { 'x-api-key': value } }),
    'query:key': value => ({ url: `/?key=${value}` })
  }
  for (const [place, put] of Object.entries(carry)) {
    const { app, ask } = await asking(
      apiKey({
        from: ['cookie:key', place as CredentialSource],
        keys: { [key]: { id: 'ann' }, [other]: { id: 'bob' } }
      })
    )
    const { headers = {}, url } = put(key)
    t.equal(await ask(headers, url), '200', place)
    t.equal(await ask({ ...headers, cookie: `key=${key}` }, url), '200', place)
    t.equal(await ask({ cookie: `key=${key}` }), '403 AUTH_CROSS_SITE', place)
    t.equal(
      await ask({ ...headers, cookie: `key=${other}` }, url),
      '401 AUTH_INVALID_CREDENTIALS',
      `${place}: what another site can add does not make a cookie its own`
    )
    await app.close()
  }
  const { app, ask } = await asking(apiKey({ from: ['header:x-api-key', 'cookie:key'], managed: { prefix: 'acme' } }))
  await app.ready()
  const made = await app.gatehouse.apiKeys.of({ realm: 'staff', id: 'ann' }).create({ name: 'laptop' })
  t.equal(await ask({ 'x-api-key': made.key }), '200')
  t.equal(await ask({ cookie: `key=${made.key}` }), '403 AUTH_CROSS_SITE')
})

t.test('accepts the same credential in two sources that are not ambient', async t => {
  const { ask } = await asking(
    apiKey({ from: ['header:x-api-key', 'bearer'], keys: { [key]: { id: 'ann' }, [other]: { id: 'bob' } } })
  )
  t.equal(await ask({ 'x-api-key': key, authorization: `Bearer ${key}` }), '200')
  t.equal(await ask({ 'x-api-key': key, authorization: `Bearer ${other}` }), '401 AUTH_INVALID_CREDENTIALS')
  t.equal(
    await ask({ 'x-api-key': `${key}, ${key}`, authorization: `Bearer ${key}` }),
    '401 AUTH_INVALID_CREDENTIALS',
    'one place that holds two stays refused'
  )
})

t.test('treats two cookies as ambient, even with equal values', async t => {
  const { ask } = await asking(apiKey({ from: ['cookie:one', 'cookie:two'], keys: { [key]: { id: 'ann' } } }))
  t.equal(await ask({ cookie: `one=${key}; two=${key}` }), '403 AUTH_CROSS_SITE')
})

t.test('lets a custom scheme report the source of the credential in its outcome', async t => {
  const own = (ambient: boolean, reported: unknown): Scheme => ({
    openapi: { type: 'apiKey', in: 'header', name: 'x-own' },
    ambient,
    authenticate (request) {
      const id = read(request, 'header:x-own')
      return typeof id === 'string' ? authenticated({ id }, { ambient: reported as boolean }) : absent
    }
  })
  const cases: ReadonlyArray<readonly [boolean, unknown, boolean]> = [
    [true, undefined, true],
    [true, null, true],
    [true, true, true],
    [true, false, false],
    [false, null, false],
    [false, true, true],
    [false, 'yes', true]
  ]
  for (const [scheme, outcome, refused] of cases) {
    const { ask } = await asking(own(scheme, outcome))
    t.equal(
      await ask({ 'x-own': 'ann' }),
      refused ? '403 AUTH_CROSS_SITE' : '200',
      `${String(scheme)}, ${String(outcome)}`
    )
  }
})
