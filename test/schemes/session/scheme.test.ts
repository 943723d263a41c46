import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { createSeals, deriveKeys } from '../../../lib/schemes/session/cookie.js'
import { session, type SessionCredential } from '../../../lib/schemes/session/scheme.js'
import type { PrincipalFrom, PrincipalInput } from '../../../types/principal.js'
import type { Scheme, SchemeFactory } from '../../../types/scheme.js'
import { alice, clock, credentialOf, bareApp, login, secret } from './bare-app.js'

const get = (cookie: string) => ({ method: 'GET' as const, cookie })

t.test('sets one HttpOnly host-only cookie on login, which ends with the browser', async t => {
  const { ask } = await bareApp({}, { name: 'sid' })
  const { setCookies, headers, status } = await ask('/login')
  t.equal(status, 200)
  t.equal(setCookies.length, 1)
  t.match(setCookies[0], /^__Host-sid=[\w-]+\.[\w-]{32}; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
  t.equal(headers['cache-control'], 'no-store')
  const strict = await (await bareApp({ sameSite: 'strict', cookieName: 'desk' })).ask('/login')
  t.match(strict.setCookies[0], /^__Host-desk=.*; SameSite=Strict$/)
  const plain = await (await bareApp({ secure: false })).ask('/login')
  t.match(plain.setCookies[0], /^web=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax$/)
})

t.test('returns the principal, the times and the expiry of the session, deeply frozen', async t => {
  const time = clock(t)
  const { app, scheme, ask } = await bareApp()
  app.get('/frozen', async request => {
    const outcome = await scheme.authenticate(request)
    t.equal(outcome, await scheme.authenticate(request), 'asked twice, it answers the same')
    if (outcome.kind !== 'authenticated') throw new Error(outcome.kind)
    const { data } = credentialOf(outcome)
    return [
      outcome.principal,
      outcome.principal.scopes,
      outcome.principal.roles,
      outcome.credential,
      data,
      data['cart']
    ].map(each => Object.isFrozen(each))
  })
  app.get('/sync', request => ({ sync: !(scheme.authenticate(request) instanceof Promise) }))
  const begun = new Date(time.now()).toISOString()
  const { cookie } = await ask('/login', { body: { data: { cart: ['a', { b: 1 }] } } })
  time.advance(10)
  const { body, setCookies } = await ask('/me', get(cookie))
  t.match(body, {
    kind: 'authenticated',
    principal: { realm: 'web', ...alice },
    authenticatedAt: begun,
    credential: { data: { cart: ['a', { b: 1 }] } }
  })
  t.equal(body.expiresAt, new Date(time.now() - 10_000 + 1_800_000).toISOString())
  t.match(body.credential.id, /^[\w-]{22}$/)
  t.notOk(cookie.includes(body.credential.id))
  t.same(setCookies, [], 'a cookie written a moment ago is not written again')
  t.same((await ask('/frozen', get(cookie))).body, [true, true, true, true, true, true])
  t.same((await ask('/sync', get(cookie))).body, { sync: true })
  t.same((await ask('/me', { method: 'GET' })).body, { kind: 'absent' })
})

t.test('removes a cookie that another version of the plugin sealed', async t => {
  const key = secret()
  const { ask } = await bareApp({ secret: key })
  const { cookie } = await ask('/login')
  const keys = deriveKeys([Buffer.from(key)], 'session cookie', 'web')
  const [seal] = await createSeals(Fastify(), 'web', [{ name: 'cookie', keys }])
  const payload = seal.open(cookie.slice('__Host-web='.length))?.payload
  const sealed = async (more: object) => await ask('/me', get(`__Host-web=${seal.seal({ ...payload, ...more })}`))
  t.equal((await sealed({})).body.kind, 'authenticated')
  const other = await sealed({ v: 2 })
  t.same(other.body, { kind: 'absent' })
  t.match(other.setCookies[0], /^__Host-web=; .*Max-Age=0$/)
})

t.test('begins a new session on each login, and ends the previous one', async t => {
  const { app, sessions, ask } = await bareApp()
  app.post('/twice', async (request, reply) => {
    await login(sessions, request, reply, { id: 'first' })
    const early = String(reply.getHeader('set-cookie')).split(';')[0]
    reply.header('set-cookie', 'theirs=1')
    await login(sessions, request, reply, { id: 'second' })
    return { early }
  })
  const first = await ask('/login')
  const id = (await ask('/me', get(first.cookie))).body.credential.id
  const second = await ask('/login', { cookie: first.cookie, body: { principal: { id: 'bob' } } })
  const after = (await ask('/me', get(second.cookie))).body
  t.equal(after.principal.id, 'bob')
  t.not(after.credential.id, id)
  const fixed = await ask('/me', get(first.cookie))
  t.same(fixed.body, { kind: 'absent' })
  t.match(fixed.setCookies[0], /^__Host-web=; .*Max-Age=0$/)
  const twice = await ask('/twice')
  t.match(
    twice.setCookies,
    [/^theirs=1$/, /^__Host-web=/],
    'only the last login of a request sets its cookie, and other cookies stay'
  )
  t.equal(twice.setCookies.length, 2)
  t.equal((await ask('/me', get(twice.setCookies.join(';')))).body.principal.id, 'second')
  t.same((await ask('/me', get(twice.body.early))).body, { kind: 'absent' })
})

t.test('refuses a cookie captured before the logout, wherever the logout runs', async t => {
  const { app, sessions, ask } = await bareApp()
  app.post('/in-and-out', async (request, reply) => {
    await login(sessions, request, reply, alice)
    const early = String(reply.getHeader('set-cookie')).split(';')[0]
    await sessions?.logout(request, reply)
    return { early }
  })
  const { cookie } = await ask('/login')
  const out = await ask('/logout', { cookie })
  t.match(out.setCookies, [/^__Host-web=; Path=\/; HttpOnly; Secure; SameSite=Lax; Max-Age=0$/])
  t.equal(out.headers['cache-control'], 'no-store')
  t.same((await ask('/me', get(cookie))).body, { kind: 'absent' })
  t.match((await ask('/logout')).setCookies, [/Max-Age=0$/], 'without a session it only clears')
  const both = await ask('/in-and-out')
  t.match(both.setCookies, [/Max-Age=0$/])
  t.same((await ask('/me', get(both.body.early))).body, { kind: 'absent' })
})

t.test('ends every session in the request on logout and login, even if their cookies are ambiguous', async t => {
  const { ask } = await bareApp()
  const alive = async (cookies: readonly string[]) =>
    (
      await Promise.all(cookies.map(async cookie => (await ask('/me', get(cookie))).body.kind === 'authenticated'))
    ).filter(Boolean).length
  for (const path of ['/logout', '/login']) {
    for (const carry of [
      (a: string, b: string) => [a, b],
      (a: string, b: string) => [b, '__Host-web=forged', a],
      (a: string, b: string) => [a, 'c=d', '__Host-web=', a, b]
    ]) {
      const cookies = [
        (await ask('/login')).cookie,
        (await ask('/login', { body: { principal: { id: 'mallory' } } })).cookie
      ] as const
      t.same((await ask('/me', get(carry(...cookies).join('; ')))).body, { kind: 'invalid' })
      t.equal(await alive(cookies), 2)
      t.equal((await ask(path, { cookie: carry(...cookies).join('; ') })).setCookies.length, 1)
      t.equal(await alive(cookies), 0, `${path} with ${carry('a', 'b').join()}`)
    }
  }
  const many: string[] = []
  while (many.length < 17) many.push((await ask('/login')).cookie)
  await ask('/logout', { cookie: many.join('; ') })
  t.equal(await alive(many), 1, 'at most 16 cookies of one request are ended')
})

t.test('renews no session if the request has two', async t => {
  const { app, sessions, ask } = await bareApp()
  app.post('/renew', async (request, reply) => { await sessions?.login(request, reply, alice, { renew: true }) })
  const [one, two] = [(await ask('/login')).cookie, (await ask('/login')).cookie]
  t.match(await ask('/renew', { cookie: `${one}; ${two}` }), { status: 401, body: { code: 'AUTH_REQUIRED' } })
  t.match((await ask('/me', get(one))).body, { kind: 'authenticated' }, 'and nothing is changed')
  t.equal((await ask('/renew', { cookie: one })).status, 200)
})

t.test('refuses every flipped bit, other spelling and second cookie without a fault', async t => {
  const { ask } = await bareApp()
  const { cookie } = await ask('/login')
  const value = cookie.slice('__Host-web='.length)
  const forged: string[] = [
    'x',
    '.',
    value.replace('.', ';'),
    `${value}=`,
    `"${value}"`,
    `${value}A`,
    `A${value}`,
    value.slice(1),
    value.slice(0, -1),
    value.replace('.', '..'),
    encodeURIComponent(`${value}=`),
    'A'.repeat(4000) + '.' + 'A'.repeat(32),
    `${'A'.repeat(8)}.${'A'.repeat(32)}`
  ]
  for (let at = 0; at < value.length; at++) {
    for (let bit = 1; bit < 128; bit <<= 1) {
      const byte = String.fromCharCode(value.charCodeAt(at) ^ bit)
      // a leading semicolon leaves an empty value, which is not a cookie; Node refuses requests with control characters
      if (/[!-~]/.test(byte) && !(at === 0 && byte === ';')) {
        forged.push(value.slice(0, at) + byte + value.slice(at + 1))
      }
    }
  }
  for (const each of forged) {
    const { status, body } = await ask('/me', get(`__Host-web=${each}`))
    if (status !== 200 || body.kind !== 'invalid') t.fail(`${each} was ${status} ${body.kind}`)
  }
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  for (const name of ['a', 'ab', 'abc']) {
    const sealed = (await ask('/login', { body: { principal: { id: 'a', name } } })).cookie
    const dot = sealed.indexOf('.')
    for (const digit of digits) {
      const spelled = sealed.slice(0, dot - 1) + digit + sealed.slice(dot)
      const { body } = await ask('/me', get(spelled))
      if ((body.kind === 'authenticated') !== (spelled === sealed)) {
        t.fail(`the digit ${digit} for ${sealed[dot - 1]} was ${body.kind}`)
      }
      const longer = await ask('/me', get(sealed.slice(0, dot) + digit + sealed.slice(dot)))
      if (longer.body.kind !== 'invalid') t.fail(`the digit ${digit} after ${sealed[dot - 1]} was ${longer.body.kind}`)
    }
  }
  const other = (await ask('/login', { body: { principal: { id: 'mallory' } } })).cookie
  for (const both of [`${cookie}; ${other}`, `${other}; ${cookie}`, `${cookie}; ${cookie}`]) {
    t.same((await ask('/me', get(both))).body, { kind: 'invalid' })
  }
  t.match((await ask('/me', get(`a=1; ${cookie}; b=2`))).body, { kind: 'authenticated' })
  t.equal(
    (await ask('/login', { cookie: '__Host-web=forged' })).status,
    200,
    'a forged cookie does not keep anybody from logging in'
  )
})

t.test('the cookie cache neither confuses cookies with one nonce nor extends a session', async t => {
  const time = clock(t)
  const { ask } = await bareApp({ idleTimeout: 900 })
  const { cookie } = await ask('/login', { body: { principal: alice, data: { cart: [1] } } })
  const [first, again] = [await ask('/me', get(cookie)), await ask('/me', get(cookie))]
  t.same(again.body, first.body)
  const other = cookie.replace(/=(.)/, (_match, letter) => `=${letter === 'A' ? 'B' : 'A'}`)
  t.same((await ask('/me', get(other))).body, { kind: 'invalid' })
  t.match((await ask('/data', { cookie, body: { cart: [2] } })).body, { data: { cart: [2] } })
  t.same(
    (await ask('/me', get(cookie))).body,
    first.body,
    'what one request changed is not what another with the same cookie has'
  )
  const elsewhere = (await ask('/login')).cookie
  await ask('/me', get(elsewhere))
  await ask('/logout', { cookie: elsewhere })
  t.same((await ask('/me', get(elsewhere))).body, { kind: 'absent' })
  time.advance(900)
  t.same((await ask('/me', get(cookie))).body, { kind: 'absent' })
})

t.test('ends an idle session, and extends one in use up to its absolute end', async t => {
  const time = clock(t)
  const { ask } = await bareApp({ idleTimeout: 900, absoluteTimeout: 28_800 })
  const { cookie } = await ask('/login')
  time.advance(59)
  t.same((await ask('/me', get(cookie))).setCookies, [])
  time.advance(840)
  t.match((await ask('/me', get(cookie))).body, { kind: 'authenticated' }, 'the session is valid until its end')
  time.advance(1)
  const idle = await ask('/me', get(cookie))
  t.same(idle.body, { kind: 'absent' })
  t.match(idle.setCookies, [/^__Host-web=; .*Max-Age=0$/])

  let kept = (await ask('/login')).cookie
  const first = (await ask('/me', get(kept))).body
  for (let passed = 600; passed < 28_800; passed += 600) {
    time.advance(600)
    const { body, setCookies, cookie } = await ask('/me', get(kept))
    if (body.kind !== 'authenticated' || setCookies.length !== 1) t.fail(`${passed} seconds: ${body.kind}`)
    t.equal(body.authenticatedAt, first.authenticatedAt)
    t.equal(body.credential.id, first.credential.id)
    kept = cookie
    if (passed === 28_200) t.equal(Date.parse(body.expiresAt), time.now() + 600_000, 'the absolute timeout')
  }
  time.advance(600)
  t.same((await ask('/me', get(kept))).body, { kind: 'absent' })
  time.advance(400 * 86_400)
  t.same(
    (await ask('/me', get(kept))).body,
    { kind: 'absent' },
    'an authentic cookie stays absent however old it is, never forged'
  )
})

t.test('applies the earlier of the timeouts at login and now', async t => {
  const time = clock(t)
  const key = secret()
  const long = await bareApp({ secret: key })
  const short = await bareApp({ secret: key, idleTimeout: 600, absoluteTimeout: 600 })
  for (const [begins, goesOn] of [[long, short], [short, long]] as const) {
    const { cookie } = await begins.ask('/login')
    time.advance(300)
    const kept = await goesOn.ask('/me', get(cookie))
    t.match(kept.body, { kind: 'authenticated' })
    time.advance(299)
    t.match((await goesOn.ask('/me', get(kept.cookie))).body, { kind: 'authenticated' })
    time.advance(1)
    t.same((await goesOn.ask('/me', get(kept.cookie))).body, { kind: 'absent' })
  }
})

t.test('renews cookies under a new first secret, and refuses them once their secret is gone', async t => {
  const [older, newer] = [secret(), secret()]
  const { cookie } = await (await bareApp({ secret: older })).ask('/login')
  const both = await bareApp({ secret: [newer, older] })
  const first = await both.ask('/me', get(cookie))
  t.match(first.body, { kind: 'authenticated' })
  t.equal(first.setCookies.length, 1)
  t.same((await both.ask('/me', get(first.cookie))).setCookies, [], 'the cookie is written with the new key once')
  const alone = await bareApp({ secret: [newer] })
  t.same((await alone.ask('/me', get(cookie))).body, { kind: 'invalid' })
  t.match((await alone.ask('/me', get(first.cookie))).body, { kind: 'authenticated' })
})

t.test('derives different keys for two schemes with one secret', async t => {
  const key = secret()
  const { cookie } = await (await bareApp({ secret: key, cookieName: 'same' }, { name: 'web' })).ask('/login')
  const { ask } = await bareApp({ secret: key, cookieName: 'same' }, { name: 'staff' })
  t.same((await ask('/me', get(cookie))).body, { kind: 'invalid' })
})

t.test('sets a cookie of up to 3,800 bytes, and refuses a larger one before any change', async t => {
  // three bytes of data are four of base64, so that names of several lengths are needed to reach every size
  const sizes = new Set<number>()
  for (const cookieName of ['n', 'nn', 'nnn', 'nnnn']) {
    const { ask } = await bareApp({ cookieName })
    const { cookie } = await ask('/login')
    for (let length = 2_590; ; length++) {
      const answer = await ask('/login', { body: { data: { x: 'x'.repeat(length) } } })
      if (answer.status === 200) {
        sizes.add(answer.cookie.length)
        continue
      }
      t.equal(answer.body.code, 'AUTH_FAULT')
      const above = await ask('/login', { cookie, body: { data: { x: 'x'.repeat(length) } } })
      t.equal(above.status, 500)
      t.same(above.setCookies, [])
      t.equal((await ask('/me', get(cookie))).body.kind, 'authenticated', 'the session before lives on')
      break
    }
  }
  t.equal(Math.max(...sizes), 3_800)
  t.ok(sizes.has(3_799))
})

t.test('refuses data at login that would not survive JSON', async t => {
  const { app, sessions, ask } = await bareApp()
  app.post('/unset', async (request, reply) => {
    await login(sessions, request, reply, { id: 'a', realm: undefined, email: undefined } as PrincipalInput)
  })
  const loop: Record<string, unknown> = {}
  loop['self'] = loop
  const bad: [string, object, unknown?][] = [
    ['a Date in the principal', { id: 'a', since: new Date() }],
    ['a Map in the data', { id: 'a' }, { m: new Map() }],
    ['NaN', { id: 'a' }, { list: [1, NaN] }],
    ['data within itself', { id: 'a' }, loop],
    ['data that is a list', { id: 'a' }, []],
    ['no id', { id: '' }],
    ['scopes in one string', { id: 'a', scopes: 'a b' }]
  ]
  app.post('/bad/:n', async (request, reply) => {
    const [, principal, data] = bad[Number((request.params as { n: string }).n)] ?? ['', {}]
    await login(sessions, request, reply, principal as { id: string }, data as Record<string, unknown>)
  })
  for (const [n, [what]] of bad.entries()) {
    const answer = await app.inject({ method: 'POST', url: `/bad/${n}` })
    t.equal(answer.json().code, 'AUTH_FAULT', what)
    t.notOk('set-cookie' in answer.headers, what)
  }
  t.same(
    (await ask('/me', get((await ask('/unset')).cookie))).body.principal,
    { realm: 'web', id: 'a', scopes: [], roles: [] },
    'what is undefined is left out'
  )
})

t.test('update replaces the data, which goes out with the response', async t => {
  const time = clock(t)
  const { app, scheme, sessions, ask } = await bareApp()
  app.post('/late', async (request, reply) => {
    const credential = credentialOf(await scheme.authenticate(request))
    await sessions?.logout(request, reply)
    credential.update({ c: 3 })
  })
  let afterwards: string | null = null
  app.get('/sent', async (request, reply) => {
    const credential = credentialOf(await scheme.authenticate(request))
    await reply.send('sent')
    try { credential.update({ d: 4 }) } catch (error) { afterwards = (error as { code: string }).code }
  })
  const { cookie } = await ask('/login', { body: { data: { a: 1 } } })
  time.advance(90)
  const { body, cookie: changed, setCookies } = await ask('/data', { cookie, body: { b: [2] } })
  t.same(body, { data: { b: [2] } })
  t.equal(setCookies.length, 1)
  t.match((await ask('/me', get(changed))).body.credential, { data: { b: [2] } })
  t.same((await ask('/me', get(changed))).body.credential.data, { b: [2] })
  const large = await ask('/data', { cookie, body: { x: 'x'.repeat(3_800) } })
  t.equal(large.status, 500)
  t.equal(large.body.code, 'AUTH_FAULT')

  const late = await ask('/late', { cookie: changed })
  t.equal(late.body.code, 'AUTH_FAULT', 'not after the logout')
  t.match(late.setCookies, [/Max-Age=0$/])
  await ask('/sent', get((await ask('/login')).cookie))
  t.equal(afterwards, 'AUTH_FAULT', 'not once the response is on its way')
})

t.test('with load, ignores the rights in the cookie, also in older ones', async t => {
  const key = secret()
  const without = await bareApp({ secret: key })
  const { cookie } = await without.ask('/login')
  const load = () => null
  const loading = await bareApp({ secret: key, load, absoluteTimeout: '30d' })
  t.equal(loading.scheme.load, load)
  t.same((await loading.ask('/me', get(cookie))).body.principal, {
    realm: 'web',
    id: 'alice',
    name: 'Alice',
    scopes: [],
    roles: []
  })
  const fresh = await loading.ask('/login')
  t.same((await without.ask('/me', get(fresh.cookie))).body.principal.scopes, [])
})

t.test('describes itself in OpenAPI', async t => {
  const { scheme, sessions } = await bareApp({ loginPath: '/login' })
  t.equal(sessions?.loginPath, '/login')
  t.match(scheme, {
    ambient: true,
    reportsAuthTime: true,
    cacheControl: 'private',
    openapi: { type: 'apiKey', in: 'cookie', name: '__Host-web' }
  })
  t.ok(Object.isFrozen(scheme))
  t.notOk('loginPath' in ((await bareApp()).sessions ?? {}))
  t.notOk('login' in scheme, 'its features are not part of the scheme')
})

t.test('types principals and data by the interfaces of the application', async t => {
  interface Person { id: string, email: string }
  interface Cart { items: string[] }
  const factory = session<Person, Cart>({ secret: secret() })
  const declared: SchemeFactory<PrincipalFrom<Person>, SessionCredential<Cart>> = factory
  const typed = (
    scheme: Scheme<PrincipalFrom<Person>, SessionCredential<Cart>>,
    request: FastifyRequest
  ): string | undefined => {
    const outcome = scheme.authenticate(request)
    if (outcome instanceof Promise || outcome.kind !== 'authenticated') return undefined
    // @ts-expect-error the data has items and nothing else
    outcome.credential.update({ item: [] })
    return outcome.principal.email + (outcome.credential.data.items?.[0] ?? '')
  }
  t.equal(factory, declared)
  t.type(typed, 'function')
})
