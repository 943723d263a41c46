import { randomBytes } from 'node:crypto'
import { setImmediate as pause, setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import pg from 'pg'
import t, { type Test } from 'tap'
import authPlugin, { session, type Store } from '../../lib/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { backends } from '../stores/fixtures/backends.js'
import { databaseUrl, dropTables, noPostgres, prefix } from '../stores/fixtures/services.js'

/**
 * A session that was renewed while its person logged out everywhere outlived the logout on PostgreSQL, and was missing
 * in `sessions.list` on Redis.
 */

const given = Number(process.env['LOGOUT_ROUNDS'] ?? 0)
const rounds = given === 0 ? 20 : given
/** Each round with a locked record waits for the database several times. */
const lockedRounds = given === 0 ? 4 : given
const owner = { realm: 'web', id: 'ann' }

/** Creates an application with sessions in a store. */
async function application (t: Test, store: Store) {
  const app = Fastify()
  t.teardown(() => app.close())
  const public_ = { config: { auth: { public: 'for tests' } } }
  await app.register(authPlugin, {
    schemes: { web: session({ secret: randomBytes(32).toString('base64url') }) },
    store
  })
  app.post('/login', public_, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  app.post('/renew', async (_request, reply) => {
    await reply.login({ id: 'ann' }, { renew: true })
    return {}
  })
  app.get('/me', async ({ principal }) => principal)
  const ask = async (method: 'GET' | 'POST', url: string, cookie = '') => {
    const answer = await app.inject({ method, url, headers: { cookie } })
    return { status: answer.statusCode, cookie: String(answer.headers['set-cookie']).split(';')[0] ?? '' }
  }
  return {
    sessions: app.gatehouse.sessions,
    login: async () => (await ask('POST', '/login')).cookie,
    renew: (cookie: string) => ask('POST', '/renew', cookie),
    status: async (cookie: string) => (await ask('GET', '/me', cookie)).status
  }
}

// before the first test, which blocks the process for longer than the databases wait
const [stores, withoutPostgres] = await Promise.all([backends(), noPostgres()])

for (const backend of stores) {
  t.test(`ends every session that is being renewed, over ${backend.name}`, { skip: backend.skip }, async t => {
    const { login, renew, sessions, status } = await application(t, backend.make(t).open())
    const left: number[] = []
    for (let round = 0; round < rounds; round++) {
      const cookies = await Promise.all([login(), login(), login()])
      const renewing = cookies.map(renew)
      await sleep(Math.random() * 8)
      await sessions.of(owner).revokeAll()
      const renewed = await Promise.all(renewing)
      const answers = await Promise.all([...cookies, ...renewed.map(each => each.cookie)].map(status))
      left.push(answers.filter(each => each === 200).length)
    }
    t.comment(`${left.filter(n => n > 0).length} of ${rounds} rounds left a session alive`)
    t.same(left.filter(n => n > 0), [])
    t.same(await sessions.of(owner).list(), [])
  })

  t.test(`lists a session that is being renewed, over ${backend.name}`, { skip: backend.skip }, async t => {
    const { login, renew, sessions } = await application(t, backend.make(t).open())
    let cookie = await login()
    let empty = 0
    for (let round = 0; round < rounds; round++) {
      const renewing = renew(cookie)
      const done = renewing.then(() => true)
      while (!await Promise.race([done, pause(false)])) {
        empty += (await sessions.of(owner).list()).length === 0 ? 1 : 0
      }
      cookie = (await renewing).cookie
    }
    t.equal(empty, 0)
  })
}

t.test(
  'ends a session that is renewed while a row lock is held, on PostgreSQL',
  { skip: withoutPostgres },
  async t => {
    const tablePrefix = prefix()
    const table = `${tablePrefix}records`
    const store = sqlStore({ connectionString: databaseUrl, tablePrefix })
    const [locking, looking] = [new pg.Client(databaseUrl), new pg.Client(databaseUrl)]
    t.teardown(() => dropTables(tablePrefix))
    t.teardown(() => Promise.all([locking.end(), looking.end()]))
    t.teardown(() => store.close())
    await Promise.all([locking.connect(), looking.connect()])
    const { login, renew, sessions, status } = await application(t, store)
    const ids = async () =>
      (await looking.query<{ id: string }>(`select id from ${table} order by id`)).rows.map(({ id }) => id)
    const waiting = `select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%${table}%'`

    /**
     * Runs one round. Returns the number of sessions that are left; `null` if the machine was so slow that the lock
     * outlasted the deadline of the store.
     */
    async function round (): Promise<number | null> {
      await sessions.of(owner).revokeAll()
      const first = await login()
      const [idOfFirst] = await ids()
      const second = await login()
      // the logout locks the records in the order of their ids, and has to wait for the first of them
      const [lowest] = await ids()
      const [locked, free] = lowest === idOfFirst ? [first, second] : [second, first]
      await locking.query('begin')
      await locking.query(`select id from ${table} where id = $1 for update`, [lowest])
      const revoking = sessions
        .of(owner)
        .revokeAll()
        .then(
          () => true,
          () => false
        )
      while ((await looking.query(waiting)).rows.length === 0 && (await Promise.race([revoking, sleep(2, true)])));
      const renewed = await renew(free)
      await locking.query('commit')
      if (!(await revoking) || renewed.status !== 200) return null
      const answers = await Promise.all([locked, free, renewed.cookie].map(status))
      return answers.filter(each => each === 200).length
    }

    const left: number[] = []
    for (let tries = 0; left.length < lockedRounds && tries < 20 * lockedRounds; tries++) {
      left.push(...[(await round()) ?? []].flat())
    }
    t.comment(`${left.filter(n => n > 0).length} of ${lockedRounds} rounds left a session alive`)
    t.same(
      left,
      Array.from({ length: lockedRounds }, () => 0)
    )
  }
)
