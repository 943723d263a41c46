import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { cookieOf, form, encode, logIn, startQuiet, type Quiet } from './app.js'

/** Logs a person in, and returns a browser that keeps the session cookie. */
async function visitor (desk: Quiet, username: string) {
  let { cookie } = await logIn(desk, username)
  const keep = (response: LightMyRequestResponse): LightMyRequestResponse => {
    cookie = cookieOf(response) || cookie
    return response
  }
  return {
    get cookie () { return cookie },
    get: async (url: string) => keep(await desk.app.inject({ url, headers: { cookie } })),
    post: async (url: string, fields: Readonly<Record<string, string>> = {}) => keep(await desk.app.inject({
      method: 'POST', url, headers: { ...form, cookie, accept: 'text/html' }, payload: encode(fields)
    }))
  }
}

const keyIn = (page: string) => /<code id="key">(desk_\w+)<\/code>/.exec(page)?.[1] ?? ''
const idsIn = (page: string, action: string) => [
  ...page.matchAll(new RegExp(`/(?:keys|sessions)/([^/"]+)/${action}"`, 'g'))
].map(match => match[1] ?? '')

t.test('API keys page', async t => {
  const desk = await startQuiet()
  const [ada, ben, cleo] = [await visitor(desk, 'ada'), await visitor(desk, 'ben'), await visitor(desk, 'cleo')]
  const use = async (key: string, url = '/api/me') => desk.app.inject({ url, headers: { 'x-api-key': key } })
  const post = async (by: typeof ada, fields = {}) => by.post(
    '/keys', { name: 'Tablet', scopes: 'orders:read', days: '30', ...fields }
  )
  const make = async (by: typeof ada, fields = {}) => {
    t.match(await post(by, fields), { statusCode: 303, headers: { location: '/keys' } })
    return await by.get('/keys')
  }

  await t.test('creates a key that is shown once, acts as its owner, and has only the selected scopes', async t => {
    const made = await make(ben)
    t.match(made, { statusCode: 200, headers: { 'cache-control': 'no-store' } })
    const key = keyIn(made.body)
    t.match((await use(key)).json(), { scheme: 'own', principal: { realm: 'web', id: 'ben' } })
    t.equal((await use(key, '/api/orders')).statusCode, 200)
    t.equal(
      (
        await desk.app.inject({
          method: 'POST', url: '/api/orders', headers: { 'x-api-key': key }, payload: { customer: 'Acme', item: 'Lamp' }
        })
      ).statusCode,
      403
    )
    const later = (await ben.get('/keys')).body
    t.match(later, 'Tablet')
    t.notMatch(later, key)
    t.notMatch((await ada.get('/keys')).body, 'Tablet', 'others do not see it')
  })

  await t.test('offers and grants only the scopes that the person has', async t => {
    const page = (await cleo.get('/keys')).body
    t.match(page, 'value="orders:read"')
    t.notMatch(page, 'value="orders:write"')
    t.equal((await post(cleo, { scopes: 'orders:write' })).statusCode, 403)
    t.equal((await post(cleo, { days: '366' })).statusCode, 400)
  })

  await t.test('rotates a key: both work for a day, or the old one ends at once', async t => {
    const old = keyIn((await make(ada)).body)
    const [id = ''] = idsIn((await ada.get('/keys')).body, 'rotate')
    t.equal((await ada.post(`/keys/${id}/rotate`, { overlap: '86400' })).statusCode, 303)
    const next = await ada.get('/keys')
    t.same([(await use(old)).statusCode, (await use(keyIn(next.body))).statusCode], [200, 200])
    t.match((await use(old)).headers, { deprecation: /^@\d+$/, sunset: /GMT$/ })
    const [newer = ''] = idsIn((await ada.get('/keys')).body, 'rotate')
    t.not(newer, id, 'a replaced key cannot be rotated again')
    t.equal((await ada.post(`/keys/${newer}/rotate`, { overlap: '0' })).statusCode, 303)
    const last = await ada.get('/keys')
    t.same([(await use(keyIn(next.body))).statusCode, (await use(keyIn(last.body))).statusCode], [401, 200])
  })

  await t.test("revokes own keys, and nobody else's", async t => {
    const key = keyIn((await make(ada, { name: 'Phone' })).body)
    const page = (await ada.get('/keys')).body
    const id = /aria-label="Revoke Phone"[^]*?\/keys\/([^/"]+)\/revoke"/.exec(page)?.[1] ?? ''
    for (const action of ['revoke', 'rotate']) {
      t.match(
        await ben.post(`/keys/${id}/${action}`, { overlap: '0' }),
        { statusCode: 404, headers: { 'content-type': /html/ } }
      )
    }
    t.equal((await use(key)).statusCode, 200)
    t.match(await ada.post(`/keys/${id}/revoke`), { statusCode: 303, headers: { location: '/keys' } })
    t.equal((await use(key)).statusCode, 401)
  })

  t.test('asks anonymous callers to log in, and accepts no API key', async t => {
    t.match(
      await desk.app.inject({ url: '/keys', headers: { accept: 'text/html' } }),
      { statusCode: 302, headers: { location: /^\/login\?returnTo=/ } }
    )
    t.equal((await use(keyIn((await make(ada)).body), '/keys')).statusCode, 401)
  })
})

t.test('sessions page', async t => {
  const desk = await startQuiet()
  const statusOf = async ({ get }: Awaited<ReturnType<typeof visitor>>) => (await get('/desk')).statusCode

  await t.test('lists the sessions of a person, and ends one of them', async t => {
    const [here, there, other] = [await visitor(desk, 'ada'), await visitor(desk, 'ada'), await visitor(desk, 'ben')]
    const page = (await here.get('/sessions')).body
    t.equal(page.match(/this browser/g)?.length, 1)
    const [id = '', ...more] = idsIn(page, 'end')
    t.same(more, [], "the list has one other session, and none of Ben's")
    t.equal((await other.post(`/sessions/${id}/end`)).statusCode, 404, 'nobody ends somebody else\'s')
    t.equal(await statusOf(there), 200)
    t.match(await here.post(`/sessions/${id}/end`), { statusCode: 303, headers: { location: '/sessions' } })
    t.same([await statusOf(here), await statusOf(there), await statusOf(other)], [200, 401, 200])
  })

  await t.test('ends all other sessions at once', async t => {
    const all = [await visitor(desk, 'cleo'), await visitor(desk, 'cleo'), await visitor(desk, 'cleo')] as const
    t.match((await all[0].get('/sessions')).body, 'Log out everywhere else')
    t.equal((await all[0].post('/sessions/end-others')).statusCode, 303)
    t.same(await Promise.all(all.map(statusOf)), [200, 401, 401])
    t.notMatch((await all[0].get('/sessions')).body, 'Log out everywhere else')
  })
})

t.test('notifies an open page only about the end of its own session', async t => {
  const desk = await startQuiet()
  await desk.app.listen({ host: '127.0.0.1', port: 0 })
  const bound = desk.app.server.address()
  const events = async (cookie: string) => fetch(
    `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : ''}/sessions/events`, { headers: { cookie } }
  )
  const [ended, closed] = [await visitor(desk, 'ada'), await visitor(desk, 'ben')]
  const streams = [await events(ended.cookie), await events(closed.cookie)] as const
  for (const { status, headers } of streams) t.same([status, headers.get('content-type')], [200, 'text/event-stream'])
  await ended.post('/logout')
  t.equal(await streams[0].text(), ': logged in\n\nevent: end\ndata: the session has ended\n\n')
  t.equal((await events(ended.cookie)).status, 401)
  await desk.app.close()
  t.equal(await streams[1].text(), ': logged in\n\n', 'a restart ends no session: the browser connects again')
})
