import t from 'tap'
import { basic, codeFor, partnerSecret, post, redeem, serverApp, webSecret } from './app.js'
import { movableClock } from '../fixtures/clock.js'

/** The log of the token endpoint says why a request was refused; the client gets a constant sentence. */

const own = { grant_type: 'client_credentials' }

/** Creates a server, and a function that returns the logged reason of a refusal. */
async function loggingApp () {
  const lines: string[] = []
  const stream = { write: (line: string) => { lines.push(line) } }
  const app = await serverApp(t, { fastify: { logger: { stream } } })
  const reasonOf = async (answer: Promise<{ status: number }>) => {
    lines.length = 0
    t.ok((await answer).status >= 400)
    return lines.map(line => JSON.parse(line)).find(({ msg }) => msg === 'request refused')?.oauth.reason
  }
  return { app, reasonOf }
}

t.test('says why a client could not be authenticated, and names it if it exists', async t => {
  const clock = movableClock(t)
  const { app, reasonOf } = await loggingApp()
  const token = async (fields: object, headers = {}) =>
    await reasonOf(post(app, '/oauth/token', { ...own, ...fields }, headers))
  t.equal(await token({}), 'no client ID was sent, or the Authorization header is malformed')
  t.equal(await token({}, basic('nobody', partnerSecret)), 'there is no client with this ID')
  t.equal(await token({}, basic('partner', 'wrong')), "the secret of the client 'partner' is wrong")
  t.equal(await token({ client_id: 'partner' }), "the client 'partner' has to send its secret")
  t.equal(await token({}, basic('spa', 'any')), "the client 'spa' is public, so it must not send a secret")
  const stored = app.gatehouse.oauth.clients.of({ realm: 'web', id: 'ann' })
  const { client, secret } = await stored.create({
    name: 'Robot', scopes: ['orders:read'], grants: ['client_credentials']
  })
  await stored.rotateSecret(client.id, { overlap: '1h' })
  clock.offset += 3_700_000
  t.equal(await token({}, basic(client.id, String(secret))), `the secret of the client '${client.id}' has expired`)
})

t.test('says why a code or a refresh token was refused', async t => {
  const { app, reasonOf } = await loggingApp()
  const code = await codeFor(app)
  const refused = async (fields: object) => await reasonOf(redeem(app, code, fields as never))
  t.equal(
    await refused({ code_verifier: 'x' }),
    'code_verifier does not belong to the code_challenge of the authorization request'
  )
  t.equal(
    await refused({ redirect_uri: 'https://a.example' }),
    'redirect_uri is another one than in the authorization request'
  )
  t.equal(await refused({ code: 'x' }), 'the code is unknown, or has expired')
  const asWeb = { grant_type: 'authorization_code', code }
  const byWeb = post(app, '/oauth/token', asWeb, basic('web', webSecret))
  t.equal(await reasonOf(byWeb), "the code is for another client than 'web'")
  const { body } = await redeem(app, code)
  t.equal(await refused({}), 'the code was used before, so its grant has ended')
  const refresh = { grant_type: 'refresh_token', refresh_token: body.refresh_token, client_id: 'spa' }
  t.equal(
    await reasonOf(post(app, '/oauth/token', refresh)),
    'refresh token: its grant has ended, or is not in the store of this instance'
  )
  t.equal(
    await reasonOf(post(app, '/oauth/token', { ...refresh, refresh_token: 'x' })),
    'refresh token: it is malformed, or was issued to another client or with another refresh.secret'
  )
})
