import { memoryUsage } from 'node:process'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { fakeIssuer } from '../../lib/testing/index.js'
import type { IssuerFailure } from '../../lib/testing/index.js'
import { usedHeap } from '../fixtures/heap.js'
import { size } from '../fixtures/size.js'
import { clock, createApp } from './remote-app.js'

const es = ['ES256'] as const
/** The number of tokens with unknown kids in one cooldown. */
const strangers = size({ test: 250, short: 10_000, full: 100_000 })
const failures: readonly IssuerFailure[] = ['hang', '404', 'html', 'huge', 'slow', 'redirect']

function megabytes (): number {
  return memoryUsage.rss() / 1_048_576
}

t.test('sends one request to the source for 500 concurrent requests on a cold cache', async t => {
  await using provider = await fakeIssuer({ algorithms: es })
  const { ask } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
  const answers = await Promise.all(Array.from({ length: 500 }, async () => await ask(provider.token())))
  t.ok(answers.every(({ status }) => status === 200))
  t.same(provider.requests, { metadata: 1, keys: 1 })
})

t.test('fetches at most twice per cooldown for unknown kids, even while the source fails', async t => {
  const time = clock(t)
  for (const failure of [null, '404', 'html', 'redirect'] as const) {
    await using provider = await fakeIssuer({ algorithms: es })
    const { ask, log } = await createApp(
      t, { issuer: provider.issuer, audience: provider.audience, keys: provider.jwksUri })
    t.equal((await ask(provider.token())).status, 200)
    provider.fail(failure)
    const [header = '', payload = '', signature = ''] = provider.token().split('.')
    let sent = 0
    const flood = async (): Promise<void> => {
      const statuses = new Set<number>()
      for (const end = sent + strangers; sent < end;) {
        const answers = await Promise.all(Array.from({ length: 50 }, async () => {
          const unknown = Buffer.from(
            JSON.stringify({ ...JSON.parse(Buffer.from(header, 'base64url').toString()), kid: `unknown-${sent++}` })
          ).toString('base64url')
          return await ask(`${unknown}.${payload}.${signature}`)
        }))
        for (const { status } of answers) statuses.add(status)
        // memory of inject() is released only in the next turn of the event loop
        await nextTurn()
        log.length = 0
      }
      t.same([...statuses], [failure === null ? 401 : 503], `${String(failure)}: unknown kids`)
      t.equal((await ask(provider.token())).status, 200, 'the known key is still accepted')
    }
    const heap = await usedHeap()
    await flood()
    t.equal(provider.requests.keys, 2, `${String(failure)}: the first fetch and one for an unknown kid`)
    time.advance(29)
    await flood()
    t.equal(provider.requests.keys, 2)
    time.advance(1)
    await flood()
    t.equal(provider.requests.keys, 3)
    const grown = ((await usedHeap() - heap) / 1_048_576).toFixed(1)
    t.comment(`${String(failure)}: ${3 * strangers} unknown kids, heap ${grown} MiB more`)
  }
})

t.test('accepts known keys and answers 503 for others, whatever the source does, without leaking its text', async t => {
  const rss = megabytes()
  await Promise.all(failures.flatMap(failure => [false, true].map(async byDiscovery => {
    await using provider = await fakeIssuer({ algorithms: es })
    await using cold = await fakeIssuer({ algorithms: es })
    const { issuer, audience } = provider
    const { ask, log } = await createApp(
      t,
      {
        issuers: [
          { issuer, audience, ...byDiscovery ? {} : { keys: provider.jwksUri } }, { issuer: cold.issuer, audience }
        ]
      }
    )
    t.equal((await ask(provider.token())).status, 200)
    provider.fail(failure)
    cold.fail(failure)
    const [known, unknown, none] = await Promise.all([
      ask(provider.token()), ask(provider.token({}, { header: { kid: 'unknown' } })), ask(cold.token())
    ])
    t.same([known.status, unknown.status, none.status], [200, 503, 503], failure)
    t.ok(Number(none.retryAfter) >= 1 && Number(unknown.retryAfter) >= 1)
    t.equal((await ask(provider.token())).status, 200, failure)
    t.same(
      unknown.body,
      {
        statusCode: 503,
        code: 'AUTH_UNAVAILABLE',
        error: 'Service Unavailable',
        message: 'Authentication is temporarily unavailable'
      }
    )
    t.notMatch(log.join(''), /doctype|log in|not found/)
    t.match(log.join(''), /"level":40.*the keys of the issuer cannot be fetched/)
  })))
  t.comment(`RSS ${(megabytes() - rss).toFixed(1)} MiB more`)
})
