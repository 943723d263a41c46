import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import t from 'tap'
import { guide } from '../../examples/guide.js'
import { encode, form, logIn, startQuiet, tokenOf } from './app.js'
import { openPage, withoutBrowser } from '../fixtures/browser.js'
import {
  curlLines, folder, jarOf, npmStart, productionSettings, promisedBy, runLine, secretNames, start,
  startRefused
} from './running.js'
import { exactly } from '../fixtures/exactly.js'

t.test('the example under npm start', async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const running = await start({ DATA_DIR: path }, npmStart())
  t.teardown(() => running.stop())
  const { printed } = running
  const lines = curlLines(printed)
  const jar = jarOf(printed)
  t.teardown(() => { rmSync(jar, { force: true }) })
  let session = ''

  await t.test('answers every printed curl line as printed', async t => {
    t.ok(lines.length > 20, 'the example prints more than 20 curl lines')
    for (const line of lines) {
      t.equal(await runLine(line), promisedBy(line), line.replace(/Bearer \S+/, 'Bearer …'))
      if (line.includes(` -c ${jar} `)) session = readFileSync(jar, 'utf8').trim().split('\t').at(-1) ?? ''
    }
    for (const status of ['200', '201', '204', '302', '303', '401', '403']) {
      t.ok(lines.some(line => line.includes(`# ${status}`)), `one answers ${status}`)
    }
  })

  t.test('prints the address, the data folder, and every route with its access rules', async t => {
    t.match(running.address, /^http:\/\/localhost:\d+$/)
    t.match(printed, `people, orders, keys, sessions: ${path}/order-desk.sqlite`)
    t.match(printed, `generated secrets: ${path}/secrets.env`)
    for (const name of secretNames) t.match(printed, name)
    t.match(printed, /\n {2}GET +\/health +anyone +load balancer probe\n/)
    const rules = 'scope orders:write, (role admin) or (when ownsOrder)'
    t.match(printed.replaceAll(rules, 'RULES'), /\n {2}DELETE +\/api\/orders\/:id +user\/client\/own\/service +RULES\n/)
    t.match(printed, /\n {2}GET +\/admin +web +role admin, authenticated within 1 hour\n/)
    t.match(printed, /\n {2}GET +\/ops\/status +ops\n/)
    const usual = printed.replaceAll(jar, 'order-desk-3000.jar'.padStart(24, '.')).replaceAll(path, '.data')
    t.same(
      usual.split('\n').filter(line => line.length > 120 && !/Bearer |\$\(|partner:/.test(line)),
      [],
      'and is at most 120 columns wide, but for tokens, the secret of the partner, and how to get tokens'
    )
  })

  t.test('logs no password, key, token or cookie', async t => {
    const log = running.output().split('\n').filter(line => line.startsWith('{')).join('\n')
    t.match(log, '"url":"/desk/orders"', 'requests are logged')
    t.match(log, '"msg":"request refused"', 'refusals are logged')
    const kept = [...readFileSync(`${path}/secrets.env`, 'utf8').matchAll(/^\w+=(.+)$/gm)].map(match => match[1] ?? '')
    t.equal(kept.length, secretNames.length)
    const secrets = [...kept, /Bearer (\S+)'/.exec(printed)?.[1] ?? '', session]
    for (const [i, secret] of secrets.entries()) t.ok(secret.length >= 16 && !log.includes(secret), `secret ${i + 1}`)
    t.equal(running.errors(), '')
  })

  t.test('shuts down cleanly on a signal', async t => { t.equal(await running.stop(), 0) })
})

t.test('refuses to start with NODE_ENV=production and lists every mistake', async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const { code, output, errors } = await startRefused({
    NODE_ENV: 'production',
    DATA_DIR: path,
    REFRESH_SECRET: 'V3ZlB0TqkLw9eRm2XsYc7uIoPa5dFgHj',
    SHOP_KEY: 'short',
    COOKIE_SECURE: 'false',
    DATABASE_URL: 'mysql://desk:hunter2hunter2@db/orders'
  })
  t.not(code, 0)
  for (const name of ['SESSION_SECRET', 'DEVICE_SECRET', 'WAREHOUSE_KEY', 'JWT_KEYS', 'PEOPLE_PASSWORD']) {
    t.match(errors, `- ${name} is not set.`)
  }
  for (const mistake of [
    '- SHOP_KEY is too short', '- COOKIE_SECURE is false', '- DATABASE_URL is not of the form postgres://',
    '- PUBLIC_URL is not of the form https://'
  ]) {
    t.match(errors, mistake)
  }
  t.notMatch(output, 'ROUTES, and who may call them')
  t.notMatch(errors + output, /V3ZlB0Tq|hunter2|- REFRESH_SECRET/)
  t.same(readdirSync(path), [], 'it keeps no secrets')
})

t.test('the configuration', async t => {
  const { config, people, path } = await startQuiet()
  const secrets = Object.fromEntries(secretNames.map(name => [name, String(config[name])]))

  t.test('is generated once in development, in a private file', async t => {
    const other = await startQuiet({ DATA_DIR: path })
    for (const name of secretNames) t.same(other.config[name], config[name], name)
    t.same(config.generated, [...secretNames])
    for (const file of ['secrets.env', 'order-desk.sqlite', 'order-desk.sqlite-wal']) {
      t.equal(statSync(`${path}/${file}`).mode & 0o777, 0o600, file)
    }
    const stranger = await startQuiet()
    for (const name of secretNames) t.notSame(stranger.config[name], config[name], name)
  })

  t.test('prefers the environment over the file, and neither prints nor stores those values', async t => {
    const desk = await startQuiet(secrets)
    t.same(secretNames.map(name => String(desk.config[name])), Object.values(secrets))
    t.notMatch(await guide(desk), 'generated secrets')
    t.notOk(readdirSync(desk.path).includes('secrets.env'))
    const mixed = await startQuiet({ DATA_DIR: path, SHOP_KEY: 'V3ZlB0TqkLw9eRm2XsYc7uIoPa5dFgHj' })
    t.match(mixed.config, { SHOP_KEY: 'V3ZlB0TqkLw9eRm2XsYc7uIoPa5dFgHj', JWT_KEYS: config.JWT_KEYS })
    t.notOk(mixed.config.generated.includes('SHOP_KEY'))
  })

  t.test('works in production with secrets, without showing any', async t => {
    const settings = productionSettings()
    const desk = await startQuiet(settings)
    const shown = await guide(desk) + (await desk.app.inject('/login')).body
    t.match(shown, 'ROUTES, and who may call them')
    for (const name of secretNames) t.notMatch(shown, String(desk.config[name]), name)
    t.match((await logIn(desk, 'ada')).line, /^__Host-web=.*; HttpOnly; Secure; SameSite=Lax$/)
  })

  t.test('refuses insecure cookies and weak secrets', async t => {
    await t.rejects(
      startQuiet({ ...productionSettings(), COOKIE_SECURE: 'false' }), { message: /COOKIE_SECURE is false/ }
    )
    await t.rejects(startQuiet({ SESSION_SECRET: 'x'.repeat(40) }), { message: /- SESSION_SECRET / })
    await t.rejects(
      startQuiet({ REFRESH_SECRET: secrets['SESSION_SECRET'] ?? '', SESSION_SECRET: secrets['SESSION_SECRET'] ?? '' }),
      { message: 'SESSION_SECRET and REFRESH_SECRET hold the same secret' }
    )
  })

  t.test('drops Secure from cookies only with COOKIE_SECURE=false', async t => {
    const desk = await startQuiet({ COOKIE_SECURE: 'false', HOST: '192.0.2.1' })
    t.match((await logIn(desk, 'ada')).line, /^web=[^;]+; Path=\/; HttpOnly; SameSite=Lax$/)
    t.match(await guide(desk), /curl .* 192\.0\.2\.1:3000\/login /)
    t.match(await guide(await startQuiet({ HOST: '192.0.2.1' })), 'this address needs HTTPS, or COOKIE_SECURE=false')
  })

  t.test('authenticates people by their password only', async t => {
    t.match(await people.verify('ben', config.PEOPLE_PASSWORD), { id: 'ben', roles: exactly('clerk') })
    t.equal(await people.verify('ben', 'wrong'), null)
    t.equal(await people.verify('nobody', config.PEOPLE_PASSWORD), null)
    t.equal(await people.verify('__proto__', ''), null)
    t.equal(await people.verify('ben\0', config.PEOPLE_PASSWORD), null)
  })
})

t.test('people with a browser', async t => {
  const desk = await startQuiet()
  const { app } = desk
  const browser = { accept: 'text/html' }

  t.test('are redirected to the login page, and back to the page they wanted', async t => {
    const sent = await app.inject({ url: '/desk', headers: browser })
    t.equal(sent.statusCode, 302)
    const { response, cookie } = await logIn(desk, 'cleo', String(sent.headers.location))
    t.equal(response.statusCode, 303)
    t.equal(response.headers.location, '/desk')
    const page = await app.inject({ url: '/desk', headers: { cookie } })
    t.equal(page.statusCode, 200)
    t.match(page.headers['content-security-policy'], /style-src 'self'(?:;|$)/)
    t.notMatch(page.headers['content-security-policy'], 'upgrade-insecure-requests')
    t.notMatch(page.body, /<script|<style|style=|\son\w+=/)
    t.match((await logIn(desk, 'cleo', '/login?returnTo=https://evil.example')).response.headers.location, /^\/desk$/)
  })

  t.test('have five wrong guesses across form and token, and a known browser still works', async t => {
    const mine = await startQuiet()
    const known = await logIn(mine, 'ada')
    const device = [known.response.headers['set-cookie'] ?? []].flat().find(
      line => line.startsWith('__Host-gatehouse-device')
    )?.split(';', 1)[0] ?? ''
    const form = async (username: string, password: string, cookie = '') => mine.app.inject({
      method: 'POST',
      url: '/login',
      headers: { 'content-type': 'application/x-www-form-urlencoded', cookie },
      payload: new URLSearchParams({ username, password }).toString()
    })
    const token = async (username: string, password: string) => mine.app.inject({
      method: 'POST', url: '/api/token', payload: { username, password }
    })
    const statuses = [
      await form('ada', 'a'), await token('ADA', 'b'), await form(' ada', 'c'), await token('ada', 'd'),
      await form('Ada', 'e'), await token('ada', mine.config.PEOPLE_PASSWORD)
    ]
    t.same(statuses.map(({ statusCode }) => statusCode), [401, 401, 401, 401, 401, 429])
    t.match(statuses[5]?.headers, { 'retry-after': /^\d+$/, 'content-type': /json/ })
    const page = await form('ada', mine.config.PEOPLE_PASSWORD)
    t.match([page.statusCode, page.headers['content-type']], [429, /html/])
    t.match(
      page.body,
      /role="alert">Too many wrong guesses\. Try again in (?:1 minute|\d+ seconds?)\./,
      'the page says how long'
    )
    t.match(page.body, /<form method="post"[^]*name="username" value="ada"/, 'and keeps the form')
    t.equal((await mine.app.inject({ url: '/desk', headers: { cookie: known.cookie } })).statusCode, 200)
    t.equal((await form('ada', mine.config.PEOPLE_PASSWORD, device)).statusCode, 303)
  })

  t.test('see one message for a wrong name or password, with the name escaped in the form', async t => {
    const attempt = (username: string, password: string) => app.inject({
      method: 'POST', url: '/login', headers: form, payload: encode({ username, password })
    })
    const [
      wrongName, wrongPassword
    ] = await Promise.all([attempt('"><i>x', desk.config.PEOPLE_PASSWORD), attempt('ada', 'wrong')])
    t.equal(wrongName.statusCode, 401)
    t.equal(wrongPassword.statusCode, 401)
    t.equal(wrongName.headers['set-cookie'], undefined)
    t.match(wrongName.body, 'value="&#34;&#62;&#60;i&#62;x"')
    t.equal(wrongName.body.replace('&#34;&#62;&#60;i&#62;x', 'ada'), wrongPassword.body)
    t.match(wrongPassword.body, '<p class="notice bad" role="alert">Wrong name or password.</p>')
  })

  t.test('place orders as clerks, and read them as viewers', async t => {
    const payload = encode({ customer: '<script>alert(1)</script>', item: 'Lamp & "shade"', quantity: '3' })
    const place = (cookie: string) => app.inject({
      method: 'POST', url: '/desk/orders', headers: { ...form, cookie }, payload
    })
    const viewer = await logIn(desk, 'cleo')
    const refused = await place(viewer.cookie)
    t.equal(refused.statusCode, 403)
    t.match(refused.headers['content-type'], 'text/html')
    t.notMatch((await app.inject({ url: '/desk', headers: { cookie: viewer.cookie } })).body, 'Place order')
    const clerk = await logIn(desk, 'ben')
    const placed = await place(clerk.cookie)
    t.equal(placed.statusCode, 303)
    const after = String(placed.headers['set-cookie']).split(';', 1)[0] ?? ''
    const page = await app.inject({ url: '/desk', headers: { cookie: after } })
    t.match(page.body, /role="status">Order 10\d\d is placed\./)
    t.match(page.body, '&#60;script&#62;alert(1)&#60;/script&#62;')
    t.match(page.body, 'Lamp &#38; &#34;shade&#34;')
    const again = await app.inject({
      url: '/desk', headers: { cookie: String(page.headers['set-cookie']).split(';', 1)[0] ?? '' }
    })
    t.notMatch(again.body, 'is placed.', 'the notice is shown once')
    const wrong = await app.inject({
      method: 'POST',
      url: '/desk/orders',
      headers: { ...form, cookie: clerk.cookie },
      payload: 'customer=+&item=x&quantity=1'
    })
    t.equal(wrong.statusCode, 400)
  })

  t.test('cancel their own orders, or any as admins, unless shipped', async t => {
    const cancel = (id: number, cookie: string, headers = {}) => app.inject({
      method: 'POST', url: `/desk/orders/${id}/cancel`, headers: { cookie, ...headers }
    })
    const [ada, ben, cleo] = await Promise.all(
      ['ada', 'ben', 'cleo'].map(async name => (await logIn(desk, name)).cookie)
    ) as [string, string, string]
    t.match(
      (await app.inject({ url: '/desk', headers: { cookie: ben } })).body.match(/\/desk\/orders\/\d+\/cancel/g),
      ['/desk/orders/1007/cancel', '/desk/orders/1005/cancel']
    )
    t.equal((await cancel(1004, ben)).statusCode, 403, 'the order belongs to somebody else')
    t.equal((await cancel(1005, cleo)).statusCode, 403, 'a viewer may not cancel an order')
    t.equal(
      (await cancel(1005, ben, { origin: 'https://evil.example' })).statusCode, 403,
      'a request from another site is refused'
    )
    t.equal((await cancel(1005, ben)).statusCode, 303)
    t.equal((await cancel(1004, ada)).statusCode, 303)
    t.equal((await cancel(1001, ada)).statusCode, 409)
    t.equal((await cancel(9999, ben)).statusCode, 404)
  })

  t.test('are greeted by name on the public start page', async t => {
    const { cookie } = await logIn(desk, 'ada')
    t.match((await app.inject({ url: '/', headers: { cookie } })).body, 'Continue as Ada Moreau')
    t.match((await app.inject('/')).body, '>Log in</a>')
  })

  t.test('see the access rules only as admins', async t => {
    const at = async (name: string) => app.inject({
      url: '/admin', headers: { cookie: (await logIn(desk, name)).cookie }
    })
    const page = await at('ada')
    t.equal(page.statusCode, 200)
    t.match(page.body, '<code>DELETE /api/orders/:id</code>')
    t.equal((await at('ben')).statusCode, 403)
    t.equal((await app.inject('/admin')).statusCode, 401)
  })

  t.test('log out permanently, and only from the same site', async t => {
    const { cookie } = await logIn(desk, 'ada')
    t.equal(
      (
        await app.inject({ method: 'POST', url: '/logout', headers: { cookie, 'sec-fetch-site': 'cross-site' } })
      ).statusCode,
      403
    )
    t.equal((await app.inject({ url: '/desk', headers: { cookie } })).statusCode, 200)
    const out = await app.inject({ method: 'POST', url: '/logout', headers: { cookie } })
    t.equal(out.statusCode, 303)
    t.match(out.headers['set-cookie'], 'Max-Age=0')
    t.equal((await app.inject({ url: '/desk', headers: { cookie } })).statusCode, 401)
  })

  t.test('get a page for an unknown path, where programs get JSON', async t => {
    t.match((await app.inject({ url: '/nothing', headers: browser })).headers['content-type'], 'text/html')
    t.match(await app.inject('/nothing'), { statusCode: 404, headers: { 'content-type': /json/ } })
  })
})

t.test('programs', async t => {
  const desk = await startQuiet({ CORS_ORIGIN: 'https://shop.example' })
  const { app, config } = desk
  const shop = { 'x-api-key': config.SHOP_KEY }
  const warehouse = { 'x-api-key': config.WAREHOUSE_KEY }

  t.test('get a 401 that lists the schemes if they send no credential', async t => {
    const response = await app.inject('/api/orders')
    t.equal(response.statusCode, 401)
    t.match(response.headers['www-authenticate'], /^Bearer realm="user"/)
    t.equal(response.json().code, 'AUTH_REQUIRED')
    t.equal(
      (await app.inject({ url: '/api/orders', headers: { cookie: (await logIn(desk, 'ada')).cookie } })).statusCode,
      401,
      'a session is for pages'
    )
  })

  t.test('read their own identity', async t => {
    t.match(
      (await app.inject({ url: '/api/me', headers: shop })).json(),
      { scheme: 'service', principal: { realm: 'service', id: 'shop' }, expiresAt: null }
    )
    const me = (await app.inject({ url: '/api/me', headers: { authorization: await tokenOf(desk, 'ben') } })).json()
    t.match(me, { scheme: 'user', principal: { realm: 'web', id: 'ben', name: 'Ben Okafor', roles: exactly('clerk') } })
  })

  t.test('place, find, ship and cancel orders as their scopes and ownership allow', async t => {
    const placed = await app.inject({
      method: 'POST', url: '/api/orders', headers: shop, payload: { customer: 'Acme', item: 'Lamp', quantity: 2 }
    })
    t.equal(placed.statusCode, 201)
    const url = String(placed.headers.location)
    t.match(
      (await app.inject({ url, headers: warehouse })).json(),
      { customer: 'Acme', status: 'open', owner: { realm: 'service', id: 'shop' } }
    )
    t.equal((await app.inject({ url: '/api/orders?status=open', headers: warehouse })).json()[0].customer, 'Acme')
    t.equal((await app.inject({ url: '/api/orders?status=lost', headers: warehouse })).statusCode, 400)
    t.equal((await app.inject({ method: 'POST', url: '/api/orders', headers: warehouse, payload: {} })).statusCode, 403)
    t.equal(
      (await app.inject({ method: 'DELETE', url, headers: { authorization: await tokenOf(desk, 'ben') } })).statusCode,
      403
    )
    t.equal((await app.inject({ method: 'DELETE', url, headers: shop })).statusCode, 204)
    t.equal((await app.inject({ method: 'POST', url: `${url}/ship`, headers: shop })).statusCode, 403)
    t.equal((await app.inject({ method: 'POST', url: `${url}/ship`, headers: warehouse })).statusCode, 409)
    t.equal((await app.inject({ method: 'DELETE', url: '/api/orders/9999', headers: shop })).statusCode, 404)
  })

  t.test('get a token for a person, and none for a wrong password', async t => {
    const wrong = await app.inject({ method: 'POST', url: '/api/token', payload: { username: 'ben', password: 'x' } })
    t.match(wrong, { statusCode: 401, body: 'Wrong name or password' })
    t.equal((await app.inject({ url: '/api/orders', headers: { authorization: 'Bearer a.b.c' } })).statusCode, 401)
  })

  t.test('may call from one other origin in a browser', async t => {
    const preflight = (origin: string) => app.inject({
      method: 'OPTIONS', url: '/api/orders', headers: { origin, 'access-control-request-method': 'GET' }
    })
    t.match(
      await preflight('https://shop.example'),
      { statusCode: 204, headers: { 'access-control-allow-origin': 'https://shop.example' } }
    )
    t.not((await preflight('https://evil.example')).headers['access-control-allow-origin'], 'https://evil.example')
    t.equal(
      (
        await app.inject({ url: '/desk', headers: { origin: 'https://shop.example' } })
      ).headers['access-control-allow-origin'],
      undefined
    )
  })

  t.test('authenticate operators by user name and password', async t => {
    const basic = (password: string) => ({
      authorization: `Basic ${Buffer.from(`ops:${password}`).toString('base64')}`
    })
    t.equal((await app.inject({ url: '/ops/status', headers: basic(config.OPS_PASSWORD) })).statusCode, 200)
    t.equal(
      (await app.inject({ url: '/ops/routes', headers: basic(config.OPS_PASSWORD) })).json().length,
      app.gatehouse.audit().length
    )
    t.match(
      (await app.inject({ url: '/ops/status', headers: basic('wrong') })).headers['www-authenticate'],
      'Basic realm="Order desk operations"'
    )
    t.equal((await app.inject({ url: '/ops/routes', headers: shop })).statusCode, 401)
  })

  t.test('read the documentation and the health check without a credential', async t => {
    t.same((await app.inject('/health')).json(), { status: 'ok' })
    const { paths } = (await app.inject('/docs/json')).json<{ paths: Record<string, Record<string, object>> }>()
    t.same(
      Object.keys(paths).sort(),
      [
        '/account/keys/', '/account/keys/{id}', '/account/keys/{id}/rotate', '/api/me', '/api/orders',
        '/api/orders/{id}', '/api/orders/{id}/ship', '/api/token', '/api/token/refresh', '/health', '/ops/routes',
        '/ops/status'
      ]
    )
    for (const operation of Object.values(paths).flatMap(item => Object.values(item))) {
      t.match(operation, { summary: /^\w.+/, tags: [String] }, 'each operation has a summary and tags')
    }
    t.equal((await app.inject('/docs')).statusCode, 200)
  })

  t.test('leave no secret in the log at its most verbose level', async t => {
    const logged = desk.logged()
    t.match(logged, '"url":"/api/token"')
    for (const name of secretNames) t.notOk(logged.includes(String(config[name])), name)
    t.notMatch(logged, /eyJ|__Host-web=/)
  })
})

t.test('a person in a browser', { skip: withoutBrowser() }, async t => {
  const { app } = await startQuiet()
  await app.listen({ host: '127.0.0.1', port: 0 })
  const address = app.server.address()
  const at = `http://localhost:${typeof address === 'object' ? address?.port : ''}`
  const page = await openPage(t)
  const complaints: string[] = []
  const origins: string[] = []
  page.on(
    'console',
    message => {
      if (message.type() === 'error' && !message.text().includes('status of 401')) complaints.push(message.text())
    }
  )
  page.on('request', request => origins.push(new URL(request.url()).origin))

  await t.test('is sent to the login page, sees the error there, and arrives at the requested page', async t => {
    await page.goto(`${at}/admin`)
    t.match(page.url(), /\/login\?returnTo=/)
    await page.getByLabel('User name').fill('ada')
    await page.getByLabel('Password').fill('wrong')
    await page.getByRole('button', { name: 'Log in' }).click()
    t.equal(await page.getByRole('alert').textContent(), 'Wrong name or password.')
    t.equal(await page.getByLabel('User name').inputValue(), 'ada')
    await page.getByLabel('Password').fill(await page.locator('.demo p code').textContent() ?? '')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.waitForURL(`${at}/admin`)
    t.equal(await page.getByRole('heading', { level: 1 }).textContent(), 'Access')
    const cookies = await page.context().cookies()
    t.match(
      cookies.find(({ name }) => name === '__Host-gatehouse-device'),
      { secure: true, httpOnly: true, sameSite: 'Strict' },
      'the browser is known from now on'
    )
    t.match(
      cookies.find(({ name }) => name === '__Host-web'),
      { name: '__Host-web', secure: true, httpOnly: true, sameSite: 'Lax' }
    )
  })

  await t.test('places an order, sees it, and cancels it', async t => {
    await page.getByRole('link', { name: 'Orders' }).click()
    await page.getByLabel('Customer').fill('Zoë & <i>Sons</i>')
    await page.getByLabel('Item').fill('Lamp')
    await page.getByLabel('Quantity').fill('3')
    await page.getByRole('button', { name: 'Place order' }).click()
    t.equal(await page.getByRole('status').textContent(), 'Order 1007 is placed.')
    const row = page.getByRole('row', { name: /^1007/ })
    t.match(await row.textContent(), /Zoë & <i>Sons<\/i>/)
    await page.getByRole('button', { name: 'Cancel order 1007' }).click()
    t.equal(await page.getByRole('status').textContent(), 'Order 1007 is cancelled.')
    t.match(await row.textContent(), /cancelled/)
  })

  await t.test('uses it on a phone without horizontal scrolling', async t => {
    await page.setViewportSize({ width: 360, height: 740 })
    for (const path of ['/desk', '/admin', '/apps', '/']) {
      await page.goto(at + path)
      t.equal(await page.evaluate('document.documentElement.scrollWidth'), 360, path)
    }
  })

  await t.test('logs out, and the back button leads to the login page', async t => {
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.waitForURL(`${at}/`)
    t.same((await page.context().cookies()).map(({ name }) => name), ['__Host-gatehouse-device'])
    await page.goto(`${at}/desk`)
    t.match(page.url(), /\/login\?returnTo=/)
  })

  await t.test('loads every style under the policy, and nothing from other hosts', async t => {
    t.same(complaints, [])
    t.same([...new Set(origins)], [at])
  })
})
