import { stat } from 'node:fs/promises'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'
import { internalError } from '../../lib/errors.js'
import gatehouse, { apiKey } from '../../lib/index.js'
import { withDeadline } from '../../lib/stores/deadline.js'
import { describeError, StoreUnavailable } from '../../lib/stores/operations.js'
import { memoryStore } from '../../lib/stores/memory/index.js'
import type { Store } from '../../types/store.js'
import { passesStoreContract } from './contract.js'

let last: Store = memoryStore()
passesStoreContract(
  t, { make: () => { last = withDeadline(memoryStore()); return last }, another: () => last, rounds: 10 }
)

/** Creates a memory store with another `get`. */
function storeWith (get: Store['get']): Store {
  return { ...memoryStore(), get }
}

const never = (): Promise<never> => new Promise(() => {})

async function reasonOf (call: Promise<unknown>): Promise<string> {
  const error = await call.then(() => null, (error: unknown) => error)
  return error instanceof StoreUnavailable ? error.reason : `no failure of a store: ${String(error)}`
}

t.test('withDeadline refuses what is not a store', t => {
  for (const store of [undefined, null, 'redis://localhost', {}]) {
    t.throws(() => withDeadline(store as never), {
      code: 'AUTH_MISCONFIGURED', message: /^The store of withDeadline must be the result of .* It has no add\(\)\.$/
    })
  }
  t.end()
})

t.test('treats a store that breaks the contract as unavailable', async t => {
  const errors: ReadonlyArray<readonly [error: unknown, detail: string]> = [
    [new Error('secret'), 'Error'],
    [Object.assign(new Error('secret'), { code: 'ECONNREFUSED' }), 'ECONNREFUSED'],
    [Object.assign(new Error('secret'), { code: 'ab secret' }), 'Error'],
    [
      Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL', input: 'redis://:secret@x' }),
      'ERR_INVALID_URL'
    ],
    [
      Object.assign(new Error('relation "secret" does not exist'), { code: '42P01' }),
      '42P01 (a table is missing: was migrate() called?)'
    ],
    [new Error('WRONGPASS invalid secret'), 'WRONGPASS'],
    [new Error('Command timed out'), 'Command timed out'],
    ["Stream isn't writeable and enableOfflineQueue options is false", 'a value that is not an Error was thrown'],
    [new Error("Stream isn't writeable and enableOfflineQueue options is false"), 'not connected'],
    [undefined, 'a value that is not an Error was thrown']
  ]
  for (const [error, detail] of errors) {
    const caught = await withDeadline(
      storeWith(() => Promise.reject(error))
    ).get('a', 'b').catch((error: unknown) => error) as StoreUnavailable
    t.ok(caught instanceof StoreUnavailable)
    t.same(
      [caught.code, caught.statusCode, caught.reason, caught.detail, caught.cause],
      ['AUTH_UNAVAILABLE', 503, 'failed', `store: get failed: ${detail}`, undefined]
    )
    t.notMatch(JSON.stringify({ ...caught }), /failed|secret/, 'the detail of an error is not enumerable')
    t.equal(describeError(error), detail)
    t.notMatch(caught.stack, /\n +at /, 'a store that is down fails every request: no stack is made for each')
    t.match(new Error('another').stack, /\n +at /, 'other errors still have theirs')
  }
  t.equal(await reasonOf(withDeadline(storeWith(() => { throw new Error('at once') })).get('a', 'b')), 'failed')
})

t.test('rethrows deliberate errors unchanged', async t => {
  await t.rejects(
    withDeadline(storeWith(() => Promise.reject(internalError('a mistake')))).get('a', 'b'),
    { code: 'AUTH_FAULT', detail: 'a mistake' }
  )
  await t.rejects(withDeadline(memoryStore()).get('', 'b'), { code: 'AUTH_FAULT' })
  t.equal(
    await reasonOf(withDeadline(storeWith(async () => { throw new StoreUnavailable('full', 'x') })).get('a', 'b')),
    'full'
  )
})

t.test('times out if a store is silent, drops late answers, and recovers on a sign of life', async t => {
  let answer: (record: null) => void = () => {}
  let fail: (error: Error) => void = () => {}
  let calls = 0
  const callCount = (): number => calls
  const store = withDeadline(storeWith(() => {
    calls++
    return new Promise((resolve, reject) => { answer = resolve; fail = reject })
  }), { timeout: 0.02 })
  t.equal(await reasonOf(store.get('a', 'b')), 'unanswered')
  t.equal(await reasonOf(store.get('a', 'b')), 'unanswered')
  t.equal(calls, 1, 'a silent store is not called again at once')
  answer(null)
  await sleep(0)
  t.equal(await reasonOf(store.get('a', 'b')), 'unanswered')
  t.equal(calls, 2, 'a store that has answered is called again')
  fail(new Error('late'))
  await sleep(0)
  t.equal(await reasonOf(store.get('a', 'b')), 'unanswered')
  t.equal(calls, 2, 'an error of the way to it is not a sign of life')
  for (let n = 0; n < 200 && callCount() === 2; n++) {
    await sleep(10)
    await reasonOf(store.get('a', 'b'))
  }
  t.equal(calls, 3, 'after a while it is asked once more')
})

t.test('one slow call beside others that are answered does not mark the store as silent', async t => {
  const store = withDeadline({ ...memoryStore(), find: never }, { timeout: 0.02 })
  const slow = store.find('a', { realm: 'r', id: 'i' })
  await store.get('a', 'b')
  t.equal(await reasonOf(slow), 'unanswered')
  t.equal(await store.get('a', 'b'), null)
})

t.test('a store that refuses a call or is full counts as available', async t => {
  let silent = true
  const store = withDeadline(
    { ...memoryStore({ maxCounters: 1 }), get: never, find: () => Promise.reject(internalError('x')) },
    { timeout: 0.02 }
  )
  await store.increment('a', 'a', { window: 60 })
  for (const [call, text] of [
    [() => store.increment('a', 'b', { window: 60 }), 'full'],
    [() => store.find('a', { realm: 'r', id: 'i' }), 'no failure of a store: AuthError: Internal Server Error']
  ] as const) {
    t.equal(await reasonOf(store.get('a', 'b')), 'unanswered')
    silent = true
    while (silent) {
      const reason = await reasonOf(call())
      silent = reason === 'unanswered'
      if (!silent) t.equal(reason, text)
      await sleep(20)
    }
    t.equal(await reasonOf(call()), text, 'it is asked at once')
  }
})

t.test('bounds closing by the deadline, and lets migrations take longer', async t => {
  const store = withDeadline({ ...memoryStore(), migrate: () => sleep(60), close: never }, { timeout: 0.02 })
  await store.migrate()
  t.equal(await reasonOf(store.close()), 'unanswered')
  t.equal(await reasonOf(store.close()), 'unanswered')
  t.equal(await reasonOf(store.get('a', 'b')), 'closed')
})

t.test('does not claim notifications for a store without them', async t => {
  const { subscribe, ...deaf } = memoryStore()
  t.equal(withDeadline(deaf).subscribe, undefined)
  t.type(subscribe, 'function')
})

t.test('the plugin keeps the deadline that the application chose', async t => {
  const slow = (): Store => {
    const inner = memoryStore()
    return { ...inner, find: async (kind, owner) => { await sleep(2_200); return await inner.find(kind, owner) } }
  }
  const owner = { realm: 'own', id: 'ann' }
  const list = async (store: Store) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, { schemes: { own: apiKey({ managed: { prefix: 'desk' } }) }, store })
    return await app.gatehouse.apiKeys.of(owner).list()
  }
  await Promise.all([
    t.resolveMatch(list(withDeadline(slow(), { timeout: 60 })), []),
    t.rejects(list(slow()), { code: 'AUTH_UNAVAILABLE' })
  ])
})

t.test('stops the boot for an invalid timeout', async t => {
  const wrong: ReadonlyArray<readonly [options: object, message: RegExp]> = [
    [{ timeout: 0 }, /more than 0/], [
      { timeout: Infinity }, /must be a number of seconds/
    ], [{ timeout: '30d' }, /at most 24 days/], [{ timeout: 'soon' }, /must be a number of seconds/],
    [{ timeout: undefined }, /'timeout' set to undefined/], [{ timout: 1 }, /unknown key 'timout'/]
  ]
  for (const [options, message] of wrong) {
    t.throws(() => withDeadline(memoryStore(), options), { code: 'AUTH_MISCONFIGURED', message })
  }
})

t.test('accepts an answer that arrived while the process was blocked', async t => {
  const store = withDeadline(storeWith(async () => {
    await stat('.')
    return null
  }), { timeout: 0.05 })
  // from here, the event loop checks timers before I/O
  await turn()
  const answer = store.get('a', 'b')
  // blocks the process for six times the deadline while the answer arrives
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
  t.equal(await answer, null)
})
