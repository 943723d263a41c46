import { randomBytes } from 'node:crypto'
import { SignJWT } from 'jose'
import t from 'tap'
import {
  apiKey, authenticated, AuthError, basic, jwt, session, type GatehouseOptions, type Scheme
} from '../../lib/index.js'
import { createApplication, handler, listen, scripted, send, sessionFeature } from '../fixtures/schemes.js'

const sites = [undefined, 'same-origin', 'none', 'same-site', 'cross-site', '', 'same-origin, cross-site'] as const
const own = 'http://gate.test'
const configured = 'https://app.test'
const origins = [
  undefined,
  own,
  configured,
  'null',
  'https://evil.test',
  'https://gate.test',
  'http://gate.test:8080',
  'http://gate.test.evil.test',
  'https://app.test.evil.test',
  '',
  `${own}, ${own}`
] as const
const methods = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
const modes = ['required', 'optional', 'try'] as const

/** Decides independently of lib whether a request may pass. */
function passes (site: string | undefined, origin: string | undefined): boolean {
  if (site === undefined && origin === undefined) return true
  return site === 'same-origin' || site === 'none' || origin === own || origin === configured
}

const browser = (
  site: string | undefined,
  origin: string | undefined,
  more: Record<string, string> = {}
): Record<string, string> => ({
  host: 'gate.test',
  ...(site === undefined ? {} : { 'sec-fetch-site': site }),
  ...(origin === undefined ? {} : { origin }),
  ...more
})

async function build (schemes: GatehouseOptions['schemes'], options: Partial<GatehouseOptions> = {}, server = {}) {
  const { app, log } = await createApplication(
    { schemes, default: Object.keys(schemes)[0] as string, origins: [configured], ...options },
    { logger: false, ...server }
  )
  const route = handler()
  for (const mode of modes) {
    app.route({
      method: [...methods.filter(method => method !== 'HEAD')],
      url: `/${mode}`,
      config: { auth: { mode } },
      handler: route.handler
    })
  }
  return { app, log, route }
}

t.test(
  'checks ambient credentials by Sec-Fetch-Site and Origin, in every mode, on unsafe methods and upgrades',
  async t => {
    const { app, route } = await build({ web: scripted('web', { ambient: true }) })
    const wrong: unknown[] = []
    let refusals = 0
    for (const mode of modes) {
      for (const method of methods) {
        for (const upgrade of [false, true]) {
          for (const site of sites) {
            for (const origin of origins) {
              const before = route.reached
              const headers = browser(site, origin, {
                'x-web': 'ann',
                ...(upgrade ? { connection: 'upgrade', upgrade: 'websocket' } : {})
              })
              const { statusCode, body } = await app.inject({ method, url: `/${mode}`, headers })
              const refused = (upgrade || !['GET', 'HEAD', 'OPTIONS'].includes(method)) && !passes(site, origin)
              const as = refused
                ? statusCode === 403 && (method === 'HEAD' || JSON.parse(body).code === 'AUTH_CROSS_SITE')
                : statusCode === 200
              if (!as || route.reached - before !== Number(!refused)) {
                wrong.push({ mode, method, upgrade, site, origin, statusCode })
              }
              refusals += Number(refused)
            }
          }
        }
      }
    }
    t.same(wrong, [])
    t.ok(refusals > 500)
  }
)

t.test('skips the check for anonymous callers and for forgiven bad credentials', async t => {
  const { app } = await build({ web: scripted('web', { ambient: true }) })
  const status = async (mode: string, more: Record<string, string>) =>
    (await app.inject({ method: 'POST', url: `/${mode}`, headers: browser('cross-site', 'https://evil.test', more) }))
      .statusCode
  t.equal(await status('optional', {}), 200)
  t.equal(await status('try', {}), 200)
  t.equal(await status('try', { 'x-web': 'invalid' }), 200)
  t.equal(await status('required', {}), 401)
  t.equal(await status('optional', { 'x-web': 'invalid' }), 401)
})

t.test(
  'skips the check for credentials that browsers do not send by themselves, unless part of an all is ambient',
  async t => {
    const schemes = { user: scripted('user'), web: scripted('web', { ambient: true, async: true }) }
    const { app } = await build(schemes)
    app.post('/any', { config: { auth: ['user', 'web'] } }, handler().handler)
    app.post('/all', { config: { auth: { schemes: { all: ['user', 'web'] } } } }, handler().handler)
    app.post('/public', { config: { auth: { public: 'a form of anybody' } } }, handler().handler)
    const ask = async (url: string, more: Record<string, string>) => {
      const answer = await app.inject({
        method: 'POST',
        url,
        headers: browser('cross-site', 'https://evil.test', more)
      })
      return [answer.statusCode, answer.json().code ?? answer.json().scheme]
    }
    t.same(await ask('/required', { 'x-user': 'ann' }), [200, 'user'])
    t.same(
      await ask('/any', { 'x-user': 'ann', 'x-web': 'ann' }),
      [200, 'user'],
      'the session cookie beside it is not used'
    )
    t.same(await ask('/any', { 'x-web': 'ann' }), [403, 'AUTH_CROSS_SITE'])
    t.same(await ask('/all', { 'x-user': 'ann', 'x-web': 'ann' }), [403, 'AUTH_CROSS_SITE'])
    t.same(await ask('/public', { 'x-web': 'ann' }), [200, null])
  }
)

t.test('takes the own origin from the proxy only if the proxy is trusted', async t => {
  const forwarded = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.test', 'x-web': 'ann' }
  const status = async (trustProxy: boolean, origin: string) => {
    const { app } = await build({ web: scripted('web', { ambient: true }) }, {}, { trustProxy })
    return (await app.inject({ method: 'POST', url: '/required', headers: browser(undefined, origin, forwarded) }))
      .statusCode
  }
  t.equal(await status(true, 'https://shop.test'), 200)
  t.equal(await status(true, own), 403)
  t.equal(await status(false, 'https://shop.test'), 403)
  t.equal(await status(false, own), 200)
})

t.test('knows the own origin with the default port, and with the scheme of a WebSocket', async t => {
  const { app } = await build({ web: scripted('web', { ambient: true }) }, {}, { trustProxy: true })
  const status = async (origin: string, scheme: string, host: string) => {
    const forwarded = { 'x-forwarded-proto': scheme, 'x-forwarded-host': host, 'x-web': 'ann' }
    const headers = browser(undefined, origin, { ...forwarded, connection: 'upgrade', upgrade: 'websocket' })
    return (await app.inject({ url: '/required', headers })).statusCode
  }
  for (const [origin, scheme, host] of [
    ['https://shop.test', 'https', 'shop.test:443'],
    ['https://shop.test', 'wss', 'shop.test'],
    ['http://shop.test', 'http', 'shop.test:80'],
    ['http://shop.test', 'ws', 'shop.test'],
    ['http://[::80]', 'http', '[::80]:80'],
    ['https://shop.test:8443', 'wss', 'shop.test:8443']
  ] as const) t.equal(await status(origin, scheme, host), 200, `${scheme} ${host}`)
  for (const [origin, scheme, host] of [
    ['https://shop.test', 'https', 'shop.test:80'],
    ['http://shop.test', 'http', 'shop.test:443'],
    ['http://shop.test', 'wss', 'shop.test'],
    ['https://evil.test', 'wss', 'shop.test:443'],
    ['wss://shop.test', 'wss', 'shop.test']
  ] as const) t.equal(await status(origin, scheme, host), 403, `${origin} for ${scheme} ${host}`)
})

t.test('treats cookies and Basic as ambient in every scheme: keys, tokens, passwords and sessions', async t => {
  const key = randomBytes(24).toString('base64url')
  const secret = randomBytes(32)
  const token = await new SignJWT({ iss: 'id', aud: 'api', sub: 'ann' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1m')
    .sign(secret)
  const password = 'correct horse battery'
  const signed = { issuer: 'id', audience: 'api', keys: secret }
  const cases: ReadonlyArray<
    readonly [string, GatehouseOptions['schemes'][string], Record<string, string>, boolean, string?]
  > = [
    [
      'a key in a cookie',
      apiKey({ from: 'cookie:key', keys: { [key]: { id: 'ann' } } }),
      { cookie: `key=${key}` },
      true
    ],
    ['a key in a header', apiKey({ keys: { [key]: { id: 'ann' } } }), { 'x-api-key': key }, false],
    ['a key in the URL', apiKey({ from: 'query:key', keys: { [key]: { id: 'ann' } } }), {}, false, `?key=${key}`],
    [
      'a key as Bearer',
      apiKey({ from: 'bearer', keys: { [key]: { id: 'ann' } } }),
      { authorization: `Bearer ${key}` },
      false
    ],
    [
      'a key that browsers send with Negotiate',
      apiKey({ from: 'authorization:Negotiate', keys: { [key]: { id: 'ann' } } }),
      { authorization: `Negotiate ${key}` },
      true
    ],
    ['a token in a cookie', jwt({ from: 'cookie:token', ...signed }), { cookie: `token=${token}` }, true],
    ['a token as Bearer', jwt(signed), { authorization: `Bearer ${token}` }, false],
    [
      'Basic',
      basic({ users: { ann: { password } } }),
      { authorization: `Basic ${Buffer.from(`ann:${password}`).toString('base64')}` },
      true
    ]
  ]
  for (const [name, scheme, headers, ambient, query = ''] of cases) {
    const { app } = await build({ it: scheme })
    const ask = async (site: string) =>
      (await app.inject({ method: 'POST', url: `/required${query}`, headers: browser(site, undefined, headers) }))
        .statusCode
    t.equal(await ask('same-origin'), 200, name)
    t.equal(await ask('cross-site'), ambient ? 403 : 200, `${name} from another site`)
  }
  const { app } = await build({ web: session({ secret: secret.toString('base64url'), secure: false }) })
  app.post('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  const cookie =
    String((await app.inject({ method: 'POST', url: '/login' })).headers['set-cookie']).split(';')[0] ?? ''
  for (const [site, status] of [
    ['same-origin', 200],
    ['cross-site', 403]
  ] as const) {
    t.equal(
      (await app.inject({ method: 'POST', url: '/required', headers: browser(site, undefined, { cookie }) }))
        .statusCode,
      status,
      'a session'
    )
  }
})

t.test('checks a scheme of the application by its places, unless it sets ambient', async t => {
  const cookie = { type: 'apiKey', in: 'cookie', name: 'ticket' } as const
  const header = { type: 'apiKey', in: 'header', name: 'x-ticket' } as const
  for (const [openapi, more, ambient] of [
    [cookie, {}, true],
    [header, {}, false],
    [{ type: 'http', scheme: 'digest' }, {}, true],
    [{ type: 'http', scheme: 'bearer' }, {}, false],
    [header, { sources: ['header:x-ticket', 'cookie:ticket'] }, true],
    [cookie, { ambient: false }, false],
    [header, { ambient: true }, true]
  ] as const) {
    const own: Scheme = { authenticate: () => authenticated({ id: 'ann' }), openapi, ...more }
    const { app } = await build({ own })
    const ask = async (site: string) =>
      (await app.inject({ method: 'POST', url: '/required', headers: browser(site, undefined) })).statusCode
    const statuses = [await ask('same-origin'), await ask('cross-site')]
    t.same(statuses, [200, ambient ? 403 : 200], JSON.stringify([openapi, more]))
  }
})

t.test('refuses a cross-site reply.login and reply.logout for every method and route', async t => {
  const calls: string[] = []
  const sessions = sessionFeature({
    login: async (_request, _reply, principal) => {
      calls.push(`in ${principal.id}`)
    },
    logout: async () => {
      calls.push('out')
    }
  })
  const web = () => ({ scheme: scripted('web', { ambient: true }), features: { sessions } })
  const { app, log } = await createApplication({
    schemes: { web, user: scripted('user') },
    default: ['user', 'web'],
    origins: [configured]
  })
  let after = 0
  const login = async (_request: unknown, reply: Parameters<ReturnType<typeof handler>['handler']>[1]) => {
    await reply.login({ id: 'ann' })
    after++
    return {}
  }
  const logout = async (_request: unknown, reply: Parameters<ReturnType<typeof handler>['handler']>[1]) => {
    await reply.logout()
    after++
    return {}
  }
  for (const method of ['GET', 'POST'] as const) {
    app.route({ method, url: '/login', config: { auth: { public: 'logs in' } }, handler: login })
    app.route({ method, url: '/logout', config: { auth: { public: 'logs out' } }, handler: logout })
    app.route({ method, url: '/switch', config: { auth: 'user' }, handler: login })
  }
  app.get('/caught', { config: { auth: { public: 'logs in' } } }, async (_request, reply) =>
    reply.login({ id: 'ann' }).then(
      () => 'in',
      (error: unknown) => (error instanceof AuthError ? error.code : 'other')
    )
  )
  const wrong: unknown[] = []
  for (const url of ['/login', '/logout', '/switch']) {
    for (const method of ['GET', 'POST'] as const) {
      for (const site of sites) {
        for (const origin of origins) {
          calls.length = after = 0
          const { statusCode, body } = await app.inject({
            method,
            url,
            headers: browser(site, origin, { 'x-user': 'ann' })
          })
          const good = passes(site, origin)
          const as = good
            ? statusCode === 200 && calls.length === 1 && after === 1
            : statusCode === 403 && JSON.parse(body).code === 'AUTH_CROSS_SITE' && calls.length === 0 && after === 0
          if (!as) wrong.push({ url, method, site, origin, statusCode })
        }
      }
    }
  }
  t.same(wrong, [])
  t.equal((await app.inject({ url: '/caught', headers: browser('cross-site', undefined) })).body, 'AUTH_CROSS_SITE')
  t.equal((await app.inject({ url: '/caught', headers: browser('same-origin', undefined) })).body, 'in')
  t.match(
    log.find(line => line.msg === 'session refused'),
    { level: 30, auth: { code: 'AUTH_CROSS_SITE', reason: /another site/ } }
  )
})

t.test('refuses cross-site upgrades and joined Origin lines over a real socket', async t => {
  const { app, route } = await build({ web: scripted('web', { ambient: true }) })
  const port = await listen(t, app)
  const upgrade = ['Upgrade: websocket', 'X-Web: ann']
  t.equal((await send(port, 'GET', '/required', [...upgrade, 'Origin: https://evil.test'])).status, 403)
  t.equal((await send(port, 'GET', '/required', [...upgrade, 'Origin: null'])).status, 403)
  t.equal(
    (
      await send(port, 'POST', '/required', [
        'X-Web: ann',
        `Origin: ${own}`,
        'Origin: https://evil.test',
        'Content-Length: 0'
      ])
    ).status,
    403
  )
  t.equal(
    (
      await send(port, 'POST', '/required', [
        'X-Web: ann',
        'Sec-Fetch-Site: same-origin',
        'Sec-Fetch-Site: cross-site',
        'Content-Length: 0'
      ])
    ).status,
    403
  )
  t.equal(route.reached, 0)
  t.equal((await send(port, 'GET', '/required', [...upgrade, `Origin: ${own}`])).status, 200)
  t.equal((await send(port, 'POST', '/required', ['X-Web: ann', 'Content-Length: 0'])).status, 200)
})
