import t from 'tap'
import { createInstance } from '../schemes/session/app.js'
import { secret } from '../schemes/session/bare-app.js'

/**
 * A cookie that no secret decrypts was removed by page loads only: a single-page application sent it forever, and
 * always got 401.
 */

const removal = '__Host-web=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0'

t.test('removes a cookie that no secret opens on every answer', async t => {
  for (const errors of ['fastify', 'problem', 'oauth', () => ({ own: 1 })] as const) {
    const { app, ask } = await createInstance({
      session: { loginPath: '/login-page' },
      gatehouse: { errors, publicPaths: ['/login-page'] },
      after: async app => {
        app.get('/login-page', async () => 'page')
        app.get('/try', { config: { auth: { mode: 'try' } } }, async request => ({ code: request.auth.error?.code }))
        app.get('/optional', { config: { auth: { mode: 'optional' } } }, async () => ({}))
        app.post('/write', async () => ({}))
      }
    })
    t.teardown(() => app.close())
    const rotated = await createInstance({ session: { secret: secret() } })
    t.teardown(() => rotated.app.close())
    const { cookie: ofOtherSecret } = await rotated.enter()
    for (const cookie of ['__Host-web=forged', ofOtherSecret, `${ofOtherSecret}; ${ofOtherSecret}`]) {
      for (const [method, url, status] of [
        ['GET', '/me', 401],
        ['GET', '/optional', 401],
        ['POST', '/write', 401],
        ['GET', '/try', 200]
      ] as const) {
        const answer = await ask(url, { method, cookie, headers: { accept: 'application/json' } })
        t.equal(answer.status, status, url)
        t.same(answer.setCookies, [removal], url)
        t.equal(answer.headers['cache-control'], 'no-store')
      }
      const page = await ask('/me', { method: 'GET', cookie, headers: { accept: 'text/html' } })
      t.equal(page.status, 302)
      t.same(page.setCookies, [removal])
    }
  }
})

t.test('replaces such a cookie on login, and removes it once on logout', async t => {
  const { app, ask, status } = await createInstance()
  t.teardown(() => app.close())
  const login = await ask('/login', { cookie: '__Host-web=forged' })
  t.equal(login.setCookies.length, 1)
  t.equal(await status(login.cookie), 200)
  t.same((await ask('/logout', { cookie: '__Host-web=forged' })).setCookies, [removal])
})

t.test('removes neither a valid cookie nor one that was not sent', async t => {
  const { app, ask, enter } = await createInstance({
    gatehouse: { roles: { nobody: {} } },
    after: async app => {
      app.get('/refused', { config: { auth: { roles: 'nobody' as never } } }, async () => '')
    }
  })
  t.teardown(() => app.close())
  const { cookie } = await enter()
  t.same((await ask('/refused', { method: 'GET', cookie })).setCookies, [])
  t.same((await ask('/me', { method: 'GET' })).setCookies, [])
})
