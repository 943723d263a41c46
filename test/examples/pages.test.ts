import t from 'tap'
import { duration } from '../../examples/access.js'
import { injectAs } from '../../lib/testing/index.js'
import { logIn, startQuiet, type Quiet } from './app.js'

const html = { accept: 'text/html' }
const get = async ({ app }: Quiet, url: string, cookie = '') =>
  await app.inject({ url, headers: { ...html, ...cookie === '' ? {} : { cookie } } })

t.test('pages for errors know who is logged in', async t => {
  const desk = await startQuiet()
  const { cookie } = await logIn(desk, 'ben')
  const denied = await get(desk, '/admin', cookie)
  t.match(denied, { statusCode: 403, headers: { 'cache-control': 'no-store', 'content-type': /html/ } })
  t.match(denied.body, /Access denied[^]*/)
  t.match(denied.body, '<strong>Ben Okafor</strong>')
  const missing = await get(desk, '/nowhere', cookie)
  t.equal(missing.statusCode, 404)
  t.match(missing.body, '<strong>Ben Okafor</strong>')
  t.match((await get(desk, '/nowhere')).body, /href="\/login">Log in</)
  t.match((await get(desk, '/nowhere', `${cookie}x`)).statusCode, 404, 'a forged cookie is nobody')
  t.same((await desk.app.inject('/nowhere')).json(), { statusCode: 404, error: 'Not Found' })
})

t.test('the header marks the current page, and leads to the login', async t => {
  const { app } = await startQuiet()
  const ada = injectAs(app, { id: 'ada', name: 'Ada', roles: ['admin'], realm: 'web' }, { scheme: 'web' })
  for (const [url, label] of [['/keys', 'Keys'], ['/admin', 'Access']] as const) {
    const { body } = await ada(url)
    t.same(body.match(/<a [^>]*aria-current="page">(\w+)</g), [`<a href="${url}" aria-current="page">${label}<`])
  }
  t.match((await app.inject('/')).body, /href="\/login">Log in</)
  t.notMatch((await app.inject('/login')).body, /href="\/login"/)
})

t.test('routes are grouped by their paths, with durations in words', async t => {
  const { app } = await startQuiet()
  const ada = injectAs(app, { id: 'ada', name: 'Ada', roles: ['admin'], realm: 'web' }, { scheme: 'web' })
  const { body } = await ada('/admin')
  const groups = Array.from(body.matchAll(/scope="rowgroup" colspan="3">([^<]+)</g), match => match[1])
  t.same(groups, [...new Set(groups)], 'each group is shown once')
  t.ok(groups.length > 5)
  t.match(body, 'authenticated within 1 hour')
  t.match(body, 'at most 60 requests in 1 minute')
  t.same([1, 40, 90, 120, 5_400, 7_200, 86_400].map(duration), [
    '1 second', '40 seconds', '90 seconds', '2 minutes', '90 minutes', '2 hours', '1 day'
  ])
})

t.test('the login page shows the demo password to this machine only', async t => {
  const local = await startQuiet()
  t.match((await get(local, '/login')).body, local.config.PEOPLE_PASSWORD)
  const network = await startQuiet({ HOST: '0.0.0.0' })
  t.notMatch((await get(network, '/login')).body, network.config.PEOPLE_PASSWORD)
})
