import { createSign, generateKeyPairSync } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { NewApiKey } from '../../../lib/index.js'
import { random, type Ledger } from '../../support/secrets.js'
import { token } from '../../support/tokens.js'
import { prefix, type Secrets } from './life-application.js'

const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const publicKey = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()

interface Asked { readonly method?: 'GET' | 'POST' | 'DELETE' | 'OPTIONS', readonly headers?: Readonly<Record<string, string>>, readonly body?: unknown }
interface Answered { readonly status: number, readonly body: string, readonly cookies: readonly string[] }
type Send = (url: string, asked?: Asked) => Promise<Answered>

/** Sends requests in the process, or over a socket. */
export async function sender (app: FastifyInstance, overSocket: boolean): Promise<Send> {
  if (!overSocket) {
    return async (url, { method = 'GET', headers = {}, body } = {}) => {
      const answer = await app.inject({ method, url, headers, ...body === undefined ? {} : { payload: body as object } })
      return { status: answer.statusCode, body: answer.body, cookies: [answer.headers['set-cookie'] ?? []].flat() }
    }
  }
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  return async (url, { method = 'GET', headers = {}, body } = {}) => {
    const json = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }
    const type: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' }
    const answer = await fetch(address + url, { method, redirect: 'manual', headers: { ...type, ...headers }, ...json })
    return { status: answer.status, body: await answer.text(), cookies: answer.headers.getSetCookie() }
  }
}

/** One life of an application: what each credential does from its beginning to its end, and everything that is refused on the way. */
export class Life {
  readonly #t: Test
  readonly #app: FastifyInstance
  readonly #send: Send
  readonly #ledger: Ledger
  readonly #secrets: Secrets
  /** The bodies of refusals. */
  refusals = ''

  constructor (t: Test, parts: { readonly app: FastifyInstance, readonly send: Send, readonly ledger: Ledger, readonly secrets: Secrets }) {
    this.#t = t
    this.#app = parts.app
    this.#send = parts.send
    this.#ledger = parts.ledger
    this.#secrets = parts.secrets
  }

  async #ask (what: string, status: number | readonly number[], url: string, asked: Asked = {}): Promise<Answered> {
    const answer = await this.#send(url, asked)
    this.#ledger.keepCookies(answer.cookies)
    // Fastify quotes a URL that leads nowhere to whoever sent it, and what an application throws is the application's to say
    if (answer.status >= 400 && answer.status !== 404 && !/^\/(?:%zz|when)/.test(url)) this.refusals += `${answer.body}\n`
    this.#t.ok([status].flat().includes(answer.status), `${what}: ${answer.status}`)
    return answer
  }

  #wrong (name: string, length = 32): string {
    return this.#ledger.keep(`a wrong ${name}`, random(length))
  }

  async #login (user: string, more: object = {}, cookie = ''): Promise<string> {
    const { cookies } = await this.#ask(`${user} logs in`, 200, '/login', { method: 'POST', headers: { cookie }, body: { user, password: this.#secrets.ann, ...more } })
    return cookies.map(each => each.split(';', 1)[0]).join('; ')
  }

  async sessions (): Promise<void> {
    const { sessions } = this.#app.gatehouse
    await this.#ask('a wrong password', 401, '/login', { method: 'POST', body: { user: 'ann', password: this.#wrong('password', 16) } })
    const [one, two] = [await this.#login('ann'), await this.#login('ann', { keep: true })]
    await this.#ask('a session', 200, '/me', { headers: { cookie: one } })
    await this.#ask('a known device', 200, '/login', { method: 'POST', headers: { cookie: one }, body: { user: 'ann', password: this.#secrets.ann } })
    await this.#ask('new data', 200, '/data', { method: 'POST', headers: { cookie: two } })
    const renewed = (await this.#ask('a renewal', 200, '/renew', { method: 'POST', headers: { cookie: two } })).cookies[0]?.split(';', 1)[0] ?? ''
    await this.#ask('what was renewed', 401, '/me', { headers: { cookie: two } })
    await this.#ask('more than a cookie holds', 500, '/too-much', { method: 'POST', headers: { cookie: renewed } })
    await this.#ask('a logout', 200, '/logout', { method: 'POST', headers: { cookie: renewed } })
    const forged = `__Host-web=${this.#wrong('cookie', 120)}.${this.#wrong('nonce')}`
    await this.#ask('a forged cookie', 401, '/me', { headers: { cookie: forged } })
    await this.#ask('a forged cookie of a browser', [302, 401], '/me', { headers: { cookie: forged, accept: 'text/html' } })
    await this.#ask('a page with a key in its address', [302, 401], `/me?key=${this.#wrong('key')}`, { headers: { cookie: forged, accept: 'text/html' } })
    for (const { id } of await sessions.list({ realm: 'web', id: 'ann' })) await sessions.revoke(id)
    const bobs = await this.#login('bob')
    await sessions.revokeAll({ realm: 'web', id: 'bob' })
    await this.#ask('an ended session', 401, '/me', { headers: { cookie: bobs } })
    for (let i = 0; i < 5; i++) await this.#ask('a guess', [401, 429], '/login', { method: 'POST', body: { user: 'eve', password: this.#wrong('password', 16) } })
  }

  async #made (answer: NewApiKey | null): Promise<NewApiKey> {
    if (answer === null) throw new Error('no key was made')
    this.#ledger.keepKey(answer.key, prefix)
    return answer
  }

  async keys (): Promise<void> {
    const { apiKeys } = this.#app.gatehouse
    const owner = { realm: 'web', id: 'ann' }
    const cookie = await this.#login('ann')
    const { key, record } = await this.#made(JSON.parse((await this.#ask('a key is made', 201, '/keys', { method: 'POST', headers: { cookie }, body: { name: 'laptop', scopes: ['a'] } })).body) as NewApiKey)
    await this.#ask('in a header', 200, '/me', { headers: { 'x-api-key': key } })
    await this.#ask('in the query', 200, `/me?a=b&key=${key}`)
    await this.#ask('in the query, its name encoded', 200, `/me?k%65y=${key}`)
    await this.#ask('in a cookie', 200, '/me', { headers: { cookie: `key=${key}` } })
    await this.#ask('on a path that is not there', 404, `/nowhere?key=${key}`)
    await this.#ask('on a path that is none', 400, `/%zz?key=${key}`)
    await this.#ask('where a scope is missing', 403, '/scoped', { headers: { 'x-api-key': key } })
    await this.#ask('beside another', 401, `/me?key=${this.#wrong('key')}`, { headers: { 'x-api-key': key } })
    await this.#ask('mistyped', 401, '/me', { headers: { 'x-api-key': this.#ledger.keepKey(`${key.slice(0, -8)}${random(6).replace(/[^A-Za-z0-9]/g, 'x')}${key.slice(-2)}`, prefix) } })
    await this.#ask('of nobody', 401, `/me?key=${this.#wrong('key')}`)
    const next = await this.#made(await apiKeys.rotate(record.id, { overlap: '1h' }))
    for (const each of [key, next.key]) await this.#ask('rotated', 200, '/me', { headers: { 'x-api-key': each } })
    const leaked = await this.#made(await apiKeys.create({ owner, name: 'leaked' }))
    const body = JSON.stringify([{ token: leaked.key, type: 'acme', url: 'https://example.com' }, { token: this.#wrong('token'), type: 'acme', url: '' }])
    const signed = (signature: string): Asked => ({ method: 'POST', headers: { 'content-type': 'application/json', 'github-public-key-identifier': 'one', 'github-public-key-signature': signature }, body })
    await this.#ask('reported without a signature', 403, '/keys/leaks', signed('AAAA'))
    await this.#ask('reported', 204, '/keys/leaks', signed(createSign('sha256').update(body).sign(pair.privateKey, 'base64')))
    await this.#ask('leaked', 401, '/me', { headers: { 'x-api-key': leaked.key } })
    const short = await this.#made(await apiKeys.create({ owner, name: 'short', expiresAt: new Date(Date.now() + 50) }))
    await apiKeys.revoke(next.record.id, owner)
    await this.#ask('revoked', 401, '/me', { headers: { 'x-api-key': next.key } })
    await sleep(60)
    await this.#ask('expired', 401, '/me', { headers: { 'x-api-key': short.key } })
    await this.#ask('a list', 200, '/keys', { headers: { cookie } })
  }

  async others (): Promise<void> {
    const basic = (name: string, password: string): Asked => ({ headers: { authorization: `Basic ${this.#ledger.keep('a Basic credential', Buffer.from(`${name}:${password}`).toString('base64'))}` } })
    for (const status of [200, 200]) await this.#ask('Basic', status, '/me', basic('ada', this.#secrets.ada))
    for (const name of ['ada', 'nobody']) await this.#ask('Basic, wrong', 401, '/me', basic(name, this.#wrong('password', 16)))
    const good = this.#ledger.keepToken(await this.#app.gatehouse.tokens.issue({ id: 'ann', scopes: ['a'] }))
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: 'https://id.test', aud: 'api', sub: random(), exp: now + 60 }
    const bad = [
      token({ ...claims, exp: now - 600 }, { alg: 'HS256', key: this.#secrets.jwt, header: { typ: 'at+jwt' } }),
      token(claims, { alg: 'HS256', key: this.#wrong('JWT secret'), header: { typ: 'at+jwt' } }),
      token({ ...claims, aud: 'other' }, { alg: 'HS256', key: this.#secrets.jwt, header: { typ: 'at+jwt' } }),
      `${good}${this.#wrong('end')}`
    ].map(each => this.#ledger.keepToken(each))
    const ways = (text: string): ReadonlyArray<readonly [string, Asked]> => [['/me', { headers: { authorization: `Bearer ${text}` } }], [`/me?token=${text}`, {}]]
    for (const [url, asked] of ways(good)) await this.#ask('a token', 200, url, asked)
    for (const each of bad) for (const [url, asked] of ways(each)) await this.#ask('a bad token', 401, url, asked)
    await this.#ask('a given key', 200, '/me', { headers: { 'x-fixed': this.#secrets.fixed } })
    await this.#ask('a wrong one', 401, '/me', { headers: { 'x-fixed': this.#wrong('given key') } })
    await this.#ask('OPTIONS', [401, 404], `/me?key=${this.#wrong('key')}`, { method: 'OPTIONS', headers: { 'x-api-key': this.#wrong('key'), 'access-control-request-method': 'GET' } })
  }

  /** What the application's own functions throw quotes what was sent. */
  async faults (): Promise<void> {
    const cookie = await this.#login('ann')
    await this.#ask('verify throws', 500, '/odd', { headers: { 'x-odd': this.#wrong('key') } })
    await this.#ask('verify throws, of a query', 500, `/odd?odd=${this.#wrong('key')}`)
    await this.#ask('load throws', 500, '/me', { headers: { 'x-fixed': this.#secrets.fixed, 'x-fail': 'yes', authorization: `Bearer ${this.#wrong('token')}`, cookie: `other=${this.#wrong('cookie')}` } })
    await this.#ask('when throws', 500, `/when?key=${this.#wrong('key')}`, { headers: { cookie, 'x-api-key': this.#wrong('key') } })
    await this.#ask('when throws, of Basic', 500, '/when', { headers: { authorization: `Basic ${this.#ledger.keep('a Basic credential', Buffer.from(`ada:${this.#secrets.ada}`).toString('base64'))}` } })
    await this.#ask('a handler throws', 500, '/fault', { headers: { authorization: `Bearer ${this.#wrong('token')}`, 'x-api-key': this.#wrong('key') } })
  }

  /** The store is broken: what is asked of it fails. */
  async outage (breakStore: () => Promise<void>): Promise<void> {
    const owner = { realm: 'web', id: 'ann' }
    const cookie = await this.#login('ann')
    const { key, record } = await this.#made(await this.#app.gatehouse.apiKeys.create({ owner, name: 'unlucky' }))
    await this.#ask('before', 200, '/me', { headers: { 'x-api-key': key } })
    await breakStore()
    await this.#ask('a session', 503, '/me', { headers: { cookie } })
    await this.#ask('a key', 503, '/me', { headers: { 'x-api-key': key } })
    await this.#ask('a key in the query', 503, `/me?key=${key}`)
    await this.#ask('a login', [200, 503], '/login', { method: 'POST', headers: { cookie }, body: { user: 'ann', password: this.#secrets.ann } })
    await this.#ask('a logout', 503, '/logout', { method: 'POST', headers: { cookie } })
    for (const attempt of [() => this.#app.gatehouse.apiKeys.rotate(record.id, { overlap: 60 }), () => this.#app.gatehouse.apiKeys.revokeLeaked(key), () => this.#app.gatehouse.sessions.list(owner)]) {
      await attempt().catch((error: unknown) => { this.#app.log.error({ err: error }, 'the store is broken') })
    }
  }
}
