import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { AuthError } from '../../lib/errors.js'
import type { Load } from '../../types/scheme.js'
import {
  authorizePath, basic, codeFor, login, partnerSecret, people, post, redeem, serverApp, visit
} from '../oauth/app.js'

/**
 * A function of the application that throws or returns an invalid result is a fault when tokens are issued, as it is
 * when they are checked.
 */

const known: Load = principal => people[principal.id] ?? null

const withStatus = (statusCode: number): Error => Object.assign(new Error('an upstream error'), { statusCode })

/** Creates an application whose `load` can be replaced, and records its warnings and errors. */
async function replaceableLoad (t: Test) {
  const lines: string[] = []
  const logger = { level: 'warn', stream: { write: (line: string) => lines.push(line) } }
  const replaceable = { load: known }
  const app = await serverApp(t, {
    oauth: { consent: false },
    plugin: { load: (...args: Parameters<Load>) => replaceable.load(...args) },
    fastify: { logger }
  })
  const refresh = async (token: string) =>
    await post(app, '/oauth/token', { grant_type: 'refresh_token', client_id: 'spa', refresh_token: token })
  return { app, replaceable, lines, refresh }
}

t.test('a load that returns neither a principal nor null gives no tokens', async t => {
  const { app, replaceable, lines, refresh } = await replaceableLoad(t)
  const { body: { refresh_token: token } } = await redeem(app, await codeFor(app))
  const code = await codeFor(app)
  for (const answer of [true, 'ann', ['ann'], 1, Promise.resolve(true)]) {
    replaceable.load = () => answer as never
    for (const response of [await refresh(token), await redeem(app, code)]) {
      t.match(response, { status: 500, body: { error: 'server_error' } }, String(answer))
      t.match(lines.pop(), 'returned neither a principal nor null')
    }
  }
  replaceable.load = known
  t.equal((await refresh(token)).status, 200, 'the refresh token is still valid')
  t.equal((await redeem(app, code)).status, 200, 'the code is still valid')
})

t.test('answers 500 whatever status an error that load throws has, and logs the error', async t => {
  const { app, replaceable, lines, refresh } = await replaceableLoad(t)
  const { body: { refresh_token: token } } = await redeem(app, await codeFor(app))
  const code = await codeFor(app)
  for (const thrown of [withStatus(404), withStatus(401), { statusCode: 413 }, null]) {
    replaceable.load = () => { throw thrown }
    for (const response of [await refresh(token), await redeem(app, code)]) {
      t.match(response, { status: 500, body: { error: 'server_error' } })
      t.match(lines.pop(), "the load function for the scheme '")
    }
  }
  replaceable.load = () => { throw new AuthError('AUTH_UNAVAILABLE', 'the directory is down') }
  t.match(await refresh(token), { status: 503, body: { error: 'temporarily_unavailable' } })
  replaceable.load = known
  t.equal((await refresh(token)).status, 200)
})

t.test('the status of an error that the consent page throws is not that of the answer', async t => {
  const lines: string[] = []
  const app = await serverApp(t, {
    fastify: { logger: { level: 'warn', stream: { write: line => lines.push(line) } } },
    oauth: { consent: async () => { throw withStatus(403) } }
  })
  const { cookie } = await login(app)
  t.match((await visit(app, authorizePath(), cookie)).params, { error: 'server_error' })
  t.match(lines.join(), 'the function of the option oauthServer.consent threw')
})

t.test('further claims are an object or nothing', async t => {
  const claims = { answer: (): unknown => null }
  const app = await serverApp(t, { sign: { claims: () => claims.answer() } })
  const issue = async () => {
    const { status, body } = await post(
      app, '/oauth/token', { grant_type: 'client_credentials' }, basic('partner', partnerSecret)
    )
    const [, payload = ''] = String(body.access_token).split('.')
    return status === 200 ? JSON.parse(Buffer.from(payload, 'base64url').toString()) : body.error
  }
  for (const nothing of [null, undefined, false, {}]) {
    claims.answer = () => nothing
    t.match(await issue(), { sub: 'client:partner', exp: Number })
  }
  claims.answer = () => ({ tenant: 'acme' })
  t.match(await issue(), { tenant: 'acme' })
  for (const wrong of [
    'abc', ['a'], 1, true, new Map([['a', 1]]), new Set(['a']), new Error('down'), { toJSON: () => ({ sub: 'ann' }) },
    { a: 1n }
  ]) {
    claims.answer = () => wrong
    t.equal(await issue(), 'server_error', inspect(wrong))
  }
  claims.answer = () => { throw withStatus(400) }
  t.equal(await issue(), 'server_error')
  claims.answer = () => { throw new AuthError('AUTH_UNAVAILABLE', 'the directory is down') }
  t.equal(await issue(), 'temporarily_unavailable')
})
