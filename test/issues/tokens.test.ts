import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import gatehouse, { jwt, session, type GatehouseOptions, type JwtOptions, type Principal } from '../../lib/index.js'
import { secretOf, token } from '../fixtures/tokens.js'

const issuer = 'https://issuer.test'
const audience = 'https://api.test'
const key = secretOf()

async function appWith (options: Partial<JwtOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  const user = jwt({ keys: key, issuer, audience, ...options } as JwtOptions)
  await app.register(gatehouse, { schemes: { user } } as GatehouseOptions)
  app.get('/', async request => ({ authenticatedAt: request.auth.authenticatedAt, expiresAt: request.auth.expiresAt }))
  app.get('/recent', { config: { auth: { maxAge: '5m' } } }, async () => 'recent')
  t.teardown(() => app.close())
  return app
}

const now = (): number => Math.floor(Date.now() / 1000)

/** Sends a request with a token of valid claims, some of them changed. */
async function ask (app: FastifyInstance, changed: Readonly<Record<string, unknown>>, url = '/') {
  const claims = { iss: issuer, aud: audience, sub: 'alice', iat: now(), exp: now() + 300, ...changed }
  return app.inject({ url, headers: { authorization: `Bearer ${token(claims, { alg: 'HS256', key })}` } })
}

const lastInstant = 8.64e12

t.test('accepts an exp at the end of time with a tolerance, and reports the last valid Date', async t => {
  const app = await appWith({ clockTolerance: '60s' })
  for (const exp of [lastInstant, lastInstant - 1, lastInstant - 59.5]) {
    const response = await ask(app, { exp })
    t.equal(response.statusCode, 200, String(exp))
    t.equal(response.json().expiresAt, '+275760-09-13T00:00:00.000Z')
  }
  t.equal((await ask(app, { exp: lastInstant + 1 })).statusCode, 401)
})

const edges = [
  lastInstant, -lastInstant, lastInstant + 1, -lastInstant - 1, 0, -0.5, Number.MAX_VALUE, Number.MIN_VALUE
]

t.test('answers 200 or 401, never 500, for every time claim at the limits of a Date', async t => {
  for (const clockTolerance of [0, 60, 600]) {
    const app = await appWith({ clockTolerance, maxTokenAge: '300000d' as never }).catch(() => null)
    t.equal(app, null, 'a duration whose end is not a Date stops the boot')
    const usual = await appWith({ clockTolerance, maxTokenAge: '100000d' })
    for (const claim of ['exp', 'nbf', 'iat', 'auth_time']) {
      for (const instant of edges) {
        for (const url of ['/', '/recent']) {
          const { statusCode } = await ask(usual, { [claim]: instant }, url)
          t.ok(statusCode === 200 || statusCode === 401, `${claim} ${instant} at ${url}: ${statusCode}`)
        }
      }
    }
  }
})

t.test('refuses at boot a session timeout beyond the limits of a Date', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  const load = (principal: Principal): Principal => principal
  const web = session({ secret: secretOf(), load, absoluteTimeout: 1e300, idleTimeout: 1e300 })
  const registered = Promise.resolve(app.register(gatehouse, { schemes: { web } }))
  await t.rejects(registered, { code: 'AUTH_MISCONFIGURED', message: /at most 300 years/ })
})

t.test('accepts an iat up to a minute ahead, and refuses later ones with AUTH_INVALID_CREDENTIALS', async t => {
  const app = await appWith()
  for (const ahead of [1, 30, 58]) {
    t.equal((await ask(app, { iat: now() + ahead })).statusCode, 200, `${ahead} seconds ahead`)
  }
  const late = await ask(app, { iat: now() + 120 })
  t.equal(late.statusCode, 401)
  t.equal(late.json().code, 'AUTH_INVALID_CREDENTIALS')
  t.equal((await ask(app, { nbf: now() + 30 })).statusCode, 401, 'nbf has no such tolerance')
})

t.test('accepts an iat further ahead if clockTolerance is longer', async t => {
  const app = await appWith({ clockTolerance: '5m' })
  t.equal((await ask(app, { iat: now() + 280 })).statusCode, 200)
})

t.test('counts maxTokenAge from an iat that is ahead', async t => {
  const app = await appWith({ maxTokenAge: '10s' })
  t.equal((await ask(app, { iat: now() + 30 })).statusCode, 200)
  const old = await ask(app, { iat: now() - 10 })
  t.equal(old.json().code, 'AUTH_TOKEN_EXPIRED')
})

t.test('accepts an auth_time up to a minute ahead as recent, and sends a step-up challenge beyond', async t => {
  const app = await appWith()
  t.equal((await ask(app, { auth_time: now() + 30 }, '/recent')).statusCode, 200)
  const late = await ask(app, { auth_time: now() + 120 }, '/recent')
  t.equal(late.json().code, 'AUTH_STEP_UP_REQUIRED')
})

t.test('refuses a sender-constrained token with AUTH_INVALID_CREDENTIALS, whatever cnf contains', async t => {
  const app = await appWith()
  const jkt = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'
  for (const cnf of [{ jkt }, { 'x5t#S256': jkt }, { jwk: { kty: 'oct' } }, { kid: 'a' }, {}, [], null, false, 0, '']) {
    const response = await ask(app, { cnf })
    t.equal(response.statusCode, 401, JSON.stringify(cnf))
    t.equal(response.json().code, 'AUTH_INVALID_CREDENTIALS')
  }
  t.equal((await ask(app, {})).statusCode, 200)
})

t.test('does not sign a sender-constrained token', async t => {
  const app = await appWith({ sign: true })
  const issue = app.gatehouse.tokens.issue({ id: 'alice' }, { claims: { cnf: { jkt: 'a' } } })
  await t.rejects(issue, { code: 'AUTH_FAULT', detail: /cnf/ })
})
