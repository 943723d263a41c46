import { once } from 'node:events'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { timeLimit } from '../fixtures/time-limit.js'
import { encode, form, logIn, startQuiet, type Quiet } from './app.js'
import { start } from './running.js'

/** Faults with raw sockets that a security review of the running example reported. */

function portOf ({ app }: Pick<Quiet, 'app'>): number {
  return (app.server.address() as AddressInfo).port
}

function socket (t: Test, port: number): Socket {
  const opened = connect(port, '127.0.0.1')
  opened.on('error', () => {})
  t.teardown(() => { opened.destroy() })
  return opened
}

/** Reads until the text has arrived. */
async function waitForText (from: Socket, text: string): Promise<void> {
  for (let answer = ''; !answer.includes(text);) answer += String((await once(from, 'data'))[0])
}

const half = 'POST /login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{'

t.test('a partial request neither blocks a slot for ever nor keeps the process alive', async t => {
  const desk = await startQuiet()
  const { requestTimeout } = desk.app.server
  t.ok(requestTimeout > 0 && requestTimeout <= 60_000, 'unfinished requests have an end')
  const running = await start()
  t.teardown(() => running.stop('SIGKILL'))
  const stranger = socket(t, Number(new URL(running.address).port))
  stranger.write(half)
  await sleep(500)
  t.equal(await Promise.race([running.stop(), sleep(timeLimit(15_000), 'still there', { ref: false })]), 0)
})

t.test('releases the stream of a closed page, and limits a session to twenty streams', async t => {
  const desk = await startQuiet()
  await desk.app.listen({ host: '127.0.0.1', port: 0 })
  const { cookie } = await logIn(desk, 'cleo')
  const begun = async (): Promise<Socket> => {
    const stream = socket(t, portOf(desk))
    stream.write(`GET /sessions/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: ${cookie}\r\n\r\n`)
    await waitForText(stream, ': logged in')
    return stream
  }
  const first = await begun()
  first.resume()
  const others = []
  for (let i = 0; i < 19; i++) others.push(await begun())
  t.notOk(first.readableEnded)
  const ended = once(first, 'end')
  const last = await begun()
  t.ok(await Promise.race([ended, sleep(timeLimit(5_000), null, { ref: false })]), 'the oldest stream ended')
  for (let round = 0; round < 3; round++) {
    for (const stream of others.splice(0)) stream.destroy()
    await sleep(200)
    for (let i = 0; i < 19; i++) others.push(await begun())
  }
  t.notOk(last.readableEnded, 'those that were left count for nothing')
  const loggedOut = waitForText(last, 'event: end')
  await desk.app.inject({ method: 'POST', url: '/logout', headers: { cookie } })
  await loggedOut
})

t.test('does not reveal the address of an unavailable database', async t => {
  const desk = await startQuiet()
  desk.orders.list = async () => {
    throw Object.assign(new Error('connect ECONNREFUSED 10.1.2.3:5432'), { code: 'ECONNREFUSED' })
  }
  const answer = await desk.app.inject({ url: '/api/orders', headers: { 'x-api-key': desk.config.SHOP_KEY } })
  t.equal(answer.statusCode, 500)
  t.same(answer.json(), { statusCode: 500, error: 'Internal Server Error', message: 'Something went wrong' })
  t.match(desk.logged(), 'ECONNREFUSED 10.1.2.3', 'the log has it')
  t.match(
    (await desk.app.inject('/api/orders')).json(),
    { code: 'AUTH_REQUIRED', message: 'Authentication required' },
    'refusals are as they were'
  )
})

t.test('limits how many keys the page can store', async t => {
  const desk = await startQuiet()
  const { cookie } = await logIn(desk, 'cleo')
  const post = async (url: string, fields: Readonly<Record<string, string>>) => (
    await desk.app.inject({ method: 'POST', url, headers: { ...form, cookie }, payload: encode(fields) })
  ).statusCode
  const kept = async () => desk.app.gatehouse.apiKeys.of({ realm: 'web', id: 'cleo' }).list()
  const made = []
  for (let i = 0; i < 51; i++) made.push(await post('/keys', { name: 'Tablet', scopes: 'orders:read', days: '1' }))
  t.same(made, [...Array.from({ length: 50 }, () => 303), 403])
  t.match(
    (await desk.app.inject({ url: '/keys', headers: { cookie } })).body,
    'You have 50 keys, which is the maximum. Revoke one to create another.'
  )
  const rotated = []
  for (const { id } of await kept()) rotated.push(await post(`/keys/${id}/rotate`, { overlap: '86400' }))
  const [newest] = await kept()
  rotated.push(await post(`/keys/${newest?.id}/rotate`, { overlap: '86400' }))
  t.same(rotated, [...Array.from({ length: 50 }, () => 303), 403], 'each once')
  t.equal(await post(`/keys/${newest?.id}/rotate`, { overlap: '0' }), 303, 'a rotation that adds no key still works')
  t.equal((await kept()).length, 100)
})
