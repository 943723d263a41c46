import t from 'tap'
import { size } from '../fixtures/size.js'
import { backends } from '../stores/fixtures/backends.js'
import { call, codeFor, post, redeem, serverApp } from './app.js'

/** Rounds per store, of which that in memory is the fastest. */
const roundsOf = (name: string) => size({ test: name === 'memory' ? 50 : 5, short: 50, full: 1_000 })
const parallel = 50

for (const backend of await backends()) {
  t.test(`${backend.name}: one of ${parallel} parallel redemptions of a code gets tokens, which then end`, {
    skip: backend.skip
  }, async t => {
    const app = await serverApp(t, { store: backend.make(t).open() })
    for (let i = 0; i < roundsOf(backend.name); i++) {
      const code = await codeFor(app)
      const answers = await Promise.all(Array.from({ length: parallel }, async () => await redeem(app, code)))
      const winners = answers.filter(({ status }) => status === 200)
      if (winners.length !== 1) t.fail(`${winners.length} winners`)
      const lost = answers.filter(({ status }) => status !== 200)
      if (!lost.every(({ body }) => body.error === 'invalid_grant')) t.fail('another error than invalid_grant')
      const { access_token: token, refresh_token: refresh } = winners[0]?.body ?? {}
      const next = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: refresh }
      if ((await post(app, '/oauth/token', next)).status !== 400) t.fail('the grant lives on')
      if ((await call(app, token)).status !== 401) t.fail('the access token lives on')
    }
    const { realm, id } = { realm: 'web', id: 'ann' }
    t.same(await app.gatehouse.tokens.of({ realm, id }, { scheme: 'api' }).list(), [], 'no grant is left over')
  })

  t.test(`${backend.name}: one of ${parallel} parallel uses of a refresh token wins`, {
    skip: backend.skip
  }, async t => {
    const app = await serverApp(t, { store: backend.make(t).open() })
    for (let i = 0; i < roundsOf(backend.name); i++) {
      const { body } = await redeem(app, await codeFor(app))
      const fields = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token }
      const answers = await Promise.all(
        Array.from({ length: parallel }, async () => await post(app, '/oauth/token', fields))
      )
      const winners = answers.filter(({ status }) => status === 200)
      if (winners.length !== 1) t.fail(`${winners.length} winners`)
      const next = { ...fields, refresh_token: winners[0]?.body.refresh_token }
      if ((await post(app, '/oauth/token', next)).status !== 400) t.fail('the grant lives on')
    }
    t.pass('without a grace, a second use ends the grant')
  })
}
