import { randomBytes } from 'node:crypto'
import t from 'tap'
import { session } from '../../lib/index.js'
import { createApplication, handler } from '../fixtures/schemes.js'

/**
 * Headers of browsers over plain HTTP, without Fetch Metadata: only the header of a library shows that it requests a
 * part of a page.
 */
const page = { accept: 'text/html, application/xhtml+xml' }
const form = { ...page, 'content-type': 'application/x-www-form-urlencoded' }

async function asking () {
  const { app } = await createApplication({
    schemes: { web: session({ secret: randomBytes(32).toString('base64url'), secure: false, loginPath: '/login' }) },
    publicPaths: ['/login']
  })
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, body)
  })
  app.get('/login', async () => 'name and password, please')
  app.get('/', handler().handler)
  app.post('/', handler().handler)
  return async (headers: Record<string, string>, method: 'GET' | 'POST' = 'GET') => {
    const answer = await app.inject({ method, url: '/', headers, ...method === 'POST' ? { payload: 'a=1' } : {} })
    return [answer.statusCode, answer.headers.location?.replace(/\?.*/, ''), answer.headers['www-authenticate']]
  }
}

t.test('answers 401 to a request for a fragment of a page', async t => {
  const ask = await asking()
  const fragments: ReadonlyArray<Readonly<Record<string, string>>> = [
    { 'hx-request': 'true' },
    { 'hx-request': 'true', 'hx-boosted': 'true' },
    { 'turbo-frame': 'orders' },
    { 'x-requested-with': 'XMLHttpRequest' },
    { 'x-requested-with': 'xmlhttprequest' },
    { 'x-requested-with': 'fetch' },
    { 'x-requested-with': 'XMLHttpRequest, com.example.app' },
    { 'x-up-version': '3.0.0' },
    { 'x-inertia': 'true' },
    { 'x-alpine-request': 'true' },
    { 'datastar-request': 'true' },
    { 'x-pjax': 'true' }
  ]
  for (const headers of fragments) {
    const message = JSON.stringify(headers)
    t.same(await ask({ ...page, ...headers }), [401, undefined, 'Cookie realm="web"'], message)
    t.same(await ask({ ...form, ...headers }, 'POST'), [401, undefined, 'Cookie realm="web"'], `${message}, a form`)
    t.same(
      await ask({ ...page, ...headers, cookie: 'web=forged' }),
      [401, undefined, 'Cookie realm="web"'],
      `${message}, a forged cookie`
    )
  }
})

t.test('redirects a page to the login, also in the web view of an Android application', async t => {
  const ask = await asking()
  t.same(await ask(page), [302, '/login', undefined])
  t.same(await ask(form, 'POST'), [303, '/login', undefined])
  t.same(await ask({ ...page, 'x-requested-with': 'com.example.app' }), [302, '/login', undefined])
  t.same(
    await ask({ ...page, 'x-turbo-request-id': '1' }),
    [302, '/login', undefined],
    'Turbo Drive shows the answer as a page'
  )
})
