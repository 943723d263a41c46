import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { inspect } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import type { GatehouseOptions } from '../../types/options.js'
import type { AuthErrorCode, AuthFailure, Outcome } from '../../types/outcome.js'
import type { Scheme, SchemeContext, SchemeFactory } from '../../types/scheme.js'
import { misconfigured } from '../errors.js'
import { writeChallenges } from '../guard/challenge.js'
import { isAmbient } from '../kit/sources.js'
import { plugin } from '../plugin.js'
import { memoryStore } from '../stores/memory/index.js'
import { describeValue } from '../util/describe.js'
import { isObject, isPlainObject } from '../util/objects.js'
import { functionOf, object, oneOf, optional, text, type Parser } from '../util/options.js'

/** The parts of a request that carry a credential. */
export interface SentCredential {
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
}

/** Credentials by their names in messages. */
export type SentCredentials = Readonly<Record<string, SentCredential>>

/** Options of {@link schemeContract}. */
export interface SchemeContract {
  /** Registers a test: `test` of `node:test` or tap, or `it` of other runners. */
  test (title: string, run: () => Promise<void>): unknown
  /** The scheme, or the function that creates it, such as `jwt({…})`. */
  readonly scheme: SchemeFactory | Scheme
  /**
   * Valid credentials, all of the principal whose id is `ann`; or a function that returns them. Its parameter logs
   * `ann` in and returns the cookie, for schemes with sessions.
   */
  readonly good: SentCredentials | ((login: () => Promise<string>) => Promise<SentCredentials>)
  /** Credentials of the scheme that are invalid. */
  readonly bad: SentCredentials
  /** Credentials of another kind, where the scheme looks for its own. Default: none. */
  readonly foreign?: SentCredentials
  /** Credentials that were valid and have expired. Default: none. */
  readonly expired?: SentCredentials
  /** Puts any text where the scheme looks for a credential. */
  carry (text: string): SentCredential
  /** `true` if the scheme returns an outcome and no promise. Default `false`. */
  readonly sync?: boolean
  /**
   * The HTTP authentication scheme of its challenges. Default: that which the guard writes for a scheme without
   * `challenge`.
   */
  readonly challenge: string
  /** `true` if browsers send the credential automatically. Default `false`. */
  readonly ambient?: boolean
}

const flag = oneOf(true, false)

/** The parsers of the options. A misspelled `foreign` or `expired` would test nothing. */
const checkContract = object({
  test: functionOf('(title, run) that registers a test'),
  scheme: parseScheme,
  good: (value, option) => typeof value === 'function' || parseCredentials(value, option),
  bad: parseCredentials,
  foreign: optional(parseCredentials, null),
  expired: optional(parseCredentials, null),
  carry: functionOf('(text) => { headers, query }'),
  sync: optional(flag, null),
  challenge: text,
  ambient: optional(flag, null)
} satisfies Record<keyof SchemeContract, Parser<unknown>>)

function parseScheme (value: unknown, option: string): void {
  if (typeof value === 'function' || isObject(value)) return
  throw misconfigured(`${option} must be a scheme, or the function that makes it. Got ${describeValue(value)}.`)
}

function parseCredentials (value: unknown, option: string): void {
  if (isPlainObject(value) && Object.values(value).every(isPlainObject)) return
  throw misconfigured(`${option} must be an object from the name of a credential to { headers, query }. Got ` +
    `${describeValue(value)}.`)
}

const strangers: SentCredentials = {
  nothing: {},
  'another Authorization scheme': { headers: { authorization: 'Digest username="ann"' } },
  'other headers, cookies and parameters': {
    headers: { 'x-other': 'ann', cookie: 'other=ann; x=y' }, query: { other: 'ann' }
  }
}

/**
 * Registers tests of everything that the contract of {@link Scheme} demands, with any test runner: alone, and behind
 * the guard of an application that listens on a free loopback port.
 *
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong option.
 * @example
 * import { test } from 'node:test'
 * import { schemeContract } from 'fastify-gatehouse/testing'
 *
 * schemeContract({
 *   test, scheme: device, good: { 'a device': { headers: { 'x-device': 'dev-1' } } },
 *   bad: { 'an unknown device': { headers: { 'x-device': 'dev-0' } } },
 *   carry: text => ({ headers: { 'x-device': text } }), sync: true, challenge: 'APIKey'
 * })
 */
export function schemeContract (contract: SchemeContract): void {
  checkContract(contract, 'The options of schemeContract')
  const { test } = contract
  test('returns authenticated, absent, foreign or invalid, as the credential is', () => testOutcomes(contract))
  test('returns an outcome for any text, never an error and never a principal', () => testHostile(contract))
  test('writes challenges without an error where nothing was sent, and never the reason', () =>
    testChallenges(contract))
  test('describes itself as OpenAPI does', () => testDescription(contract))
  test('serves two applications by one definition', () => testTwoApplications(contract))
  test('is enforced in every mode, for GET and HEAD, and leaves no credential in the log', () => testModes(contract))
  test('refuses a credential that is sent twice', () => testDuplicates(contract))
}

async function goodOf ({ good }: SchemeContract, login: () => Promise<string>): Promise<SentCredentials> {
  return typeof good === 'function' ? await good(login) : good
}

interface ExpectedOutcome {
  readonly kind: 'absent' | 'foreign' | 'invalid'
  /** Of an invalid credential. */
  readonly expired?: boolean
}

async function testOutcomes (contract: SchemeContract): Promise<void> {
  const { ask, login } = await bareScheme(contract.scheme)
  const { sync = false, foreign = {}, bad, expired = {} } = contract
  for (const [what, sent] of Object.entries(await goodOf(contract, login))) {
    const { isSync, outcome } = await ask(sent)
    assert.ok(outcome.kind === 'authenticated', `${what} is authenticated, not ${outcome.kind}`)
    assert.equal(isSync, sync, `${what}: ${sync ? 'an outcome, and no promise' : 'a promise'}`)
    const { principal, authenticatedAt, expiresAt } = outcome
    assert.equal(principal.id, 'ann', what)
    for (const instant of [authenticatedAt, expiresAt]) assert.ok(instant === null || instant instanceof Date)
  }
  const expect = async (list: SentCredentials, expected: ExpectedOutcome): Promise<void> => {
    const { kind, expired } = expected
    for (const [what, sent] of Object.entries(list)) {
      const { isSync, outcome } = await ask(sent)
      assert.equal(outcome.kind, kind, what)
      assert.ok(isSync || (!sync && kind === 'invalid'), `${what}: no promise where nothing is awaited`)
      if (outcome.kind !== 'invalid') continue
      assert.equal(outcome.expired, expired, `${what}: expired`)
      assert.notEqual(outcome.detail, '', `${what}: the reason, for the log`)
    }
  }
  await expect(strangers, { kind: 'absent' })
  await expect(foreign, { kind: 'foreign' })
  await expect(bad, { kind: 'invalid', expired: false })
  await expect(expired, { kind: 'invalid', expired: true })
}

const hostileTexts = [
  '', ' ', '=', '====', '.', '..', 'a.b.c', 'e30.e30.e30', 'eyJhbGciOiJub25lIn0.e30.', '__proto__', 'constructor',
  'undefined', 'null', '[object Object]', 'Og==', 'OjpvOg==', '/w==', 'a'.repeat(9000), '.'.repeat(9000), '%00', '%ff',
  'é', '{"a":1}', '"quoted"', 'a,b', 'a b'
]

/** Returns random texts of the forms that credentials have. */
function randomTexts (): readonly string[] {
  return Array.from({ length: 100 }, (_, i) => {
    const bytes = randomBytes(i % 60)
    const segments = Array.from({ length: 1 + i % 5 }, () => randomBytes(i % 20).toString('base64url'))
    const visible = String.fromCharCode(...bytes.map(byte => 0x20 + byte % 0x5f))
    const upper = Buffer.from(bytes.map(byte => 0x80 | byte)).toString('latin1')
    return [bytes.toString('base64'), segments.join('.'), visible, upper]
  }).flat()
}

async function testHostile ({ scheme, carry }: SchemeContract): Promise<void> {
  const { ask } = await bareScheme(scheme)
  for (const text of [...hostileTexts, ...randomTexts()]) {
    const { outcome } = await ask(carry(text))
    assert.match(outcome.kind, /^(?:absent|foreign|invalid)$/, inspect(text))
    if (outcome.kind === 'invalid' && text.length > 8) {
      assert.ok(!outcome.detail.includes(text), `the detail contains the credential: ${outcome.detail}`)
    }
  }
}

const codes: readonly AuthErrorCode[] = [
  'AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED', 'AUTH_ACCESS_DENIED'
]

async function testChallenges ({ scheme: definition, challenge: expected }: SchemeContract): Promise<void> {
  const { scheme } = await bareScheme(definition)
  if (scheme.challenge === undefined) return
  for (const code of codes) {
    for (const scopes of [[], ['a', 'b']]) {
      const name = code === 'AUTH_REQUIRED' ? null : 'it'
      const failure: AuthFailure = { code, scheme: name, detail: 'secret reason', scopes, maxAge: 60, retryAfter: null }
      for (const challenge of [scheme.challenge(failure) ?? []].flat()) {
        assert.equal(challenge.scheme.toLowerCase(), expected.toLowerCase(), code)
        const written = writeChallenges([challenge])
        assert.ok(code !== 'AUTH_REQUIRED' || !/\berror=/.test(written), `an error where nothing was sent: ${written}`)
        assert.doesNotMatch(written, /secret/)
      }
    }
  }
}

async function testDescription ({ scheme: definition, ambient = false }: SchemeContract): Promise<void> {
  const { scheme } = await bareScheme(definition)
  const { openapi } = scheme
  assert.deepEqual(JSON.parse(JSON.stringify(openapi)), openapi, 'openapi is JSON')
  assert.match(openapi.type, /^(?:http|apiKey|openIdConnect|oauth2|mutualTLS)$/)
  if (openapi.type === 'apiKey') {
    assert.match(openapi.in, /^(?:header|query|cookie)$/)
    assert.notEqual(openapi.name, '')
  }
  assert.equal(isAmbient(scheme), ambient, 'ambient')
}

async function testTwoApplications (contract: SchemeContract): Promise<void> {
  const first = await bareScheme(contract.scheme, 'first')
  const second = await bareScheme(contract.scheme, 'second')
  const check = async ({ ask, login }: typeof first): Promise<void> => {
    for (const [what, sent] of Object.entries(await goodOf(contract, login))) {
      assert.equal((await ask(sent)).outcome.kind, 'authenticated', what)
    }
  }
  for (const each of [first, second, first]) await check(each)
  await first.app.close()
  await check(second)
}

/** Returns the texts of a credential that a log must not contain. */
function secretsOf ({ headers = {}, query = {} }: SentCredential): readonly string[] {
  return [...Object.values(headers), ...Object.values(query)]
    .map(value => value.replace(/^(?:Bearer|Basic) |^[\w-]+=(?=.{20})/i, ''))
    .filter(value => value.length > 12)
}

async function testModes (contract: SchemeContract): Promise<void> {
  const { app, ask, login, log } = await guardedScheme(contract.scheme)
  const good = await goodOf(contract, login)
  const { bad, foreign = {}, expired = {}, challenge } = contract
  const refused = (code: AuthErrorCode) => ({ status: 401, code, challenge: challenge.toLowerCase() })
  const entered = (id: string | null, error: string | null) => ({ status: 200, id, error })
  for (const mode of ['required', 'optional', 'try'] as const) {
    const expect = async (list: SentCredentials, expected: object): Promise<void> => {
      for (const [what, sent] of Object.entries(list)) {
        assert.deepEqual(await ask(mode, sent), expected, `${what}, ${mode}`)
      }
    }
    await expect(good, entered('ann', null))
    await expect(strangers, mode === 'required' ? refused('AUTH_REQUIRED') : entered(null, null))
    for (const [list, code] of [
      [bad, 'AUTH_INVALID_CREDENTIALS'], [foreign, 'AUTH_INVALID_CREDENTIALS'], [expired, 'AUTH_TOKEN_EXPIRED']
    ] as const) await expect(list, mode === 'try' ? entered(null, code) : refused(code))
  }
  await app.close()
  for (const sent of [...Object.values(good), ...Object.values(bad)]) {
    for (const secret of secretsOf(sent)) assert.ok(!log().includes(secret), 'the log contains a credential')
  }
}

/** Returns each header of a credential as two lines, and joined in one: equal, and different in both orders. */
function duplicateLines ({ headers = {} }: SentCredential): ReadonlyArray<readonly string[]> {
  return Object.entries(headers).flatMap(([name, value]) => {
    const other = name === 'cookie' ? value : value.slice(0, -1)
    return [
      [`${name}: ${value}`, `${name.toUpperCase()}: ${value}`],
      [`${name}: ${value}`, `${name}: ${other}`],
      [`${name}: ${other}`, `${name}: ${value}`],
      [`${name}: ${value}${name === 'cookie' ? ';' : ','} ${value}`]
    ]
  })
}

/** Uses a socket, because Node keeps the first line of some headers and joins the others. */
async function testDuplicates (contract: SchemeContract): Promise<void> {
  const { app, login } = await guardedScheme(contract.scheme)
  const good = await goodOf(contract, login)
  await app.listen({ port: 0, host: '127.0.0.1' })
  try {
    for (const [what, sent] of Object.entries(good)) {
      const lines = Object.entries(sent.headers ?? {}).map(([name, value]) => `${name}: ${value}`)
      assert.equal(await sendLines(app, urlOf('/required', sent), lines), 200, `${what}, once`)
      for (const mode of ['required', 'optional']) {
        for (const both of duplicateLines(sent)) {
          const status = await sendLines(app, urlOf(`/${mode}`, sent), both)
          assert.equal(status, 401, `${what}, ${mode}: ${both.join(' | ')}`)
        }
      }
      const { query } = sent
      if (query === undefined) continue
      const url = `${urlOf('/required', sent)}&${new URLSearchParams(query).toString()}`
      assert.equal(await sendLines(app, url, []), 401, `${what}: a parameter twice`)
    }
  } finally {
    await app.close()
  }
}

/** Describes what a scheme returned for one request. */
interface Answer {
  readonly isSync: boolean
  readonly outcome: Outcome
}

/** Creates an application whose only route calls a scheme, without the plugin. */
async function bareScheme (definition: SchemeFactory | Scheme, name = 'it') {
  const app: FastifyInstance = Fastify()
  const made = typeof definition === 'function' ? await definition(app, name, standaloneContext()) : definition
  const { scheme, features } = 'scheme' in made ? made : { scheme: made, features: {} }
  const answers: Answer[] = []
  app.get('/', async request => {
    const outcome = scheme.authenticate(request)
    answers.push({ isSync: !(outcome instanceof Promise), outcome: await outcome })
    return {}
  })
  app.post('/login', async (request, reply) => {
    await features.sessions?.login(request, reply, { id: 'ann' }, {})
    return {}
  })
  const ask = async (sent: SentCredential): Promise<Answer> => {
    answers.length = 0
    const { body } = await app.inject({ url: urlOf('/', sent), headers: { ...sent.headers } })
    const [answer] = answers
    if (answer === undefined) throw new Error(`authenticate() threw: ${body}`)
    return answer
  }
  return { app, scheme, ask, login: loginOf(app) }
}

/** Returns the context for a scheme that is called without the plugin. */
function standaloneContext (): SchemeContext {
  return {
    store: memoryStore(),
    shared: false,
    guesses: { attempt: async (_request, _account, check) => ({ kind: 'checked', result: await check() as never }) },
    load: null,
    grants: () => false
  }
}

/** Creates an application with the plugin, the scheme and a route for each mode. */
async function guardedScheme (definition: SchemeFactory | Scheme) {
  let lines = ''
  const stream = new Writable({ write (chunk, _encoding, done) { lines += String(chunk); done() } })
  const app: FastifyInstance = Fastify({ logger: { stream, level: 'info' } })
  const options = { schemes: { it: definition }, default: 'it', limits: { guesses: false } }
  await app.register(plugin, options as GatehouseOptions)
  for (const mode of ['required', 'optional', 'try'] as const) {
    app.get(`/${mode}`, { config: { auth: { mode } } }, async ({ principal, auth }) =>
      ({ id: principal?.id ?? null, error: auth.error?.code ?? null }))
  }
  if (app.gatehouse.sessions.schemes.length > 0) {
    app.post('/login', { config: { auth: { public: 'logs people in' } } }, async (_request, reply) => {
      await reply.login({ id: 'ann' })
      return {}
    })
  }
  /** Sends a credential by GET and by HEAD, whose answers must agree. */
  const ask = async (mode: string, sent: SentCredential): Promise<object> => {
    const request = { url: urlOf(`/${mode}`, sent), headers: { ...sent.headers } }
    const { statusCode: status, headers, body } = await app.inject(request)
    const head = await app.inject({ ...request, method: 'HEAD' })
    const challenge = headers['www-authenticate']
    if (head.statusCode !== status || head.headers['www-authenticate'] !== challenge) {
      throw new Error(`HEAD is answered ${head.statusCode}, and GET ${status}`)
    }
    if (status === 200) return { status, ...JSON.parse(body) as object }
    const { code } = JSON.parse(body) as { readonly code: string }
    return { status, code, challenge: String(challenge).split(' ', 1)[0]?.toLowerCase() }
  }
  return { app, ask, login: loginOf(app), log: () => lines }
}

function loginOf (app: FastifyInstance): () => Promise<string> {
  return async () => {
    const { headers } = await app.inject({ method: 'POST', url: '/login' })
    return String(headers['set-cookie']).replace(/;.*/s, '')
  }
}

/** Returns a path with the parameters of a credential. */
function urlOf (path: string, { query = {} }: SentCredential): string {
  return `${path}?${new URLSearchParams(query).toString()}`
}

/** Sends a GET with exactly these lines in its header, and returns the status. */
async function sendLines (app: FastifyInstance, url: string, lines: readonly string[]): Promise<number> {
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1')
  let text = ''
  socket.on('data', chunk => { text += String(chunk) })
  socket.write([`GET ${url} HTTP/1.1`, 'Host: gate.test', 'Connection: close', ...lines, '', ''].join('\r\n'), 'latin1')
  await once(socket, 'close')
  return Number(text.split(' ', 2)[1])
}
