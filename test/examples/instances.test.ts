import { createServer, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { onlyInSoak } from '../fixtures/size.js'
import { databaseUrl, dropKeys, noPostgres, noRedis, prefix, query, redisUrl } from '../stores/fixtures/services.js'
import { client, type Answer, type Client } from './client.js'
import { productionSettings, start } from './running.js'

/** Starts a load balancer that sends each request to the next instance. Responses name the instance in `x-instance`. */
async function roundRobin (ports: readonly string[]) {
  let turn = 0
  const server = createServer((incoming, outgoing) => {
    const instance = turn++ % ports.length
    const { 'x-client': from = '192.0.2.1', ...headers } = incoming.headers
    const forwarded = request({
      host: '127.0.0.1',
      port: ports[instance],
      method: incoming.method,
      path: incoming.url,
      headers: { ...headers, 'x-forwarded-for': from }
    }, answer => {
      outgoing.writeHead(answer.statusCode ?? 502, { ...answer.headers, 'x-instance': instance })
      answer.pipe(outgoing)
    })
    forwarded.once('error', () => { outgoing.writeHead(502).end() })
    incoming.pipe(forwarded)
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const bound = server.address()
  return {
    address: `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : ''}`,
    close: () => { server.close(); server.closeAllConnections() }
  }
}

/** Counts the responses by status, and the instances that sent them. */
function counted (answers: readonly Answer[]) {
  const instances = new Set(answers.map(({ headers }) => headers.get('x-instance')))
  const statuses: Record<number, number> = {}
  for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1
  return { instances: instances.size, statuses }
}

const skip = onlyInSoak('starts two instances of the example') || await noPostgres() || await noRedis()

t.test('two instances of the example behind one address, with one database and one Redis', { skip }, async t => {
  const own = prefix()
  await query(`create schema ${own}`)
  t.teardown(async () => {
    await query(`drop schema ${own} cascade`)
    await dropKeys(own)
  })
  const database = new URL(databaseUrl)
  database.searchParams.set('options', `-c search_path=${own}`)
  const redis = new URL(redisUrl)
  redis.searchParams.set('keyPrefix', own)
  const settings = productionSettings()
  const environment = {
    TRUST_PROXY: '127.0.0.1', DATABASE_URL: database.href, REDIS_URL: redis.href, ...settings
  }
  const running = await Promise.all([start(environment), start(environment)])
  t.teardown(() => Promise.all(running.map(({ stop }) => stop())))
  const proxy = await roundRobin(running.map(({ address }) => new URL(address).port))
  t.teardown(proxy.close)

  const password = settings.PEOPLE_PASSWORD
  const twice = async (ask: () => Promise<Answer>) => counted([await ask(), await ask()])
  async function loggedIn (username: string): Promise<Client> {
    const browser = client(proxy.address)
    t.equal((await browser.send('/login', { form: { username, password } })).status, 303)
    return browser
  }
  const ada = await loggedIn('ada')
  const keyOf = async (browser: Client) => JSON.parse(
    (await browser.send('/account/keys', { json: { name: 'laptop', scopes: ['orders:read', 'orders:write'] } })).body
  ) as { key: string, record: { id: string } }

  await t.test('accept the same session, key and token', async t => {
    t.same(await twice(() => ada.send('/desk')), { instances: 2, statuses: { 200: 2 } })
    const { key } = await keyOf(ada)
    t.same(
      await twice(() => ada.send('/api/me', { headers: { 'x-api-key': key } })), { instances: 2, statuses: { 200: 2 } }
    )
    const { access_token: token } = JSON.parse(
      (await ada.send('/api/token', { json: { username: 'ben', password } })).body
    ) as { access_token: string }
    t.same(
      await twice(() => ada.send('/api/me', { headers: { authorization: `Bearer ${token}` } })),
      { instances: 2, statuses: { 200: 2 } }
    )
  })

  await t.test('number orders together, and let one of two conflicting changes win', async t => {
    const place = () => ada.send('/desk/orders', { form: { customer: 'Acme', item: 'Lamp' } })
    t.same(counted(await Promise.all(Array.from({ length: 20 }, place))), { instances: 2, statuses: { 303: 20 } })
    const warehouse = { 'x-api-key': settings.WAREHOUSE_KEY }
    const listed = async () => JSON.parse(
      (await ada.send('/api/orders', { headers: warehouse })).body
    ) as ReadonlyArray<{ id: number, status: string }>
    t.same(
      (await listed()).map(({ id }) => id),
      Array.from({ length: 26 }, (_, i) => 1026 - i),
      'the numbers follow those of the six demonstration orders without a gap'
    )
    const outcomes = await Promise.all(Array.from({ length: 20 }, async (_, i) => {
      const id = 1007 + i
      const shipped = ada.send(`/api/orders/${id}/ship`, { method: 'POST', headers: warehouse })
      const cancelled = ada.send(`/desk/orders/${id}/cancel`, { method: 'POST' })
      return { id, shipped: (await shipped).status, cancelled: (await cancelled).status }
    }))
    const now = new Map((await listed()).map(({ id, status }) => [id, status]))
    for (const { id, shipped, cancelled } of outcomes) {
      t.same(
        [shipped, cancelled, now.get(id)],
        shipped === 200 ? [200, 409, 'shipped'] : [409, 303, 'cancelled'],
        `order ${id}`
      )
    }
  })

  await t.test('share the count of wrong guesses: five per account, from any address', async t => {
    const guess = (
      from: string, form = { username: 'cleo', password: 'wrong' }
    ) => client(proxy.address).send('/login', { form, headers: { 'x-client': from } })
    const wrong = []
    for (let i = 0; i < 5; i++) wrong.push(await guess(`192.0.2.${10 + i}`))
    t.same(counted(wrong), { instances: 2, statuses: { 401: 5 } })
    t.same(await twice(() => guess('192.0.2.20')), { instances: 2, statuses: { 429: 2 } })
    t.same(
      await twice(() => guess('192.0.2.21', { username: 'cleo', password })),
      { instances: 2, statuses: { 429: 2 } },
      'with the right password too'
    )
    t.same(
      await twice(() => guess('192.0.2.20', { username: 'ben', password })),
      { instances: 2, statuses: { 303: 2 } },
      'and nobody else'
    )
  })

  await t.test('share the request limit: sixty orders a minute', async t => {
    const place = () => ada.send(
      '/api/orders', { headers: { 'x-api-key': settings.SHOP_KEY }, json: { customer: 'Acme', item: 'Lamp' } }
    )
    const answers = await Promise.all(Array.from({ length: 64 }, place))
    t.same(counted(answers), { instances: 2, statuses: { 201: 60, 429: 4 } })
    t.same(counted(answers.filter(({ status }) => status === 201)).instances, 2)
  })

  await t.test('refuse what ended on the other instance within the staleness of five seconds', async t => {
    const [here, elsewhere] = [await loggedIn('ben'), await loggedIn('ben')]
    const copy = here.copy()
    const { key, record } = await keyOf(ada)
    const tries = [
      () => copy.send('/desk'),
      () => elsewhere.copy().send('/desk'),
      () => ada.send('/api/me', { headers: { 'x-api-key': key } })
    ]
    for (const ask of tries) t.same(await twice(ask), { instances: 2, statuses: { 200: 2 } }, 'both know it')
    t.equal((await here.send('/sessions/end-others', { method: 'POST' })).status, 303)
    t.equal((await here.send('/logout', { method: 'POST' })).status, 303)
    t.equal((await ada.send(`/account/keys/${record.id}`, { method: 'DELETE' })).status, 204)
    await sleep(5_100)
    for (const ask of tries) t.same(await twice(ask), { instances: 2, statuses: { 401: 2 } })
  })

  await t.test('shut down cleanly', async t => {
    t.same(await Promise.all(running.map(({ stop }) => stop())), [0, 0])
    for (const { errors, output } of running) t.same([errors(), /"level":(?:50|60)/.test(output())], ['', false])
  })
})
