import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import helmet from '@fastify/helmet'
import t from 'tap'
import { freePort, openPage, withoutBrowser } from '../fixtures/browser.js'
import { onlyInSoak } from '../fixtures/size.js'
import { secretOf } from '../fixtures/tokens.js'
import { serverApp } from './app.js'

t.test('in a browser, with the defaults of @fastify/helmet', {
  skip: onlyInSoak('opens the other pages in a browser') || withoutBrowser()
}, async t => {
  const [port, clientPort] = [await freePort(), await freePort()]
  const issuer = `http://localhost:${port}`
  const redirectUri = `http://localhost:${clientPort}/cb`
  const app = await serverApp(t, {
    issuer,
    session: { loginPath: '/enter' },
    before: async app => { await app.register(helmet) },
    oauth: {
      clients: { shop: { name: 'Shop', redirectUris: [redirectUri], scopes: ['orders:read'], secrets: [secretOf()] } },
      consent: 'remember'
    }
  })
  const open = { config: { auth: { public: 'for tests' } } }
  app.get('/welcome', open, async (_request, reply) => reply.type('text/html').send('<h1>Welcome</h1>'))
  app.get('/enter', open, async (request, reply) => {
    const back = String(new URLSearchParams(request.url.split('?')[1]))
    const form = `<form method="post" action="/enter?${back}"><button>Log in</button></form>`
    return await reply.type('text/html').send(form)
  })
  app.register(async forms => {
    forms.addContentTypeParser('application/x-www-form-urlencoded', (_request, payload, done) => {
      payload.resume()
      done(null, {})
    })
    forms.post('/enter', open, async (request, reply) => {
      await reply.login({ id: 'ann' })
      return await reply.redirect(app.gatehouse.sessions.returnTo(request, '/welcome'), 303)
    })
  })
  await app.listen({ port, host: 'localhost' })
  const received: URL[] = []
  const thirdParty = createServer((request, response) => {
    received.push(new URL(String(request.url), redirectUri))
    response.setHeader('content-type', 'text/html')
    response.end('<h1>Your shop</h1>')
  }).listen(clientPort, 'localhost')
  t.teardown(() => thirdParty.close())
  const page = await openPage(t)
  const visitServer = async (more: Record<string, string> = {}) => {
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: 'shop',
      redirect_uri: redirectUri,
      state: 's',
      code_challenge: createHash('sha256').update('v'.repeat(43)).digest('base64url'),
      code_challenge_method: 'S256',
      ...more
    })
    await page.goto(`${issuer}/oauth/authorize?${String(query)}`)
  }
  const answer = async () => {
    await page.waitForURL(`${redirectUri}?**`)
    t.equal(await page.locator('h1').textContent(), 'Your shop')
    return Object.fromEntries(received.filter(({ pathname }) => pathname === '/cb').at(-1)?.searchParams ?? [])
  }

  await visitServer()
  await page.getByRole('button', { name: 'Log in' }).click()
  t.equal(await page.locator('h1').textContent(), 'Allow Shop?')
  await page.getByRole('button', { name: 'Allow' }).click()
  t.match(await answer(), { code: /./, state: 's', iss: issuer }, 'first with login and consent')

  await visitServer()
  t.match(await answer(), { code: /./ }, 'then without')

  await visitServer({ prompt: 'consent' })
  await page.getByRole('button', { name: 'Deny' }).click()
  t.match(await answer(), { error: 'access_denied' }, 'denied')

  await page.context().clearCookies()
  await visitServer()
  await page.getByRole('button', { name: 'Log in' }).click()
  t.match(await answer(), { code: /./ }, 'after the session ended')
})
