import t, { type Test } from 'tap'
import { withDeadline, type Store } from '../../lib/index.js'
import { instanceOf, type CodeCommand, type Redeemed, type ServerInstance } from '../fixtures/code-racer.js'
import { forkProgram, sendToAll } from '../fixtures/programs.js'
import { onlyInSoak, size } from '../fixtures/size.js'
import { pair, secretOf } from '../fixtures/tokens.js'
import { backends } from '../stores/fixtures/backends.js'
import { sharedServers } from '../stores/fixtures/shared.js'
import { call, codeFor, post, redeem, serverApp, verifier } from './app.js'

/** Returns a store with a long timeout, for a busy machine. */
const patient = (store: Store): Store => withDeadline(store, { timeout: 60 })

/** Returns the number of rounds for a store. The memory store is the fastest. */
const roundsOf = (name: string) => size({ test: name === 'memory' ? 6 : 3, short: 50, full: 1_000 })
const parallel = 50

// awaited before the first test, because tap ends as soon as no test is left
const servers = await sharedServers()

for (const backend of await backends()) {
  t.test(`${backend.name}: one of ${parallel} parallel redemptions of a code gets tokens, which then end`, {
    skip: backend.skip
  }, async t => {
    const app = await serverApp(t, { store: patient(backend.make(t).open()) })
    for (let i = 0; i < roundsOf(backend.name); i++) {
      const code = await codeFor(app)
      const answers = await Promise.all(Array.from({ length: parallel }, async () => await redeem(app, code)))
      const winners = answers.filter(({ status }) => status === 200)
      if (winners.length !== 1) t.fail(`${winners.length} winners`)
      const lost = answers.filter(({ status }) => status !== 200)
      if (!lost.every(({ body }) => body.error === 'invalid_grant')) t.fail('another error than invalid_grant')
      const { access_token: token, refresh_token: refresh } = winners[0]?.body ?? {}
      const next = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: refresh }
      if ((await post(app, '/oauth/token', next)).status !== 400) t.fail('the grant has not ended')
      if ((await call(app, token)).status !== 401) t.fail('the access token lives on')
    }
    const { realm, id } = { realm: 'web', id: 'ann' }
    t.same(await app.gatehouse.tokens.of({ realm, id }, { scheme: 'api' }).list(), [], 'no grant is left over')
  })

  t.test(`${backend.name}: one of ${parallel} parallel uses of a refresh token wins`, {
    skip: backend.skip
  }, async t => {
    const app = await serverApp(t, { store: patient(backend.make(t).open()) })
    for (let i = 0; i < roundsOf(backend.name); i++) {
      const { body } = await redeem(app, await codeFor(app))
      const fields = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token }
      const answers = await Promise.all(
        Array.from({ length: parallel }, async () => await post(app, '/oauth/token', fields))
      )
      const winners = answers.filter(({ status }) => status === 200)
      if (winners.length !== 1) t.fail(`${winners.length} winners`)
      const next = { ...fields, refresh_token: winners[0]?.body.refresh_token }
      if ((await post(app, '/oauth/token', next)).status !== 400) t.fail('the grant has not ended')
    }
    t.pass('without a grace, a second use ends the grant')
  })
}

/** The number of redemptions in each of four processes: fifty in total. */
const teams = [13, 13, 12, 12]
const processRounds = size({ test: 3, short: 50, full: 1_000 })

async function raceProcesses (t: Test, store: Store, where: Pick<ServerInstance, 'redis' | 'sql'>): Promise<void> {
  const instance = {
    ...where, keys: String(pair('ec').privateKey.export({ type: 'pkcs8', format: 'pem' })), secret: secretOf()
  }
  const children = teams.map(() => forkProgram('test/fixtures/code-racer.ts'))
  t.teardown(() => { for (const child of children) child.kill('SIGKILL') })
  const app = await instanceOf(t, instance, store)
  await sendToAll<CodeCommand>(children, () => instance)
  const wrong: string[] = []
  for (let round = 0; round < processRounds; round++) {
    const code = await codeFor(app)
    const answers = await sendToAll<CodeCommand>(
      children, team => ({ code, verifier, times: teams[team] ?? 0 })
    ) as Redeemed[]
    const statuses = answers.flatMap(each => each.statuses)
    const [winner, ...others] = statuses.sort((a, b) => a - b)
    if (winner !== 200 || !others.every(status => status === 400)) wrong.push(`round ${round}: ${statuses.join()}`)
    const tokens = answers.find(each => each.tokens !== null)?.tokens
    const fields = { grant_type: 'refresh_token', client_id: 'spa', refresh_token: tokens?.refresh_token }
    if ((await post(app, '/oauth/token', fields)).status !== 400) wrong.push(`round ${round}: the grant lives on`)
    const later = await call(app, String(tokens?.access_token))
    if (later.status !== 401) wrong.push(`round ${round}: the access token lives on`)
  }
  t.same(wrong, [], `one winner in each of ${processRounds} rounds, whose tokens then ended`)
  t.same(await app.gatehouse.tokens.of({ realm: 'web', id: 'ann' }).list(), [], 'no grant is left over')
  await sendToAll<CodeCommand>(children, () => 'close')
}

for (const { name, skip, open } of servers) {
  t.test(`four processes on one ${name} that redeem one code have one winner`, {
    skip: onlyInSoak('races processes') || skip
  }, async t => {
    const { store, where } = open(t)
    await raceProcesses(t, store, where)
  })
}
