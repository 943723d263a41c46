import { randomBytes } from 'node:crypto'
import t from 'tap'
import { backends } from '../stores/fixtures/backends.js'
import {
  authorizePath, basic, call, decide, login, partnerSecret, people, post, redeem, serverApp, verifier, visit
} from './app.js'

/** The length of a part of a secret that must not appear anywhere. */
const shown = 8

function windows (secret: string): readonly string[] {
  return Array.from({ length: secret.length - shown + 1 }, (_, i) => secret.slice(i, i + shown))
}

for (const backend of await backends()) {
  t.test(`${backend.name} and the log at trace level have no code, token, secret, state or verifier`, {
    skip: backend.skip
  }, async t => {
    const lines: string[] = []
    const state = backend.make(t)
    const app = await serverApp(t, {
      store: state.open(), fastify: { logger: { level: 'trace', stream: { write: line => { lines.push(line) } } } }
    })
    const owner = { realm: 'web', id: String(people['ann']?.id) }
    const { client, secret } = await app.gatehouse.oauth.clients.of(owner).create({
      name: 'x', scopes: ['orders:read'], grants: ['client_credentials']
    })
    const own = { grant_type: 'client_credentials' }
    const robot = await post(app, '/oauth/token', own, basic(client.id, String(secret)))
    const { cookie } = await login(app)
    const sent = randomBytes(16).toString('base64url')
    const page = await visit(app, authorizePath({ state: sent }), cookie)
    const { params } = await decide(app, page.answer.body, cookie)
    const code = String(params['code'])
    await redeem(app, code, { code_verifier: 'a'.repeat(43) })
    const { body: first } = await redeem(app, code)
    const refresh = async (token: string) =>
      await post(app, '/oauth/token', { grant_type: 'refresh_token', client_id: 'spa', refresh_token: token })
    const { body: second } = await refresh(first.refresh_token)
    await call(app, second.access_token)
    await post(app, '/oauth/introspect', { token: second.access_token }, basic('partner', partnerSecret))
    await post(app, '/oauth/token', own, basic('partner', `${partnerSecret}x`))
    const unused = (await decide(app, (await visit(app, authorizePath(), cookie)).answer.body, cookie)).params['code']
    const places = { ...await state.dump(), log: lines.join('\n') }
    const secrets = {
      code,
      'unused code': String(unused),
      'state of the client': sent,
      verifier,
      'client secret': String(secret),
      'secret of the table': partnerSecret,
      ...Object.fromEntries([first, second].flatMap(({ access_token: access, refresh_token: refresh }, i) => [
        [`signature ${i}`, access.split('.')[2]],
        [`handle ${i}`, refresh.slice(3, 25)],
        [`MAC ${i}`, refresh.split('.')[2]]
      ])),
      'signature of the robot': robot.body.access_token.split('.')[2]
    }
    for (const [place, content] of Object.entries(places)) {
      const text = String(content)
      const isShown = (secret: unknown) => windows(String(secret)).some(part => text.includes(part))
      t.same(Object.entries(secrets).filter(([, each]) => isShown(each)).map(([name]) => name), [], place)
    }
    t.ok(lines.length > 20, 'something was logged')
  })
}
