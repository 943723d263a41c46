import { EventEmitter } from 'node:events'
import { Redis } from 'ioredis'
import t from 'tap'
import { Changes, type Subscriber } from '../../lib/stores/redis/connect.js'
import { redisStore, type RedisStoreOptions } from '../../lib/stores/redis/index.js'
import type { StoreEntry } from '../../types/store.js'
import { size } from '../fixtures/size.js'
import { passesStoreContract } from './contract.js'
import { dropKeys, noRedis, prefix as makePrefix, redisUrl, withRedis } from './fixtures/services.js'

/** A fake connection that records what {@link Changes} does with it. */
class Line extends EventEmitter {
  status = 'connecting'
  readonly commands: string[] = []
  subscribe (...channels: readonly string[]): Promise<void> {
    this.commands.push(`+${channels.join(' ')}`)
    return this.status === 'ready' ? Promise.resolve() : Promise.reject(new Error('not yet'))
  }

  unsubscribe (channel: string): Promise<void> {
    this.commands.push(`-${channel}`)
    return Promise.reject(new Error('no'))
  }

  disconnect (reconnect = false): void { this.commands.push(reconnect ? 'end and again' : 'end') }
}

t.test('shares one connection between all listeners, and routes each message', async t => {
  const line = new Line()
  let made = 0
  const changes = new Changes(() => { made++; return line as unknown as Subscriber })
  const received: string[] = []
  const end = ['a', 'a', 'b'].map(
    (channel, n) => changes.listen(channel, change => { received.push(`${n}${channel}${change?.id ?? ''}`) })
  )
  t.same([made, line.commands], [1, []], 'nothing is asked before there is a connection')
  line.emit('ready')
  await Promise.resolve()
  t.same([line.commands, received], [['+a b'], []], 'a failed subscription is repeated')
  line.status = 'ready'
  line.emit('ready')
  await new Promise(resolve => setImmediate(resolve))
  t.same([line.commands, received.splice(0)], [['+a b', '+a b'], ['0a', '1a', '2b']])
  line.emit('message', 'a', 'x')
  line.emit('message', 'c', 'y')
  t.same(received.splice(0), ['0ax', '1ax'])
  end[0]?.()
  end[0]?.()
  line.emit('message', 'a', 'z')
  t.same(received.splice(0), ['1az'])
  changes.listen('c', () => {})
  t.same(line.commands.splice(0), ['+a b', '+a b', '+c'], 'a new one is asked for at once')
  end[1]?.()
  end[1]?.()
  t.same(line.commands.splice(0), ['-a'])
  line.status = 'reconnecting'
  end[2]?.()
  t.same(line.commands.splice(0), [])
  changes.reconnect()
  t.same(line.commands.splice(0), ['end and again'])
  changes.close()
  line.emit('ready')
  t.same(line.commands, ['end'])
})

const skip = await noRedis()
const prefix = makePrefix()
const make = () => redisStore({ url: redisUrl, prefix, timeout: 30 })

function entry (id: string, expiresAt: Date | null = null): StoreEntry {
  return { kind: 'redis', id, owner: { realm: 'r', id: 'o' }, value: {}, expiresAt }
}

/** Wraps the method with which the store runs a script by its hash. */
function wrap (client: Redis, call: (run: () => Promise<unknown>) => Promise<unknown>): void {
  const { evalsha } = client
  Object.assign(client, {
    evalsha: (...args: readonly unknown[]) => call(async () => await Reflect.apply(evalsha, client, args) as unknown)
  })
}

t.test('stops the boot for invalid options, without showing a URL', async t => {
  const secret = 'redis://u:S3cretPassw0rd@h'
  const wrong: ReadonlyArray<readonly [options: unknown, message: RegExp]> = [
    [{}, /either url or client/], [{ url: secret, client: new Redis({ lazyConnect: true }) }, /either url or client/], [
      { url: undefined }, /'url' set to undefined/
    ], [{ url: `http${secret}` }, /must begin with/], [{ url: 5 }, /must begin with/],
    [{ client: {} }, /a client of ioredis/], [{ client: { evalsha () {} } }, /a client of ioredis/],
    [{ client: 'x' }, /a client of ioredis/], [
      { client: new Redis({ lazyConnect: true }), timeout: 1 }, /belongs to url/
    ],
    [{ url: secret, prefix: '{x}' }, /prefix/], [{ url: secret, prefix: '{x}y' }, /prefix/], [
      { url: secret, prefix: 'x'.repeat(65) }, /prefix/
    ], [{ url: secret, prefix: 5 }, /prefix/], [
      { url: secret, timeout: 0 }, /more than 0/
    ], [{ url: secret, password: secret }, /unknown key/]
  ]
  for (const [options, message] of wrong) {
    t.throws(() => redisStore(options as RedisStoreOptions), { code: 'AUTH_MISCONFIGURED', message })
    try { redisStore(options as RedisStoreOptions) } catch (error) { t.notMatch(String(error), /S3cret/) }
  }
})

if (skip !== false) {
  t.comment(skip)
} else {
  t.teardown(() => dropKeys(prefix))
  passesStoreContract(t, { make, another: make, rounds: size({ test: 20, short: 300, full: 1_000 }) })

  t.test('leaves nothing behind after expiry, and bounds what stays', async t => {
    const store = make()
    for (let n = 0; n < 20; n++) await store.add(entry(`n${n}`, new Date(Date.now() + 30)))
    await store.increment('redis', 'n', { window: 0.03 })
    for (let n = 0; n < 500 && await store.get('redis', 'n19') !== null; n++) {
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    const keys = (): Promise<readonly string[]> => withRedis(client => client.keys(`*${prefix}:redis*`))
    t.same(await keys(), [], 'no record, no counter, no index')
    await store.add(entry('short', new Date(Date.now() + 5_000)))
    await store.add(entry('long'))
    t.same((await keys()).length, 3)
    const left = async () => withRedis(client => client.pttl(`{${prefix}:redis}:o:["r","o"]`))
    t.equal(await left(), -1, 'the index of a record without an end has none')
    await store.take('redis', 'long')
    const afterTake = await left()
    t.ok(afterTake > 0 && afterTake <= 5_000, `an index ends with the last of its records: after ${afterTake} ms`)
    await store.add(entry('past'))
    const past = await store.get('redis', 'past')
    if (past === null) return t.fail('the record is missing')
    t.equal(await store.swap({ ...past, expiresAt: new Date(Date.now() - 1_000) }), true)
    const afterSwap = await left()
    t.ok(afterSwap > 0 && afterSwap <= 5_000, `after ${afterSwap} ms`)
    await store.add(entry('long'))
    await store.takeAll('redis', { realm: 'r', id: 'o' }, 'short')
    const afterTakeAll = await left()
    t.ok(afterTakeAll > 0 && afterTakeAll <= 5_000, `after ${afterTakeAll} ms`)
    await store.close()
  })

  t.test('drops what has expired from the index of an owner who keeps a record', async t => {
    const store = make()
    const owner = { realm: 'r', id: 'index' }
    await store.add({ ...entry('kept'), owner })
    for (let n = 0; n < 20; n++) await store.add({ ...entry(`brief${n}`, new Date(Date.now() + 30)), owner })
    for (let n = 0; n < 500 && await store.get('redis', 'brief19') !== null; n++) {
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    await store.add({ ...entry('next'), owner })
    t.same(
      await withRedis(client => client.zrange(`{${prefix}:redis}:o:["r","index"]`, 0, -1)), ['kept', 'next']
    )
    await store.close()
  })

  t.test('finds a record that replaced another after the index was read', async t => {
    const client = new Redis(redisUrl)
    t.teardown(() => { client.disconnect() })
    const [store, other] = [redisStore({ client, prefix }), make()]
    const owner = { realm: 'r', id: 'replaced' }
    for (const id of ['b', 'c']) await store.add({ ...entry(id), owner })
    let reads = 0
    wrap(client, async run => {
      if (++reads === 2) {
        await other.add({ ...entry('a'), owner })
        await other.take('redis', 'b')
      }
      return await run()
    })
    t.same((await store.find('redis', owner)).map(({ id }) => id), ['a', 'c'])
    await other.close()
    await store.close()
  })

  t.test('does not run a script again that may have run', async t => {
    const client = new Redis(redisUrl)
    t.teardown(() => { client.disconnect() })
    wrap(client, async run => {
      await run()
      throw new Error('the connection was lost before the reply')
    })
    const [store, other] = [redisStore({ client, prefix }), make()]
    await t.rejects(store.increment('redis', 'once', { window: 60 }), { code: 'AUTH_UNAVAILABLE' })
    t.equal((await other.increment('redis', 'once', { window: 60, ceiling: 0 })).count, 1)
    await other.close()
    await store.close()
  })

  t.test('reloads the scripts on a server that lost them', async t => {
    const store = make()
    await store.add(entry('a'))
    await withRedis(client => client.script('FLUSH'))
    t.equal((await store.take('redis', 'a'))?.id, 'a')
    await store.close()
  })

  t.test('verifies what an index returns', async t => {
    const store = make()
    await store.takeAll('redis', { realm: 'r', id: 'o' })
    await store.add({ ...entry('theirs'), owner: { realm: 'r', id: 'other' } })
    await withRedis(client => client.zadd(`{${prefix}:redis}:o:["r","o"]`, 'inf', 'theirs', 'inf', 'nobody'))
    t.same(await store.find('redis', { realm: 'r', id: 'o' }), [])
    t.same(await store.takeAll('redis', { realm: 'r', id: 'o' }), [])
    t.not(await store.take('redis', 'theirs'), null)
    await store.close()
  })

  t.test('never shows stored data in an error of Redis', async t => {
    const store = make()
    await withRedis(client => client.set(`{${prefix}:redis}:r:string`, 'x'))
    await t.rejects(store.get('redis', 'string'), { code: 'AUTH_UNAVAILABLE', detail: 'store: get failed: WRONGTYPE' })
    await t.rejects(
      store.add({ ...entry('string'), kind: 'redis', value: { secret: 'x' } }).then(
        () => store.swap({ ...entry('string'), version: 'v' })
      ),
      { code: 'AUTH_UNAVAILABLE' }
    )
    await store.close()
  })

  t.test('works with a client that returns numbers as texts', async t => {
    const client = new Redis(redisUrl, { stringNumbers: true })
    t.teardown(() => { client.disconnect() })
    passesStoreContract(t, { make: () => redisStore({ client, prefix: `${prefix}texts` }), rounds: 5 })
  })

  t.test("keeps the key prefix of the application's client, and does not close it", async t => {
    const client = new Redis(redisUrl, { keyPrefix: `${prefix}app:` })
    passesStoreContract(
      t,
      { make: () => redisStore({ client, prefix: 'x' }), another: () => redisStore({ client, prefix: 'x' }), rounds: 5 }
    )
    t.teardown(() => { client.disconnect() })
    t.test('keeps the prefix, and leaves the client open', async t => {
      const keys = await withRedis(other => other.keys(`*${prefix}app:*`))
      t.ok(keys.every(key => key.startsWith(`${prefix}app:`)))
      t.equal(await client.ping(), 'PONG')
    })
  })
}
