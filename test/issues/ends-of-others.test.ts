import { randomBytes } from 'node:crypto'
import t from 'tap'
import { memoryStore } from '../../lib/index.js'
import { createInstance } from '../schemes/session/app.js'
import { clock } from '../schemes/session/bare-app.js'
import { switchableStore } from '../schemes/session/stores.js'

/**
 * Sessions that ended too late or not at all: after a clock was set back, and while one person ended very many of them.
 */

const madeUp = (): string => randomBytes(16).toString('base64url')
const owner = (id: string) => ({ realm: 'web', id })

t.test('ends every session of a person even if the clock was set back since the login', async t => {
  for (const store of [undefined, memoryStore()]) {
    const time = clock(t)
    const { enter, status, sessions, app } = await createInstance(store === undefined ? {} : { store })
    t.teardown(() => app.close())
    const { cookie } = await enter()
    time.advance(-5)
    await sessions.of(owner('alice')).revokeAll()
    t.equal(await status(cookie), 401)
    time.advance(60)
    t.equal(await status(cookie), 401, 'and it does not come back')
    const next = await enter()
    t.equal(await status(next.cookie), 200, 'a new login is accepted')
  }
})

t.test('spares the given session even if the clock was set back', async t => {
  const time = clock(t)
  const { enter, status, sessions, app } = await createInstance()
  t.teardown(() => app.close())
  const [kept, other] = [await enter(), await enter()]
  time.advance(-5)
  await sessions.of(owner('alice')).revokeAll({ except: kept.id })
  t.same([await status(kept.cookie), await status(other.cookie)], [200, 401])
})

t.test('ends a session of another process whose clock is ahead', async t => {
  const secret = randomBytes(32).toString('base64url')
  const time = clock(t)
  const before = await createInstance({ session: { secret } })
  const { cookie } = await before.enter()
  await before.app.close()
  time.advance(-5)
  const { status, sessions, app } = await createInstance({ session: { secret } })
  t.teardown(() => app.close())
  await sessions.of(owner('alice')).revokeAll()
  t.equal(await status(cookie), 401)
  time.advance(60)
  t.equal(await status(cookie), 401)
})

t.test('affects nobody else if a person logs out 35,000 forged ids', async t => {
  const { enter, status, sessions, app } = await createInstance()
  t.teardown(() => app.close())
  const people = Array.from({ length: 50 }, (_, n) => ({ id: `person-${n}` }))
  const ended: string[] = []
  const alive: string[] = []
  for (const person of people) {
    const [phone, desk] = [await enter(person), await enter(person)]
    await sessions.of(owner(person.id)).revoke(phone.id)
    ended.push(phone.cookie)
    alive.push(desk.cookie)
  }
  for (let n = 0; n < 35_000; n++) await sessions.of(owner('mallory')).revoke(madeUp())
  t.same(new Set(await Promise.all(alive.map(status))), new Set([200]))
  t.same(new Set(await Promise.all(ended.map(status))), new Set([401]))
})

t.test('affects nobody else if 35,000 forged ids end without an owner', async t => {
  const { enter, status, sessions, app } = await createInstance()
  t.teardown(() => app.close())
  const { cookie } = await enter()
  for (let n = 0; n < 35_000; n++) await sessions.ofAnyOwner().revoke(madeUp())
  t.equal(await status(cookie), 200)
  const other = await enter()
  t.equal(await sessions.of(owner('alice')).revoke(other.id), true, 'with an owner they are ended')
  t.same([await status(cookie), await status(other.cookie)], [200, 401])
})

t.test('affects nobody else if logouts do not reach the store', async t => {
  const { store, state } = switchableStore()
  const { enter, status, ask, app } = await createInstance({ store })
  t.teardown(() => app.close())
  const [phone, desk] = [await enter(), await enter()]
  state.down.add('take')
  t.equal((await ask('/logout', { cookie: phone.cookie })).status, 503)
  state.down.clear()
  t.same([await status(phone.cookie), await status(desk.cookie)], [401, 200])
})
