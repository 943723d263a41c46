import t from 'tap'
import { jwt, session, type Scheme, type SchemeFactory } from '../../lib/index.js'
import { movableClock } from '../fixtures/clock.js'
import { createApplication, handler } from '../fixtures/schemes.js'
import { secretOf } from '../fixtures/tokens.js'

/** The log says why a credential that was sent does not count. */

/** Creates an application with one scheme, and a function that returns the logged reason of a refusal. */
async function refusals (scheme: unknown) {
  const { app, log } = await createApplication({ schemes: { own: scheme as Scheme | SchemeFactory } })
  t.teardown(() => app.close())
  app.get('/', handler().handler)
  return {
    app,
    log,
    reasonOf: async (headers: Record<string, string>) => {
      log.length = 0
      t.equal((await app.inject({ url: '/', headers })).statusCode, 401)
      return log.find(line => line.msg === 'request refused')?.auth?.reason
    }
  }
}

t.test('names the end of a session, and not the lack of a credential', async t => {
  const clock = movableClock(t)
  const { app, reasonOf } = await refusals(session({ secret: secretOf(), idleTimeout: 60 }))
  app.post('/login', { config: { auth: false } }, async (_request, reply) => { await reply.login({ id: 'ann' }) })
  const logIn = async () => {
    const { headers } = await app.inject({ method: 'POST', url: '/login' })
    return { cookie: String(headers['set-cookie']).split(';')[0] ?? '' }
  }
  t.equal(await reasonOf({}), 'no credential was sent')
  const ended = await logIn()
  await app.gatehouse.sessions.of({ realm: 'own', id: 'ann' }).revokeAll()
  t.equal(await reasonOf(ended), 'the session was ended')
  const over = await logIn()
  clock.offset += 61_000
  t.equal(await reasonOf(over), 'the session has expired')
})

t.test('logs the reason that a scheme of the application gives for an absent or a foreign credential', async t => {
  const openapi = { type: 'apiKey', in: 'header', name: 'x-device' } as const
  const answer = async (outcome: object) =>
    await (await refusals({ openapi, authenticate: () => outcome })).reasonOf({ 'x-device': 'a' })
  t.equal(await answer({ kind: 'absent', detail: 'the device was retired' }), 'the device was retired')
  t.equal(await answer({ kind: 'absent', detail: 7 }), 'no credential was sent')
  const foreign = 'the credential belongs to no scheme of this route'
  t.equal(await answer({ kind: 'foreign', detail: 'an old serial' }), `${foreign}: an old serial`)
  t.equal(await answer({ kind: 'foreign' }), foreign)
})

t.test('names the issuer and the audience of a token for somebody else', async t => {
  const [keys, issuer] = [secretOf(), 'https://id.example.com']
  const made = (iss: string, audience: string) => jwt({ keys, issuer: iss, audience, sign: true })
  const { reasonOf } = await refusals(made(issuer, 'api'))
  const tokenOf = async (iss: string, audience: string) => {
    const { app } = await createApplication({ schemes: { own: made(iss, audience) } })
    t.teardown(() => app.close())
    return { authorization: `Bearer ${await app.gatehouse.tokens.issue({ id: 'ann' })}` }
  }
  const foreign = 'the credential belongs to no scheme of this route'
  t.equal(await reasonOf(await tokenOf(`${issuer}/`, 'api')), `${foreign}: its issuer (iss) is not '${issuer}'`)
  t.equal(await reasonOf({ authorization: 'Bearer any' }), `${foreign}: it is not a JSON Web Token`)
  const plain = await refusals(jwt({ keys, issuer, audience: 'api' }))
  t.equal(
    await plain.reasonOf(await tokenOf(issuer, 'https://other.example.com')),
    "the token is for another audience (aud) than 'api'"
  )
})

t.test('says what instances must share if one refuses the tokens of the other', async t => {
  const [keys, issuer] = [secretOf(), 'https://id.example.com']
  const instance = async (secret: string) => {
    const made = await refusals(jwt({ keys, issuer, audience: 'api', sign: { refresh: { secret } } }))
    made.app.post<{ Body: { token?: string } }>('/refresh', { config: { auth: false } }, async (request, reply) =>
      await made.app.gatehouse.tokens.refresh(reply, request.body.token))
    return made
  }
  const refresh = secretOf()
  const [one, two, other] = [await instance(refresh), await instance(refresh), await instance(secretOf())]
  const { access_token, refresh_token: token } = await one.app.gatehouse.tokens.grant({ id: 'ann' })
  t.equal(
    await two.reasonOf({ authorization: `Bearer ${access_token}` }),
    'the grant of the token has ended, or is not in the store of this instance'
  )
  const refreshed = async ({ app, log }: typeof one) => {
    log.length = 0
    t.equal((await app.inject({ method: 'POST', url: '/refresh', payload: { token } })).statusCode, 401)
    return log.find(line => line.msg === 'request refused')?.auth?.reason
  }
  t.equal(await refreshed(two), 'refresh token: its grant has ended, or is not in the store of this instance')
  t.equal(
    await refreshed(other),
    'refresh token: it is missing or malformed, or was issued to another client or with another refresh.secret'
  )
  const alone = await one.app.gatehouse.tokens.issue({ id: 'ann' })
  await one.app.gatehouse.tokens.revoke(alone)
  t.equal(await one.reasonOf({ authorization: `Bearer ${alone}` }), 'the token was revoked')
})
