import { randomBytes } from 'node:crypto'
import t from 'tap'
import { session, type GatehouseOptions } from '../../lib/index.js'
import { stopsTheBoot } from '../fixtures/routes.js'
import { createApplication, handler, scripted } from '../fixtures/schemes.js'

const boot = async (origins: unknown) => {
  const { app } = await createApplication({
    schemes: { web: scripted('web', { ambient: true }) },
    origins: origins as string[]
  })
  app.post('/', handler().handler)
  return app
}

t.test('stops the boot for an origin that no browser sends, and says what to write', async t => {
  const never: ReadonlyArray<readonly [entry: unknown, ...messages: ReadonlyArray<string | RegExp>]> = [
    ['https://*.example.com', "'https://*.example.com'", 'a wildcard matches nothing'],
    ['https://*', 'a wildcard matches nothing'],
    ['https://app.example.*', 'a wildcard matches nothing'],
    ['chrome-extension://*', 'a wildcard matches nothing'],
    ['*'],
    ['null'],
    ['wss://app.example.com', "browsers send no origin with the scheme 'wss'"],
    ['ftp://app.example.com', "the scheme 'ftp'"],
    ['file://', "the scheme 'file'"],
    ['blob:https://app.example.com', "the scheme 'blob'"],
    ['htps://app.example.com', "the scheme 'htps' looks like a misspelled 'https' or 'http'"],
    ['https://a.test,b.test', 'whose host is neither a name nor an address'],
    ['https://a.test;', 'whose host is neither a name nor an address'],
    ['https://$HOST', 'whose host is neither a name nor an address'],
    ['capacitor://', 'whose host is not a name'],
    ['capacitor://(local)', 'whose host is not a name'],
    ['capacitor://localhost/', "such as 'capacitor://localhost'"],
    ['Capacitor://localhost', "such as 'capacitor://localhost'"],
    ['tauri://localhost?x', "such as 'tauri://localhost'"],
    ['https://app.example.com/path', "such as 'https://app.example.com'"],
    ['https://münchen.example', "such as 'https://xn--mnchen-3ya.example'"],
    ['HTTPS://app.example.com', "such as 'https://app.example.com'"],
    ['http://app.example.com:80', "such as 'http://app.example.com'"],
    [' https://app.example.com', "such as 'https://app.example.com'"]
  ]
  for (const [entry, ...messages] of never) {
    await stopsTheBoot(
      t,
      async () => await boot(['https://good.example.com', entry]),
      'The option origins has',
      'Write an origin: scheme, host and port without a path',
      ...messages
    )
  }
  for (const origins of ['https://app.example.com', { 0: 'https://app.example.com' }, null]) {
    await stopsTheBoot(t, async () => await boot(origins), 'origins must be a list')
  }
  const password = randomBytes(12).toString('hex')
  for (const entry of [
    `https://ann:${password}@example.com`,
    `wss://ann:${password}@example.com`,
    `https://ann:${password}@*.example.com`
  ]) {
    await t.rejects(
      boot([entry]),
      { message: new RegExp(`^(?!.*${password}).*The option origins has`) },
      'a password in it is not shown'
    )
  }
})

t.test('accepts ambient credentials from listed origins of pages and application shells only', async t => {
  const origins = [
    'https://app.example.com',
    'http://localhost:8080',
    'http://127.0.0.1',
    'http://[::1]:3000',
    'http://[2001:db8::10]',
    'https://under_score.example.com',
    'https://xn--mnchen-3ya.example',
    'capacitor://localhost',
    'ionic://localhost',
    'tauri://localhost',
    'app://.',
    'app://-',
    'capacitor://localhost:8080',
    'chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai',
    'moz-extension://3f2b1c0d-5e6f-4a7b-8c9d-0e1f2a3b4c5d',
    'safari-web-extension://3F2B1C0D-5E6F-4A7B-8C9D-0E1F2A3B4C5D',
    'vscode-webview://0abc'
  ]
  const app = await boot(origins)
  const status = async (origin: string) => (
    await app.inject({
      method: 'POST', url: '/', headers: { host: 'gate.test', 'sec-fetch-site': 'cross-site', origin, 'x-web': 'ann' }
    })
  ).statusCode
  for (const origin of origins) t.equal(await status(origin), 200, origin)
  for (const origin of [
    'capacitor://localhost:1',
    'tauri://evil',
    'chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjaj',
    'null',
    'https://sub.app.example.com'
  ]) {
    t.equal(await status(origin), 403, origin)
  }
})

/** Creates an application with every feature that checks the origin of a request. */
async function createApp (server: object = {}) {
  const web = session({ secret: randomBytes(32).toString('base64url'), secure: false })
  const schemes: GatehouseOptions['schemes'] = { it: scripted('it', { ambient: true }), web }
  const { app, log } = await createApplication({ schemes, default: 'it', origins: ['https://other.test'] }, server)
  const open = { config: { auth: { public: 'for tests' } } } as const
  app.post('/', handler().handler)
  app.post('/login', open, async (_request, reply) => {
    await reply.login({ id: 'ann' }, { scheme: 'web' })
  })
  app.post('/logout', open, async (_request, reply) => {
    await reply.logout({ scheme: 'web' })
  })
  app.post(
    '/guess',
    open,
    async (_request, reply) => await app.gatehouse.guesses.attempt(reply, 'ann', () => ({ id: 'ann' }))
  )
  return async (url: string, headers: Record<string, string>): Promise<string> => {
    log.length = 0
    const answer = await app.inject({ method: 'POST', url, headers: { host: 'shop.test', 'x-it': 'ann', ...headers } })
    t.match(
      [answer.statusCode, answer.json()], [403, { code: 'AUTH_CROSS_SITE', message: 'Cross-site request refused' }]
    )
    t.notMatch(answer.body, /shop|evil|trustProxy/, 'nothing of it is told to the client')
    return log.map(line => line.auth?.reason ?? '').join('\n')
  }
}

t.test('logs both origins on every refusal for the origin', async t => {
  const reason = await createApp()
  for (const url of ['/', '/login', '/logout', '/guess']) {
    const message = await reason(url, { origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' })
    t.match(message, "Origin is https://evil.test, and the application's own is http://shop.test", url)
    t.notMatch(message, 'trustProxy', 'trustProxy is not suggested if the host differs')
    t.match(await reason(url, { origin: 'null' }), "Origin is null, and the application's own is http://shop.test")
    t.match(await reason(url, { 'sec-fetch-site': 'same-site' }), 'Sec-Fetch-Site is same-site, and there is no Origin')
  }
  t.ok(
    (await reason('/', { origin: `https://${'a'.repeat(5000)}.test` })).length < 1000, 'the text of the client is cut'
  )
})

t.test('names trustProxy in the reason if only the scheme or the port differs', async t => {
  const reason = await createApp()
  for (const url of ['/', '/login', '/logout', '/guess']) {
    for (const origin of ['https://shop.test', 'http://shop.test:8080', 'https://shop.test:8443']) {
      const message = await reason(url, { origin })
      t.match(
        message,
        `Origin is ${origin}, and the application's own is http://shop.test. ` +
        "Only the scheme or the port differs: behind a proxy, set Fastify's option trustProxy",
        url
      )
    }
  }
  t.match(
    await reason('/', { origin: 'http://shop.test', host: 'shop.test:3000' }),
    'own is http://shop.test:3000. Only the scheme or the port differs'
  )
  const trusting = await createApp({ trustProxy: true })
  t.match(
    await trusting('/', { origin: 'http://shop.test', 'x-forwarded-proto': 'https' }),
    "Origin is http://shop.test, and the application's own is https://shop.test"
  )
  t.notMatch(
    await reason('/', { origin: 'https://shop.test', host: 'shop test' }),
    'trustProxy',
    'a host that is none is like no other'
  )
})
