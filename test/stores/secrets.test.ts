import { Redis } from 'ioredis'
import t from 'tap'
import { Ledger, random, tracing } from '../fixtures/secrets.js'
import { size } from '../fixtures/size.js'
import { backends } from './fixtures/backends.js'
import { createApplication, secretsOf } from './fixtures/life-application.js'
import { ApplicationRun, publicKey, createSender } from './fixtures/life.js'
import { noRedis, redisUrl } from './fixtures/services.js'

const withoutRedis = await noRedis()
const ways = [['fastify', false], ['problem', true], ['oauth', true]] as const
/** `true` tries every store in every way, `false` tries each store in one way. */
const all = size({ test: false, short: true, full: true })

for (const [number, backend] of (await backends()).entries()) {
  for (const [form, overSocket] of all ? ways : ways.slice(number % ways.length).slice(0, 1)) {
    const where = overSocket ? 'by a socket' : 'in the process'
    const how = `over ${backend.name}, ${where}, with errors of the form '${form}'`
    t.test(`stores and logs no secret ${how}`, { skip: backend.skip }, async t => {
      const ledger = new Ledger()
      const secrets = secretsOf(ledger)
      const state = backend.make(t, ledger.keep('the password of the server', random()))
      const store = state.open()
      const { logger, lines } = tracing()
      const redis = backend.name === 'Redis' && withoutRedis === false ? new Redis(redisUrl) : undefined
      const app = await createApplication({
        secrets, store, form, server: { logger }, publicKey, ...redis === undefined ? {} : { redis }
      })
      t.teardown(async () => { await app.close(); redis?.disconnect() })
      const run = new ApplicationRun(t, { app, send: await createSender(app, overSocket), ledger, secrets })
      await run.sessions()
      await run.keys()
      await run.others()
      await run.grants()
      await run.faults()
      const before = await state.dump()
      await run.outage(() => state.break())
      const audit = JSON.stringify(app.gatehouse.audit()) + app.printRoutes({ commonPrefix: false, includeMeta: true })
      await app.close()
      ledger.check(
        t, { ...before, 'the log at trace': lines(), 'what callers are told': run.refusals, 'the audit': audit }
      )
    })
  }
}
