import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { publish, publishedRequest, publishFor } from '../../lib/events/events.js'
import type { GatehouseEventName, GatehouseEvents } from '../../types/events.js'

const request = { requestId: 'req-1', method: 'GET', route: '/orders/:id' }
const refusal = { ...request, code: 'AUTH_REQUIRED', scheme: null, reason: 'no credential' } as const
const key = { scheme: 'service', key: 'hash', realm: 'people', id: 'alice' }
const session = { ...request, scheme: 'web', realm: 'web', id: 'alice', session: 'hash' }

const payloads: GatehouseEvents = {
  authenticated: { ...request, scheme: 'api', realm: 'r', id: 'alice' },
  refused: refusal,
  denied: { ...refusal, code: 'AUTH_ACCESS_DENIED', scheme: 'api' },
  throttled: { ...refusal, code: 'AUTH_RATE_LIMITED', retryAfter: 5 },
  unavailable: { ...refusal, code: 'AUTH_UNAVAILABLE', retryAfter: null },
  fault: { ...request, code: 'AUTH_FAULT', reason: 'a scheme threw' },
  login: { ...session, renewed: false },
  logout: session,
  'key-created': key,
  'key-rotated': { ...key, successor: 'other' },
  'key-revoked': { ...key, leaked: false },
  'key-used-after-end': key,
  'store-down': { reason: 'store: get failed: ECONNREFUSED' },
  'store-up': { downFor: 12 },
  'token-issued': {
    scheme: 'api',
    issuer: 'https://a.test',
    realm: 'r',
    id: 'alice',
    client: null,
    scopes: ['a'],
    tokenId: 'j',
    grant: null,
    expiresAt: '2030-01-01T00:00:00.000Z'
  },
  'token-refreshed': {
    scheme: 'api',
    realm: 'r',
    id: 'alice',
    client: null,
    grant: 'g',
    scopes: ['a'],
    generation: 2
  },
  'token-reused': { scheme: 'api', realm: 'r', id: 'alice', client: null, grant: 'g', generation: 1, current: 3 },
  'token-revoked': { scheme: 'api', realm: 'r', id: 'alice', client: null, grant: 'g', tokenId: null },
  'code-reused': { scheme: 'api', realm: 'r', id: 'alice', client: 'c', grant: 'g' },
  'consent-given': { realm: 'r', id: 'alice', client: 'c', scopes: ['a'], remembered: true },
  'client-refused': { client: 'c', address: '127.0.0.1' },
  'keys-fetched': {
    scheme: 'api',
    issuer: 'https://a.test',
    url: 'https://a.test/jwks',
    kids: ['k'],
    keys: 1,
    ignored: 0
  },
  'keys-failed': {
    scheme: 'api',
    issuer: null,
    url: 'https://a.test/jwks',
    reason: 'the answer has status 404',
    keys: 0
  }
}

const names = Object.keys(payloads) as GatehouseEventName[]

t.test(
  'publishes each event on the channel of its name, deep-frozen, and shares nothing with the publisher',
  async t => {
    for (const name of names) {
      const events: unknown[] = []
      const listener = (message: unknown): void => {
        events.push(message)
      }
      subscribe(`fastify-gatehouse:${name}`, listener)
      publish(name, payloads[name])
      unsubscribe(`fastify-gatehouse:${name}`, listener)
      publish(name, payloads[name])
      t.same(events, [payloads[name]], name)
      const [event] = events as Array<Readonly<Record<string, unknown>>>
      t.not(event, payloads[name])
      t.ok(
        Object.isFrozen(event) &&
          Object.values(event ?? {}).every(value => typeof value !== 'object' || Object.isFrozen(value))
      )
    }
  }
)

t.test('copies nothing if there is no subscriber', async t => {
  // no other test in this process subscribes to this event
  const payload = { ...payloads['consent-given'], get client (): string { return t.fail('it was read') as never } }
  publish('consent-given', payload)
  t.equal(channel('fastify-gatehouse:consent-given').hasSubscribers, false)
})

t.test('docs/events.md lists every event', async t => {
  const page = readFileSync(new URL('../../docs/events.md', import.meta.url), 'utf8')
  t.same([...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(match => match[1]), names)
})

t.test('knows the request of an event only while the event is published', async t => {
  const [outer, inner] = [{ id: 'outer' }, { id: 'inner' }] as never[] as [never, never]
  const requests: unknown[] = []
  const onLogout = (): void => { requests.push(publishedRequest()) }
  const onLogin = (): void => {
    publishFor(inner, 'logout', { ...payloads.logout })
    requests.push(publishedRequest())
  }
  subscribe('fastify-gatehouse:logout', onLogout)
  subscribe('fastify-gatehouse:login', onLogin)
  t.teardown(() => {
    unsubscribe('fastify-gatehouse:logout', onLogout)
    unsubscribe('fastify-gatehouse:login', onLogin)
  })
  publishFor(outer, 'login', { ...payloads.login })
  t.same([...requests, publishedRequest()], [inner, outer, null])
})
