import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { KeyFormat } from '../../../lib/schemes/api-key/key.js'
import type { Setting } from './application.js'
import { cookieOf, desk, fleet, type Desk, type Fleet, type Key } from './fleet.js'
import { judge, outage, refusedSince, staleness, type Course, type Expected } from './outage.js'
import { stream, type Answer, type Call, type Stream } from './traffic.js'

/** Where an outage happens, and for how long. */
export interface Place extends Pick<Course, 'server' | 'rate' | 'healthy' | 'down' | 'after'> {
  readonly store: Setting['store']
  /** Of the first application. */
  readonly limits: string | null
  /** Whether the store still has everything when it is back. */
  readonly lasting: boolean
}

/** Requests of each kind among fifty. */
const mix = { valid: 18, revoked: 6, unknown: 5, 'late key': 4, live: 8, ended: 3, 'late session': 1, left: 1, right: 1, wrong: 1, enters: 1, guesses: 1 } as const

type Kind = keyof typeof mix

const kinds = Object.entries(mix).flatMap(([kind, count]) => Array<Kind>(count).fill(kind as Kind))

/** What the requests are made of. `late` is revoked right before the kill, `left` logs out during the outage, and of `attempted` it is not known whether they are revoked. */
interface Purse {
  readonly keys: Readonly<Record<'valid' | 'revoked' | 'late' | 'attempted' | 'held', readonly Key[]>>
  readonly live: string[]
  readonly ended: readonly string[]
  readonly late: readonly string[]
  readonly left: readonly string[]
}

async function fill (at: Desk): Promise<Purse> {
  const keys = { valid: await at.keys(40), revoked: await at.keys(8), late: await at.keys(4), attempted: await at.keys(2), held: await at.keys(1) }
  const [live, ended, late, left] = [await at.sessions(10), await at.sessions(5), await at.sessions(3), await at.sessions(1)]
  await Promise.all([...keys.revoked.map(at.revoke), ...ended.map(at.logout)])
  return { keys, live: [...live], ended, late, left }
}

/** The calls of a load, on both applications by turns; what is about one of them, on that one. */
function calls ({ keys, live, ended, late, left }: Purse, { ports: [first = 0, second = 0], secret }: Fleet): (n: number) => Call {
  const format = new KeyFormat('acme')
  return n => {
    const [kind, turn] = [kinds[n % 50] as Kind, Math.floor(n / 50)]
    const of = <T>(list: readonly T[]): T => list[(n + turn) % list.length] as T
    const get = (subject: string, headers: Call['headers'], port = (n + turn) % 2 === 0 ? first : second): Call => ({ kind, subject, port, method: 'GET', path: '/private', headers })
    const by = ({ key, id }: Key, port?: number): Call => get(id, { 'x-api-key': key }, port)
    const as = (cookie: string, port?: number): Call => get(cookie.slice(-8), { cookie }, port)
    // each from an address of its own, as the guesses of one address are soon too many
    const forwarded = { 'x-forwarded-for': `10.${n >> 16 & 255}.${n >> 8 & 255}.${n & 255}` }
    const basic = (name: string, password: string): Call => get(name, { ...forwarded, authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` })
    const form = (username: string, password: string): Call => ({ ...get(username, forwarded), method: 'POST', path: '/login', body: { username, password } })
    switch (kind) {
      case 'valid': return by(of(keys.valid))
      case 'revoked': return by(of(keys.revoked))
      case 'unknown': return by({ key: format.make(), id: `${n}` })
      case 'late key': return by(of(keys.late), second)
      case 'live': return as(of(live))
      case 'ended': return as(of(ended))
      case 'late session': return as(of(late), second)
      case 'left': return as(of(left), first)
      case 'right': return basic(`basic${turn % 40}`, secret)
      case 'wrong': return basic(`victim${turn % 5}`, `guess${n}`)
      case 'enters': return form(`form${turn % 40}`, secret)
      case 'guesses': return form(`target${turn % 5}`, `guess${n}`)
    }
  }
}

function expectations (lasting: boolean): Readonly<Record<Kind, Expected>> {
  const good = { statuses: lasting ? [200] : [200, 401], returns: lasting }
  const [right, bad, over, guess] = [{ statuses: [200], returns: true }, { statuses: [401], returns: false }, { statuses: [200, 401], returns: false }, { statuses: [401, 429], returns: false }]
  return { valid: good, live: good, right, enters: right, revoked: bad, unknown: bad, ended: bad, wrong: guess, guesses: guess, 'late key': over, 'late session': over, left: over }
}

/** Two applications in processes of their own, over one store that is killed under load and comes back. */
export async function survives (t: Test, { store, limits, lasting, server, rate, healthy, down, after }: Place): Promise<void> {
  const both = await fleet(t, [{ store, limits, staleness }, { store, limits: null, staleness }])
  const [here, there] = both.ports.map(port => desk(both, port)) as [Desk, Desk]
  const purse = await fill(here)
  const streams = await openStreams(purse, both)
  t.teardown(() => { for (const each of Object.values(streams)) each.close() })
  let [revokedAt, leftAt] = [Infinity, Infinity]
  const course: Course = {
    server,
    rate,
    healthy,
    down,
    after,
    expected: expectations(lasting),
    next: calls(purse, both),
    // a login that was answered is a session
    seen: answer => { if (answer.call.kind === 'enters') purse.live.push(...begun(answer)) },
    async beforeKill () {
      await done([...purse.keys.late.map(key => async () => await here.revoke(key)), ...purse.late.map(cookie => async () => await here.logout(cookie))])
      revokedAt = performance.now()
    },
    async whileDown () {
      unavailable(t, await Promise.all([...purse.keys.attempted.map(here.revoke), ...purse.left.map(here.logout), here.create()]))
      leftAt = performance.now()
    },
    async whenBack () {
      if (lasting) t.same([streams.key.endedAt(), streams.session.endedAt()], [null, null], 'streams of what is good outlive the outage')
      await done([...purse.keys.attempted, ...purse.keys.held].map(key => async () => await there.revoke(key)))
    }
  }
  const seen = await outage(course)
  judge(t, course, seen)
  refusedSince(t, seen, revokedAt, ['late key', 'late session'])
  t.same(seen.answers.filter(({ call, sentAt, status }) => call.kind === 'left' && sentAt > leftAt && status === 200), [], 'who logged out is out, where it was said')
  await ends(t, [streams.lateKey, streams.lateSession, streams.key, ...lasting ? [] : [streams.session]])
  for (const each of Object.values(streams)) each.close()
  t.same(both.faults(), [], 'no process ended, and nothing was left unhandled')
  t.same(await both.end(), [0, 0], 'both close as they should')
}

function statuses (answers: readonly Answer[]): readonly number[] {
  return [...new Set(answers.map(({ status }) => status))].sort()
}

/** Does what a busy machine may have to be told more than once. */
async function done (deeds: ReadonlyArray<() => Promise<Answer>>): Promise<void> {
  await Promise.all(deeds.map(async deed => {
    for (let tries = 0; (await deed()).status === 503; tries++) {
      if (tries === 20) throw new Error('it cannot be done')
    }
  }))
}

function unavailable (t: Test, answers: readonly Answer[]): void {
  t.same(statuses(answers), [503], 'what changes something is unavailable')
  t.same(answers.filter(({ headers }) => !(Number(headers['retry-after']) > 0)).map(({ call }) => `${call.method} ${call.path.slice(0, 8)}`), [], 'and says when to come again')
}

function begun (answer: Answer): readonly string[] {
  const cookie = cookieOf(answer)
  return cookie === null ? [] : [cookie]
}

type Streams = Readonly<Record<'key' | 'session' | 'lateKey' | 'lateSession', Stream>>

/** On the other application than the one where they are revoked; the key that is held is revoked at the end. */
async function openStreams ({ keys, live: [live = ''], late: [late = ''] }: Purse, { ports: [first = 0, second = 0] }: Fleet): Promise<Streams> {
  const open = async (headers: Call['headers'], port: number): Promise<Stream> => await stream({ path: '/events', headers, port })
  return {
    key: await open({ 'x-api-key': keys.held[0]?.key ?? '' }, first),
    session: await open({ cookie: live }, second),
    lateKey: await open({ 'x-api-key': keys.late[0]?.key ?? '' }, second),
    lateSession: await open({ cookie: late }, second)
  }
}

/** What was revoked ends, at the latest when the store can be asked again. */
async function ends (t: Test, streams: readonly Stream[]): Promise<void> {
  const open = (): readonly Stream[] => streams.filter(each => each.endedAt() === null)
  for (let tries = 0; open().length > 0 && tries < 50; tries++) await sleep(100)
  t.equal(open().length, 0, 'every stream of what is over ended')
}
