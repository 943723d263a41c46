import t from 'tap'
import { authFailure } from '../../../lib/errors.js'
import { isLocalPath } from '../../../lib/schemes/session/login-redirect.js'
import type { AuthErrorCode } from '../../../types/outcome.js'
import { clock, bareApp, secret } from './bare-app.js'

const page = { accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8', 'sec-fetch-mode': 'navigate' }

/** Creates an application that refuses every request to `/private/*`, as the guard would. */
async function refusing (
  options: Parameters<typeof bareApp>[0] = { loginPath: '/login' },
  code: AuthErrorCode = 'AUTH_REQUIRED',
  by: string | null = null
) {
  const made = await bareApp(options)
  made.app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  made.app.route({
    method: ['GET', 'HEAD', 'POST', 'PUT'],
    url: '/private/*',
    handler: (request, reply) => {
      if (made.scheme.refuse?.(request, reply, authFailure(code, by, 'a test')) !== true) reply.code(401).send({})
    }
  })
  const ask = async (
    url: string,
    headers: Record<string, string> = page,
    method: 'GET' | 'HEAD' | 'POST' | 'PUT' = 'GET'
  ) => {
    const answer = await made.app.inject({
      method,
      url,
      headers,
      ...(headers['content-type'] === undefined ? {} : { payload: '1' })
    })
    return { status: answer.statusCode, location: answer.headers.location ?? null, headers: answer.headers }
  }
  /** Returns the path to which the login would redirect. */
  const back = async (location: string | null) =>
    (await made.app.inject({ method: 'POST', url: location ?? '/login' })).json().returnTo
  return { ...made, ask, back }
}

t.test('redirects a browser that asks for a page to the login and back', async t => {
  const { ask, back } = await refusing()
  const { status, location, headers } = await ask('/private/orders?from=1&to=%2F2')
  t.equal(status, 302)
  t.match(location, /^\/login\?returnTo=[\w-]+\.[\w-]{32}$/)
  t.equal(headers['cache-control'], 'no-store')
  t.equal(await back(location), '/private/orders?from=1&to=%2F2')
  t.match(await ask('/private/x', page, 'HEAD'), { status: 302, location: /^\/login$/ })
  t.match(
    await ask('/private/x', { accept: 'text/html' }),
    { status: 302 },
    'an older browser, or plain HTTP, sends no Sec-Fetch-Mode'
  )
})

t.test('redirects a form to the login with 303, without a return path', async t => {
  const { ask } = await refusing()
  for (const type of ['application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', 'text/plain']) {
    t.match(
      await ask('/private/x', { ...page, 'content-type': type }, 'POST'),
      { status: 303, location: /^\/login$/ },
      type
    )
  }
})

t.test('answers 401 to clients that are not browsers', async t => {
  const { ask } = await refusing()
  const cases: [string, Record<string, string>, ('GET' | 'POST' | 'PUT')?][] = [
    ['nothing said', {}],
    ['anything accepted', { accept: '*/*' }],
    ['text of any kind', { accept: 'text/*' }],
    ['JSON', { accept: 'application/json' }],
    ['something like HTML', { accept: 'text/html-x, application/text/html' }],
    ['fetch', { ...page, 'sec-fetch-mode': 'cors' }],
    ['XMLHttpRequest', { ...page, 'x-requested-with': 'XMLHttpRequest' }],
    ['JSON that is sent', { ...page, 'content-type': 'application/json' }, 'POST'],
    ['a POST of nothing', page, 'POST'],
    ['an upload', page, 'PUT']
  ]
  for (const [what, headers, method] of cases) {
    t.match(await ask('/private/x', headers, method), { status: 401, location: null }, what)
  }
  t.match(await (await refusing({})).ask('/private/x'), { status: 401 }, 'no login page')
})

t.test('redirects only if logging in would help', async t => {
  for (const code of [
    'AUTH_REQUIRED',
    'AUTH_INVALID_CREDENTIALS',
    'AUTH_TOKEN_EXPIRED',
    'AUTH_STEP_UP_REQUIRED'
  ] as const) {
    const { status, headers } = await (
      await refusing(undefined, code, 'web')
    ).ask('/private/x', { ...page, cookie: '__Host-web=forged' })
    t.equal(status, 302, code)
    if (code === 'AUTH_INVALID_CREDENTIALS') {
      t.match(headers['set-cookie'], /^__Host-web=; .*Max-Age=0$/, 'a forged cookie is removed')
    } else t.notOk('set-cookie' in headers, code)
  }
  for (const code of [
    'AUTH_ACCESS_DENIED',
    'AUTH_CROSS_SITE',
    'AUTH_RATE_LIMITED',
    'AUTH_UNAVAILABLE',
    'AUTH_FAULT'
  ] as const) {
    t.equal((await (await refusing(undefined, code, 'web')).ask('/private/x')).status, 401, code)
  }
  t.equal(
    (await (await refusing(undefined, 'AUTH_INVALID_CREDENTIALS', 'service')).ask('/private/x')).status,
    401,
    "another scheme's bad credential"
  )
})

t.test('accepts only a local return path of this scheme, for an hour', async t => {
  const time = clock(t)
  const [older, newer] = [secret(), secret()]
  const { app, ask, back } = await refusing({ loginPath: '/login', secret: older })
  const { location } = await ask('/private/x')
  t.equal(await back(location), '/private/x')
  for (const value of [
    '/private/x',
    'https://evil.example',
    '//evil.example',
    '/%5Cevil.example',
    '%2F%2Fevil.example',
    ''
  ]) {
    t.equal(await back(`/login?returnTo=${value}`), '/home', value)
  }
  const sealed = String(location).split('=')[1]
  t.equal(await back(`/login?returnTo=${sealed}&returnTo=${sealed}`), '/home', 'a repeated parameter is ignored')
  t.equal(await back(`/login?returnTo=${sealed}A`), '/home', 'a changed parameter is ignored')
  const cookie = (await app.inject({ method: 'POST', url: '/login' })).cookies[0]?.value
  t.equal(await back(`/login?returnTo=${cookie}`), '/home', 'a session is not a return path')
  const me = await app.inject({ url: '/me', headers: { cookie: `__Host-web=${sealed}` } })
  t.same(me.json(), { kind: 'invalid' }, 'a return path is not a session')
  const rotated = await refusing({ loginPath: '/login', secret: [newer, older] })
  t.equal(await rotated.back(location), '/private/x', 'the older secret still opens')
  t.equal(await (await refusing({ loginPath: '/login', secret: newer })).back(location), '/home')
  time.advance(3_599)
  t.equal(await back(location), '/private/x')
  time.advance(1)
  t.equal(await back(location), '/home')
})

t.test('sends no return path if the path is not plainly local', async t => {
  const { ask } = await refusing()
  t.match(await ask(`/private/${'x'.repeat(4_000)}`), { status: 302, location: /^\/login$/ })
  for (const path of ['/', '/a', '/a?b=//c', '/a//b', '/@evil', '/.//evil']) t.ok(isLocalPath(path), path)
  for (const path of [
    '',
    'a',
    '//evil',
    '/\\evil',
    '/a\\b',
    '/\t/evil',
    '/a\n',
    '\n/a',
    '/a b',
    '/ä',
    'http://evil/',
    ' /a',
    '/\u2028',
    '/\0'
  ]) { t.notOk(isLocalPath(path), encodeURIComponent(path)) }
})

t.test('redirects an absolute-form target without a return path', async t => {
  const { app } = await refusing()
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const address = app.server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no address')
  const { request } = await import('node:http')
  const location = await new Promise((resolve, reject) => {
    request(
      { port: address.port, host: '127.0.0.1', path: 'http://evil.example/private/x', headers: page },
      response => {
        response.resume()
        resolve(response.headers.location)
      }
    )
      .on('error', reject)
      .end()
  })
  t.equal(location, '/login')
})
