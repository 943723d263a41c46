import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import plugin, { AuthError, type SchemeContext, type Store } from '../../lib/index.js'
import { createGuessLimiter } from '../../lib/limits/guesses.js'
import { parseLimits } from '../../lib/limits/options.js'
import { Reservations, type Slot } from '../../lib/limits/reservations.js'
import { StoreUnavailable } from '../../lib/stores/operations.js'
import { memoryStore } from '../../lib/stores/memory/index.js'

const rule = { max: 1, window: 60, longestWindow: 900 }
const turn = async (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

function isSlot (slot: Slot | number): slot is Slot {
  return typeof slot !== 'number'
}

/** Creates a store whose results for one counter wait until they are released. */
function gatedStore () {
  const memory = memoryStore()
  const held: Array<() => void> = []
  let holds = false
  const store: Store = {
    ...memory,
    async increment (kind, id, options) {
      const answer = await memory.increment(kind, id, options)
      if (holds && !kind.endsWith('-level')) await new Promise<void>(resolve => { held.push(resolve) })
      return answer
    }
  }
  return { store, hold: () => { holds = true }, letGo: () => { holds = false; held.splice(0).forEach(each => each()) } }
}

t.test('retries a refusal that happened while a slot was being released', async t => {
  const { store, hold, letGo } = gatedStore()
  const slots = new Reservations(store, 'guess-test', rule)
  const first = await slots.reserve('a')
  if (!isSlot(first)) return t.fail('no slot was reserved')
  hold()
  const second = slots.reserve('a')
  await turn()
  await first.release()
  letGo()
  t.ok(isSlot(await second))
})

t.test('gives a waiter the first free slot, and wakes it when none will be free', async t => {
  const slots = new Reservations(memoryStore(), 'guess-test', rule)
  const first = await slots.reserve('a')
  if (!isSlot(first)) return t.fail('no slot was reserved')
  const waiting = [slots.reserve('a'), slots.reserve('a'), slots.reserve('a')]
  await turn()
  await first.release()
  const second = await waiting[0]
  if (second === undefined || !isSlot(second)) return t.fail('the slot that was given back')
  await turn()
  await second.keep()
  for (const other of waiting.slice(1)) t.type(await other, 'number')
  t.type(await slots.reserve('a'), 'number')
})

t.test('wakes waiters if a slot cannot be released', async t => {
  const slots = new Reservations(
    {
      ...memoryStore(),
      decrement: async () => {
        throw new Error('gone')
      }
    },
    'guess-test',
    rule
  )
  const first = await slots.reserve('a')
  if (!isSlot(first)) return t.fail('no slot was reserved')
  const waiting = slots.reserve('a')
  await turn()
  await t.rejects(first.release())
  t.type(await waiting, 'number')
})

t.test('falls back to the sketch only if the store is full, not if it fails', async t => {
  const memory = memoryStore()
  const broken = (error: Error) =>
    new Reservations(
      {
        ...memory,
        increment: async (kind, id, options) => {
          if (kind.endsWith('-level')) return memory.increment(kind, id, options)
          throw error
        }
      },
      'guess-test',
      rule
    )
  await t.rejects(broken(new StoreUnavailable('unanswered', 'no answer')).reserve('a'), {
    code: 'AUTH_UNAVAILABLE',
    reason: 'unanswered'
  })
  await t.rejects(broken(new TypeError('own')).reserve('a'), TypeError)
  t.type(await broken(new StoreUnavailable('full', 'no room')).reserve('a'), 'object')
})

t.test('treats an unexpected error of the store as unavailable, before and after the check', async t => {
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { log.push(line) } } } })
  const log: string[] = []
  const request = { ip: '192.0.2.1', method: 'GET', raw: { headers: {} }, log: app.log } as unknown as FastifyRequest
  const room = (store: Partial<Store>) =>
    createGuessLimiter({ ...memoryStore(), ...store }, parseLimits().guesses, new Set()).of('ops')
  let checks = 0
  const check = () => {
    checks++
    return true
  }
  await t.rejects(
    room({
      increment: async () => {
        throw new TypeError('secret')
      }
    }).attempt(request, 'a', check),
    TypeError
  )
  await t.rejects(
    room({
      increment: async () => {
        throw new AuthError('AUTH_FAULT', 'an id is too long')
      }
    }).attempt(request, 'a', check),
    { code: 'AUTH_FAULT' }
  )
  t.equal(checks, 0)
  t.same(
    await room({
      decrement: async () => {
        throw new TypeError('secret')
      }
    }).attempt(request, 'a', check),
    { kind: 'checked', result: true }
  )
  t.match(log.join(''), /a count of guesses could not be written/)
  t.notMatch(log.join(''), /secret/)
  await app.close()
})

t.test('passes store, guesses, load and grants of the application to a factory', async t => {
  const load = () => null
  const given: Array<SchemeContext | undefined> = []
  const scheme = { openapi: { type: 'http', scheme: 'x' }, authenticate: () => ({ kind: 'absent' }) } as const
  const boot = async (options: object) => {
    const app = Fastify()
    await app.register(plugin, {
      schemes: {
        own: (_app: unknown, _name: unknown, context?: SchemeContext) => {
          given.push(context)
          return scheme
        }
      },
      ...options
    } as never)
    await app.ready()
    return app
  }
  const bare = await boot({})
  const full = await boot({
    load,
    store: memoryStore(),
    scopes: { read: 'Read', write: 'Write' },
    roles: { clerk: { scopes: ['read'] }, admin: { roles: ['clerk'] } }
  })
  const [alone, shared] = given
  t.same([alone?.shared, alone?.load, shared?.shared, shared?.load], [false, null, true, load])
  t.equal(await shared?.store.get('thing', 'a'), null)
  const principal = { realm: 'r', id: 'a', scopes: ['other'], roles: ['admin'] }
  const grants = (context: SchemeContext | undefined, kind: 'scopes' | 'roles', name: string) =>
    context?.grants(principal, kind, name)
  t.same(
    ['read', 'write', 'other', 'none'].map(name => grants(shared, 'scopes', name)),
    [true, false, true, false]
  )
  t.same(
    ['admin', 'clerk', 'none'].map(name => grants(shared, 'roles', name)),
    [true, true, false]
  )
  t.same(
    ['read', 'other'].map(name => grants(alone, 'scopes', name)),
    [false, true]
  )
  await bare.close()
  await t.rejects(
    async () => alone?.store.get('thing', 'a'),
    { code: 'AUTH_UNAVAILABLE' },
    'the store in memory ends with its application'
  )
  await full.close()
  t.equal(await shared?.store.get('thing', 'a'), null, 'a store that was given does not')
})
