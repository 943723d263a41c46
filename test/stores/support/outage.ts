import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { timeLimit, until } from '../../support/time-limit.js'
import type { Endable } from './outages.js'
import { traffic, type Answer, type Call } from './traffic.js'

/** Seconds for which a process believes what the store said, in these tests. */
export const staleness = 2

/** Returns the milliseconds that instants of two processes may be apart. */
const slack = (): number => timeLimit(250)

/** A store that is killed under load, and comes back. Lengths are seconds. */
export interface Course {
  readonly server: Endable
  /** Requests a second. */
  readonly rate: number
  readonly healthy: number
  readonly down: number
  /** Counted from when everything that is good is let in again. */
  readonly after: number
  /** What is expected of each kind of credential. */
  readonly expected: Readonly<Record<string, Expected>>
  readonly next: (n: number) => Call
  readonly seen?: (answer: Answer) => void
  /** Runs right before the kill, with nothing between. */
  readonly beforeKill?: () => Promise<void>
  /** Runs a second into the outage. */
  readonly whileDown?: () => Promise<void>
  /** Runs when what is good is let in again. */
  readonly whenBack?: () => Promise<void>
}

/** What was seen. Instants are milliseconds by `performance.now`. */
export interface Seen {
  readonly answers: readonly Answer[]
  /** Requests a second that were really sent. */
  readonly rate: number
  readonly killedAt: number
  /** When the server was started again, and when it said that it is ready. */
  readonly begunAt: number
  readonly readyAt: number
  /** Whether everything that is good was let in again. */
  readonly returned: boolean
}

/** Runs a course. */
export async function outage ({ server, rate: intended, healthy, down, after, expected, next, seen, beforeKill, whileDown, whenBack }: Course): Promise<Seen> {
  const { answers, end } = traffic(intended, next, seen)
  const good = Object.keys(expected).filter(kind => expected[kind]?.returns)
  await until(() => areIn(good, answers, -Infinity))
  await sleep(healthy * 1_000)
  await beforeKill?.()
  const killedAt = performance.now()
  await server.end()
  await sleep(1_000)
  await whileDown?.()
  await sleep(Math.max(0, killedAt + down * 1_000 - performance.now()))
  const begunAt = performance.now()
  await server.begin()
  const readyAt = performance.now()
  const returned = await until(() => areIn(good, answers, readyAt), 30_000)
  await whenBack?.()
  await sleep(after * 1_000)
  return { rate: await end(), answers, killedAt, begunAt, readyAt, returned }
}

/** Returns true if the last ten answers of each kind that were asked for since an instant let somebody in. */
function areIn (kinds: readonly string[], answers: readonly Answer[], instant: number): boolean {
  return kinds.every(kind => {
    const last = answers.filter(({ call, sentAt }) => call.kind === kind && sentAt > instant).slice(-10)
    return last.length === 10 && last.every(isIn)
  })
}

/** What is expected of one kind of credential. */
export interface Expected {
  /** Beside 503, which any request may be answered with. */
  readonly statuses: readonly number[]
  /** Whether it is good again after the outage. */
  readonly returns: boolean
}

/** Checks what holds for every outage: nothing is let in that cannot be told, everything is answered, and what is good is good again. */
export function judge (t: Test, { rate: intended, expected }: Course, seen: Seen): void {
  const { answers, rate, killedAt, begunAt, returned } = seen
  for (const line of [`${Math.round(rate)} of ${intended} requests a second were sent`, ...figures(seen)]) t.comment(line)
  const beyond = killedAt + staleness * 1_000 + slack()
  none(t, answers.filter(({ call, status }) => status !== 503 && expected[call.kind]?.statuses.includes(status) !== true), 'every answer is one that is expected')
  none(t, answers.filter(({ status, headers }) => status === 503 && !(Number(headers['retry-after']) > 0)), 'every 503 says when to come again')
  none(t, answers.filter(answer => isIn(answer) && answer.sentAt > beyond && endOf(answer) < begunAt), 'nobody is let in by a store that is not there, beyond the staleness')
  t.ok(returned, 'what is good is good again')
}

function none (t: Test, answers: readonly Answer[], title: string): void {
  t.same(answers.slice(0, 20).map(({ call, status, text }) => `${call.kind} ${call.subject} at ${call.port}: ${status} ${text.slice(0, 80)}`), [], title)
}

/** Checks that these were refused from an instant on, at the latest a staleness later. */
export function refusedSince (t: Test, { answers }: Seen, instant: number, kinds: readonly string[]): void {
  const asked = answers.filter(({ call, sentAt }) => kinds.includes(call.kind) && sentAt > instant)
  const [accepted, refused] = [asked.filter(isIn), asked.filter(({ status }) => status === 401)]
  const longest = Math.max(0, ...accepted.map(({ sentAt }) => sentAt - instant))
  t.ok(longest < staleness * 1_000 + slack(), `${kinds.join(', ')}: accepted for ${Math.round(longest)} ms more`)
  t.ok(refused.length > 0, `${kinds.join(', ')}: refused, and not only unavailable`)
}

export function isIn ({ status }: Answer): boolean {
  return status >= 200 && status < 300
}

function endOf ({ sentAt, took }: Answer): number {
  return sentAt + took
}

function figures ({ answers, killedAt, begunAt, readyAt }: Seen): readonly string[] {
  const phases = { healthy: [-Infinity, killedAt], down: [killedAt, begunAt], back: [begunAt, Infinity] } as const
  const lines = Object.entries(phases).map(([phase, [from, to]]) => {
    const some = answers.filter(({ sentAt }) => sentAt >= from && sentAt < to)
    const statuses = [...new Set(some.map(({ status }) => status))].sort()
    return `${phase}: ${some.length} requests: ${statuses.map(status => `${some.filter(answer => answer.status === status).length} × ${status}`).join(', ')}; the slowest ${Math.round(Math.max(0, ...some.map(({ took }) => took)))} ms`
  })
  const last = Math.max(readyAt, ...answers.filter(({ status, sentAt }) => status === 503 && sentAt > readyAt).map(endOf))
  const first = Math.min(...answers.filter(answer => isIn(answer) && endOf(answer) > begunAt).map(endOf))
  return [...lines, `ready ${Math.round(readyAt - begunAt)} ms after its start; first let in ${Math.round(first - readyAt)} ms after that, last 503 at ${Math.round(last - readyAt)} ms`]
}
