import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t from 'tap'
import { usedHeap } from '../fixtures/heap.js'
import { size } from '../fixtures/size.js'
import { token } from '../fixtures/tokens.js'
import { authorizePath, basic, origin, privateKey, serverApp, verifier } from './app.js'

const random = (bytes: number): string => randomBytes(bytes).toString('base64url')
const count = size({ test: 3_000, short: 100_000, full: 5_000_000 })
/** MiB. Compiled code and bounded caches take a few; 3,000 requests that leave 2 KiB each exceed the limit. */
const limit = size({ test: 6, short: 20, full: 20 })

/** Returns the inject options of a token request. */
function tokenRequest (fields: Readonly<Record<string, string>>, headers: Readonly<Record<string, string>> = {}) {
  return {
    method: 'POST' as const,
    url: '/oauth/token',
    payload: new URLSearchParams(fields).toString(),
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers }
  }
}

function tokenOfUnknownKey (): string {
  const claims = { iss: origin, aud: origin, sub: 'ann', exp: Math.floor(Date.now() / 1000) + 300 }
  return token(claims, { alg: 'ES256', key: privateKey, header: { kid: random(8), typ: 'at+jwt' } })
}

/** Requests with codes and tokens that were never issued, each with its allowed statuses. */
const garbage: ReadonlyArray<readonly [statuses: readonly number[], make: (i: number) => InjectOptions]> = [
  [[400], () => tokenRequest({
    grant_type: 'authorization_code', client_id: 'spa', code: random(32), code_verifier: verifier
  })],
  [[400], i => tokenRequest({
    grant_type: 'refresh_token', client_id: 'spa', refresh_token: `rt_${random(16)}.${i}.${random(32)}`
  })],
  [[400], () => tokenRequest({ grant_type: 'refresh_token', client_id: 'spa', refresh_token: random(60) })],
  [[400], () => tokenRequest({ grant_type: 'refresh_token', client_id: `client_${random(16)}`, refresh_token: 'x' })],
  [[401, 429], i => ({
    ...tokenRequest({ grant_type: 'client_credentials' }, basic(`client_${random(16)}`, random(32))),
    remoteAddress: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`
  })],
  [[400], () => ({ url: authorizePath({ client_id: `client_${random(16)}` }) })],
  [[401], () => ({ url: '/orders', headers: { authorization: `Bearer ${tokenOfUnknownKey()}` } })]
]

/** Sends garbage through the whole application, and returns the requests with a wrong response. */
async function flood (app: FastifyInstance, from: number, to: number): Promise<string[]> {
  const wrong: string[] = []
  for (let i = from; i < to; i++) {
    const kind = i % garbage.length
    const [statuses, make] = garbage[kind] ?? []
    const { statusCode } = await app.inject(make?.(i) ?? '/')
    if (statuses?.includes(statusCode) !== true) wrong.push(`kind ${kind}: ${statusCode}`)
    // memory of inject() is released only in the next turn of the event loop
    if (i % 100 === 0) await nextTurn()
  }
  return wrong
}

t.test(`${count} codes, refresh tokens, clients and kids that were never issued leave nothing behind`, async t => {
  const app = await serverApp(t)
  t.same(await flood(app, 0, 500), [], 'each has its expected status')
  const before = await usedHeap()
  t.same(await flood(app, 500, 500 + count), [])
  const grown = (await usedHeap() - before) / 1_048_576
  t.ok(grown < limit, `the heap grew by ${grown.toFixed(1)} MiB`)
  t.comment(`${count} requests: ${grown.toFixed(1)} MiB`)
})
