import t from 'tap'
import { Backoff } from '../../lib/jose/remote/fetch-json.js'
import { movableClock } from '../fixtures/clock.js'

const clock = movableClock(t)
const bounds = { first: 1_000, longest: 5_000 }

t.test('each failure in a row doubles the pause, up to the longest, and a success ends it', async t => {
  const backoff = new Backoff()
  const pauses = (count: number) => Array.from({ length: count }, () => {
    backoff.noteFailure()
    return Math.round(backoff.remaining(bounds) / 500) * 500
  })
  t.equal(backoff.remaining(bounds), 0)
  t.same(pauses(5), [1_000, 2_000, 4_000, 5_000, 5_000])
  t.ok(backoff.hasFailed)
  t.ok(backoff.failureAge < 1_000)
  clock.offset += 5_000
  t.ok(backoff.failureAge >= 5_000)
  t.equal(backoff.remaining(bounds), 0)
  backoff.noteSuccess()
  t.notOk(backoff.hasFailed)
  t.equal(backoff.failureAge, 0)
  t.equal(backoff.remaining(bounds), 0)
  t.same(pauses(2), [1_000, 2_000])
})
