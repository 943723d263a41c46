import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { openDatabase } from '../../examples/data/database.js'
import { hashPassword } from '../../lib/passwords/index.js'
import { onlyInSoak } from '../fixtures/size.js'
import { logIn, startQuiet } from './app.js'
import { client } from './client.js'
import {
  curlLines, folder, jarOf, productionSettings, promisedBy, runLine, start, startRefused
} from './running.js'

/** Each start of the example hashes the passwords of its people. */
const skipMoreStarts = onlyInSoak('starts the example more often')
const wrong = { username: 'cleo', password: 'wrong' }

/** Returns a value of the file of secrets. */
function kept (path: string, name: string): string {
  return new RegExp(`^${name}=(.+)$`, 'm').exec(readFileSync(`${path}/secrets.env`, 'utf8'))?.[1] ?? ''
}

t.test('a restart of the example', async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const first = await start({ DATA_DIR: path })
  const credentials = { username: 'ada', password: kept(path, 'PEOPLE_PASSWORD') }
  const ada = client(first.address)
  t.equal((await ada.send('/login', { form: credentials })).status, 303)
  const gone = client(first.address)
  await gone.send('/login', { form: credentials })
  const copy = gone.copy()
  t.equal((await gone.send('/logout', { method: 'POST' })).status, 303)
  const make = async () => JSON.parse(
    (await ada.send('/account/keys', { json: { name: 'laptop', scopes: ['orders:read', 'orders:write'] } })).body
  ) as { key: string, record: { id: string } }
  const [good, revoked] = [await make(), await make()]
  t.equal((await ada.send(`/account/keys/${revoked.record.id}`, { method: 'DELETE' })).status, 204)
  const placed = await ada.send(
    '/api/orders', { headers: { 'x-api-key': good.key }, json: { customer: 'Zoë & Sons', item: 'Lamp' } }
  )
  const order = placed.headers.get('location') ?? ''
  const { access_token: token } = JSON.parse(
    (await ada.send('/api/token', { json: credentials })).body
  ) as { access_token: string }
  const stranger = client(first.address)
  for (let i = 0; i < 4; i++) t.equal((await stranger.send('/login', { form: wrong })).status, 401)

  async function goesOn (address: string): Promise<void> {
    const [now, ended] = [ada.copy(address), copy.copy(address)]
    t.match(await now.send('/desk'), { status: 200, body: 'Ada Moreau' }, 'the session is still valid')
    t.equal((await ended.send('/desk')).status, 401, 'not the one that was ended')
    t.match(
      await now.send('/api/me', { headers: { 'x-api-key': good.key } }),
      { status: 200, body: '"scheme":"own"' },
      'the key'
    )
    t.equal(
      (await now.send('/api/me', { headers: { 'x-api-key': revoked.key } })).status, 401, 'not the one that was revoked'
    )
    t.match(
      await now.send(order, { headers: { authorization: `Bearer ${token}` } }),
      { status: 200, body: 'Zoë & Sons' },
      'the order, and the token'
    )
  }

  t.equal(await first.stop('SIGKILL'), null)
  const second = await start({ DATA_DIR: path })
  await goesOn(second.address)
  t.equal(await second.stop('SIGTERM'), 0)

  const third = await start({ DATA_DIR: path })
  t.teardown(() => third.stop())
  await goesOn(third.address)
  const keys = JSON.parse((await ada.copy(third.address).send('/account/keys')).body) as {
    keys: ReadonlyArray<{ id: string, lastUsedAt: string | null }>
  }
  t.same(keys.keys.map(({ id }) => id), [good.record.id])
  t.type(keys.keys[0]?.lastUsedAt, 'string', 'when a key was last used is written while the application closes')
  const guess = () => stranger.copy(third.address).send('/login', { form: wrong })
  t.same(
    [(await guess()).status, (await guess()).status], [401, 429],
    'the four wrong guesses before the restart still count'
  )
  t.equal(
    (await ada.copy(third.address).send('/login', { form: credentials })).status,
    303,
    'a browser that is known has a count of its own'
  )
})

t.test('prints lines that answer as printed, whatever happened to the orders of the first start', {
  skip: skipMoreStarts
}, async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const first = await startQuiet({ DATA_DIR: path })
  const { cookie } = await logIn(first, 'ada')
  for (const id of [1002, 1004, 1005, 1006]) {
    t.equal(
      (await first.app.inject({ method: 'POST', url: `/desk/orders/${id}/cancel`, headers: { cookie } })).statusCode,
      303
    )
  }
  await first.app.close()
  const { printed, stop } = await start({ DATA_DIR: path })
  t.teardown(() => stop())
  t.teardown(() => { rmSync(jarOf(printed), { force: true }) })
  for (const line of curlLines(printed)) {
    t.equal(await runLine(line), promisedBy(line), line.replace(/Bearer \S+/, 'Bearer …'))
  }
})

t.test('allows two concurrent starts on a new folder', { skip: skipMoreStarts }, async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const running = await Promise.all([start({ DATA_DIR: path }), start({ DATA_DIR: path })])
  t.teardown(() => Promise.all(running.map(({ stop }) => stop())))
  const [one, other] = running.map(({ printed }) => /x-api-key: (\S+)'/.exec(printed)?.[1])
  t.equal(one, other, 'have one set of secrets')
  t.equal(one, kept(path, 'SHOP_KEY'))
  const headers = { 'x-api-key': one ?? '' }
  const clients = running.map(({ address }) => client(address))
  const place = (from: number) => clients[from % 2]?.send(
    '/api/orders', { headers, json: { customer: 'Acme', item: 'Lamp' } }
  )
  const placed = await Promise.all(Array.from({ length: 20 }, (_, i) => place(i)))
  const numbers = placed.map(answer => (JSON.parse(answer?.body ?? '{}') as { id: number }).id).sort()
  t.same(
    numbers,
    Array.from({ length: 20 }, (_, i) => 1007 + i),
    'both instances number orders from one sequence, and the demonstration orders were added once'
  )
})

t.test('the file of secrets', async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const file = `${path}/secrets.env`
  await startQuiet({ DATA_DIR: path })
  const whole = readFileSync(file, 'utf8')

  t.test('stops the start if it is damaged, and is left unchanged', async t => {
    for (const damaged of [
      '', whole.slice(0, 60), whole.replace(/^JWT_KEYS=.*$/m, 'JWT_KEYS='), '\0\u0001\ufffd'.repeat(50)
    ]) {
      writeFileSync(file, damaged)
      await t.rejects(
        startQuiet({ DATA_DIR: path }),
        { message: /^The file .*secrets\.env is damaged: it does not contain .*JWT_KEYS.*\. Delete it/ }
      )
      t.equal(readFileSync(file, 'utf8'), damaged)
    }
  })

  t.test('causes a warning if others may read it', { skip: process.platform === 'win32' }, async t => {
    writeFileSync(file, whole)
    t.notMatch((await startQuiet({ DATA_DIR: path })).logged(), 'Other users of this machine can read')
    chmodSync(file, 0o644)
    t.match(
      (await startQuiet({ DATA_DIR: path })).logged(),
      /"level":40.*Other users of this machine can read .*secrets\.env\. To fix this: chmod 600/
    )
  })

  t.test('is the same for all concurrent starts', async t => {
    const another = folder()
    t.teardown(another.remove)
    const desks = await Promise.all(Array.from({ length: 5 }, () => startQuiet({ DATA_DIR: another.path })))
    t.equal(new Set(desks.map(({ config }) => config.JWT_KEYS)).size, 1)
  })
})

t.test('the password hashes', async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const before = await startQuiet({ DATA_DIR: path })
  const database = await openDatabase({ DATA_DIR: path, DATABASE_URL: '' }, before.app.log)
  t.teardown(() => database.destroy())
  const hashOf = async (id: string) => (
    await database.selectFrom('people').select('hash').where('id', '=', id).executeTakeFirstOrThrow()
  ).hash
  const setHash = async (id: string, hash: string) => {
    await database.updateTable('people').set({ hash }).where('id', '=', id).execute()
  }
  const password = before.config.PEOPLE_PASSWORD

  t.test('are upgraded by a login if they are outdated', async t => {
    await setHash('ben', await hashPassword(password, { algorithm: 'bcrypt', cost: 10 }))
    t.equal(await before.people.verify('ben', 'wrong'), null)
    t.match(await hashOf('ben'), /^\$2/)
    t.match(await before.people.verify('ben', password), { id: 'ben' })
    t.match(await hashOf('ben'), /^\$argon2id\$/)
    const settled = await hashOf('ben')
    t.match(await before.people.verify('ben', password), { id: 'ben' })
    t.equal(await hashOf('ben'), settled, 'and then no more')
  })

  t.test('are not overwritten if the password changed during verification', async t => {
    await setHash('ben', await hashPassword(password, { algorithm: 'bcrypt', cost: 10 }))
    const verifying = before.people.verify('ben', password)
    const changed = await hashPassword('another password')
    await setHash('ben', changed)
    await verifying
    t.equal(await hashOf('ben'), changed)
  })

  t.test('follow PEOPLE_PASSWORD in development, for demo users only', async t => {
    const own = await hashPassword('a password of her own')
    await database.insertInto('people').values({
      id: 'dora', name: 'Dora Vale', roles: 'clerk viewer', hash: own
    }).execute()
    const after = await startQuiet({ DATA_DIR: path, PEOPLE_PASSWORD: 'chosen anew at each start' })
    for (const id of ['ada', 'ben', 'cleo']) t.match(await after.people.verify(id, 'chosen anew at each start'), { id })
    t.equal(await after.people.verify('ada', password), null)
    t.match(
      await after.people.verify('dora', 'a password of her own'), { name: 'Dora Vale', roles: ['clerk', 'viewer'] }
    )
  })

  t.test('stay unchanged in production', async t => {
    const { people } = await startQuiet({
      ...productionSettings(), DATA_DIR: path, PEOPLE_PASSWORD: 'set by whoever deploys'
    })
    t.equal(await people.verify('ada', 'set by whoever deploys'), null)
    t.match(await people.verify('ada', 'chosen anew at each start'), { id: 'ada' })
  })
})

t.test('stops the start with a message, without a password, if a file cannot be opened', async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  writeFileSync(`${path}/file`, 'no database, no folder')
  await t.rejects(
    startQuiet({ DATA_DIR: `${path}/file` }),
    { message: /^DATA_DIR: the folder .*file cannot be created \(EEXIST\)\.$/ }
  )
  writeFileSync(`${path}/order-desk.sqlite`, 'no database either'.repeat(99))
  await t.rejects(
    startQuiet({ DATA_DIR: path }),
    { message: /^The file .*order-desk\.sqlite cannot be used as a database \(SQLITE_NOTADB\)\.$/ }
  )
  await t.rejects(
    startQuiet({ DATABASE_URL: 'postgres://desk:hunter2hunter2@127.0.0.1:1/orders' }),
    { message: /^DATABASE_URL: PostgreSQL cannot be used \(ECONNREFUSED\)\.$/ }
  )
  const { code, output, errors } = await startRefused({ REDIS_URL: 'redis://:hunter2hunter2@127.0.0.1:1' })
  t.equal(code, 1, 'it ends by itself')
  t.match(errors, /^The server did not start\. REDIS_URL: Redis cannot be used \(ECONNREFUSED\)\.\n$/)
  t.notMatch(output + errors, 'hunter2')
  for (const [name, url] of [
    ['DATABASE_URL', 'postgres//desk:hunter2hunter2@db'], ['DATABASE_URL', 'hunter2hunter2'],
    ['REDIS_URL', 'http://:hunter2hunter2@redis']
  ] as const) {
    const refused = await startQuiet({ [name]: url }).catch((error: unknown) => String(error))
    t.match(refused, `- ${name} is not of the form`)
    t.notMatch(refused, 'hunter2')
  }
})
