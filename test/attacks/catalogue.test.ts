import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import authPlugin, { apiKey, jwt } from '../../lib/index.js'
import { memoryStore } from '../../lib/stores/memory/index.js'
import { size } from '../fixtures/size.js'
import { readWords, withoutVectors } from '../fixtures/vectors.js'
import { adminClient, fleet, type Key } from '../stores/fixtures/fleet.js'
import { checkInvariants, outage, staleness } from '../stores/fixtures/outage.js'
import { noRedisServer, redisServer } from '../stores/fixtures/outages.js'
import type { Call as Load } from '../stores/fixtures/traffic.js'
import {
  createTarget, audience, cookieName, issuer, liveKey, newSecret, oldSecret, password, type Setup, type Target
} from './application.js'
import { publicPem, token, validToken, type TokenSpec } from './token.js'
import { inject, socket, type Answer, type Call, type Transport } from './transport.js'

/**
 * Runs the attack catalogue (104 attacks and controls from another source) against an application that uses the public
 * API.
 */

interface Request {
  method?: string
  path?: string
  bearer?: TokenSpec | string
  headers?: Record<string, string>
  headersRaw?: string[]
  cookies?: Record<string, string>
  body?: unknown
  foreach?: unknown[]
  repeat?: number | string
  load?: string
  transport?: string
  expectStep?: number
  advanceClock?: number
  before?: string
  save?: string
}
interface Entry {
  id: string,
  title: string,
  setup: string,
  requests: Request[],
  expect: {
    status: number | number[] | string, invariants?: string[]
  }
}

/**
 * Entries about an authorization server, which run in test/oauth/catalogue.test.ts. They are listed so that none is
 * forgotten.
 */
const elsewhere = /^O-OAU-|^O-CTL-005$/
/**
 * Entries whose timing a script in bench/ measures, because a timed test fails on a busy machine. Here, only their
 * responses are checked.
 */
const timed = ['O-KEY-004', 'O-BAS-004']

/** The allowed statuses of each request, for entries that describe them in words. */
const sequences: Record<string, number[][]> = {
  'O-CCH-001': [[200], [401]],
  'O-CCH-002': [[200], [401]],
  'O-CCH-003': [[200], [403]],
  'O-KEY-005': [[200], [401]],
  'O-RTE-004': [[401], [403]],
  'O-RTE-010': [[200], [200], [200]],
  'O-SES-001': [[200], [200], [401], [200]],
  'O-SES-002': [[200], [200], [401]],
  'O-SES-008': [[200], [401]]
}

const realNow = Date.now
let offset = 0
Date.now = () => realNow() + offset
t.teardown(() => { Date.now = realNow })

const honest = (): Call => ({ method: 'GET', path: '/private', headers: { 'x-api-key': liveKey } })
const basicOf = (text: string): string => Buffer.from(text).toString('base64')

async function login (target: Target): Promise<string> {
  const answer = await inject(
    target.app,
    {
      method: 'POST',
      path: '/login',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: 'alice', password })
    }
  )
  return cookieOf(answer) ?? ''
}

function cookieOf (answer: Answer): string | undefined {
  return [answer.headers['set-cookie'] ?? []].flat().map(
    line => new RegExp(`^${cookieName}=([^;]*)`).exec(line)?.[1]
  ).find(value => value !== undefined)
}

/** Fills in the placeholders of the catalogue. */
async function fill (text: string, target: Target, saved: Map<string, string>, i: number): Promise<string> {
  const session = async (): Promise<string> => saved.get('valid') ?? await login(target)
  const expired = (): string => token({
    header: { alg: 'HS256', typ: 'JWT' }, payload: { $extends: 'BASE', exp: 'now-61' }, key: 'hs1'
  })
  let filled = text
    .replace(
      /base64\((.*)\)/,
      (_, inner: string) => basicOf(
        inner.replace('<pw>', password).replace('{i}', String(i)).replace(
          /"A"\*(\d+)/, (__, n: string) => 'A'.repeat(Number(n))
        )
      )
    )
    .replaceAll('<valid minus last char>', liveKey.slice(0, -1))
    .replaceAll('<valid uppercased>', liveKey.toUpperCase() === liveKey ? liveKey.toLowerCase() : liveKey.toUpperCase())
    .replaceAll('<expired>', expired())
    .replaceAll(
      '<invalid>',
      token({
        header: { alg: 'HS256', typ: 'JWT' },
        payload: { $extends: 'BASE' },
        key: 'bytes:another key altogether, of the attacker'
      })
    )
    .replaceAll('<pw>', password)
  if (/sid=/.test(filled)) {
    filled = filled.replace(
      /sid=<(attacker|victim)>/g, `${cookieName}=<$1>`
    ).replace('<victim>', await login(target)).replace('<attacker>', await login(target))
  }
  for (const [name, value] of saved) filled = filled.replaceAll(`{${name}}`, value)
  return filled.includes('<valid>')
    ? filled.replaceAll('<valid>', /bearer/i.test(filled) ? validToken() : await session())
    : filled
}

/** Returns the token of a description. Within one attack it is signed once, even if the clock moves. */
function tokenOf (spec: TokenSpec, variant: unknown, saved: Map<string, string>): string {
  const text = JSON.stringify(spec).replaceAll('"$v"', () => JSON.stringify(variant))
  const made = saved.get(text) ?? token(JSON.parse(text) as TokenSpec)
  saved.set(text, made)
  return made
}

async function callOf (
  request: Request, variant: unknown, target: Target, saved: Map<string, string>, i: number
): Promise<Call> {
  const put = (text: string): string => typeof variant === 'string' ? text.replaceAll('$v', variant) : text
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    headers[put(name)] = name === 'x-api-key' ? put(value).replace('<valid>', liveKey) : value
    headers[put(name)] = await fill(put(headers[put(name)] ?? ''), target, saved, i)
  }
  for (const [, value] of Object.entries(request.cookies ?? {})) {
    headers.cookie = `${cookieName}=${saved.get(value.slice(1, -1)) ?? saved.get('valid') ?? await login(target)}`
  }
  if (typeof request.bearer === 'string') headers.authorization = `Bearer ${validToken()}`
  else if (request.bearer !== undefined) headers.authorization = `Bearer ${tokenOf(request.bearer, variant, saved)}`
  const lines = await Promise.all(
    (request.headersRaw ?? []).map(
      async line => fill(line.startsWith('x-api-key') ? line.replace('<valid>', liveKey) : line, target, saved, i)
    )
  )
  let body: string | undefined
  if (typeof request.body === 'string') {
    body = request.body === '"A"*2MiB'
      ? 'A'.repeat(2 * 1024 * 1024)
      : (await fill(put(request.body), target, saved, i)).replace('<valid admin>', validToken({ scope: 'admin' }))
  } else if (request.body !== undefined) {
    headers['content-type'] = 'application/json'
    body = await fill(JSON.stringify(request.body), target, saved, i)
  }
  return {
    method: request.method ?? 'GET', path: put(request.path ?? '/').replace('<valid>', liveKey), headers, lines, body
  }
}

/** Returns what a response reveals that it must not: secrets, stacks, paths. */
function leaks (answer: Answer, call: Call): string[] {
  const shown = `${answer.body} ${JSON.stringify({ ...answer.headers, 'set-cookie': undefined, location: undefined })}`
  const credentials = [
    liveKey, password, oldSecret, newSecret, call.headers.authorization?.split(' ')[1],
    call.headers.cookie?.split('=')[1]
  ]
  const found = credentials.filter(
    (secret): secret is string => secret !== undefined && secret.length >= 8 && shown.includes(secret)
  )
  return [
    ...found.map(() => 'a credential'),
    ...(/ at .+:\d+:\d+|node_modules|\/lib\//.test(shown) ? ['a stack or a path'] : []),
    ...(/redis/.test(shown) ? ['the text of a fault'] : [])
  ]
}

async function attack (entry: Entry, transport: Transport, setup: Setup, test: Test): Promise<void> {
  const variants = entry.requests.find(request => request.foreach !== undefined)?.foreach ?? [undefined]
  for (const variant of variants) {
    offset = 0
    let target = await createTarget(setup)
    const saved = new Map<string, string>()
    const expected = sequences[entry.id] ?? entry.requests.map(() => [entry.expect.status].flat() as number[])
    for (const [at, request] of entry.requests.entries()) {
      target = await prepare(entry, request, at, target, saved)
      const count = typeof request.repeat === 'number' ? request.repeat : 1
      const calls = await Promise.all(
        Array.from({ length: count }, async (_, i) => callOf(request, variant, target, saved, i))
      )
      const before = target.runs.count
      const answers = await Promise.all(calls.map(async call => transport(target.app, call)))
      for (const [i, answer] of answers.entries()) {
        const call = calls[i] as Call
        const allowed = request.expectStep === undefined ? expected[at] ?? [] : [request.expectStep]
        const having = variant === undefined ? '' : ` with ${JSON.stringify(variant).slice(0, 40)}`
        const name = `${call.method} ${call.path.slice(0, 40)}${having}`
        test.ok(
          allowed.includes(answer.status),
          `${name} answers ${allowed.join(' or ')}`,
          { status: answer.status, body: answer.body.slice(0, 200) }
        )
        test.strictSame(leaks(answer, call), [], 'nothing leaks')
        if (request.save !== undefined) saved.set(request.save, cookieOf(answer) ?? '')
        check(entry, answer, test)
      }
      if (answers.every(answer => answer.status >= 400 || answer.status === 0)) {
        test.equal(target.runs.count, before, 'no handler runs')
      }
    }
    test.equal(
      (await transport(target.app, honest())).status,
      entry.id === 'O-RTE-009' ? 500 : entry.id === 'O-KEY-005' ? 401 : 200,
      'the next honest request is answered'
    )
    if (entry.id === 'O-RTE-010') {
      test.strictSame(
        [liveKey, password, validToken().slice(0, 8)].slice(0, 2).filter(
          secret => target.log.join('').includes(secret.slice(0, 8))
        ),
        [],
        'no secret is in the log'
      )
    }
    await target.app.close()
  }
  offset = 0
}

/** Carries out the steps of an entry between its requests: moves the clock, revokes, changes keys. */
async function prepare (
  entry: Entry, request: Request, at: number, target: Target, saved: Map<string, string>
): Promise<Target> {
  if (entry.id === 'O-SES-007') {
    saved.set('valid', await login(target))
    const alive = at === 1 ? 28_800 : 0
    for (let spent = 0; spent < alive; spent += 600) {
      offset += 600_000
      saved.set(
        'valid',
        cookieOf(
          await inject(
            target.app, { method: 'GET', path: '/me', headers: { cookie: `${cookieName}=${saved.get('valid')}` } }
          )
        ) ?? saved.get('valid') ?? ''
      )
    }
    offset += at === 0 ? 901_000 : 1000
    return target
  }
  if (entry.id === 'O-SES-008') {
    const secrets = at === 0 ? [newSecret, oldSecret] : [newSecret]
    if (at === 0) {
      const old = await createTarget({ text: entry.setup, sessionSecrets: [oldSecret] })
      saved.set('made with old', await login(old))
      await old.app.close()
    }
    await target.app.close()
    return createTarget({ text: entry.setup, sessionSecrets: secrets })
  }
  if (request.before === 'revoke') target.keys.delete(liveKey)
  offset += (request.advanceClock ?? 0) * 1000
  return target
}

/** Invariants beyond the status. */
function check (entry: Entry, answer: Answer, test: Test): void {
  const challenge = String(answer.headers['www-authenticate'] ?? '')
  if (entry.id === 'O-CLM-009') test.match(challenge, /error="insufficient_scope"/)
  if (entry.id === 'O-HDR-008') {
    test.match(
      challenge, /^Basic realm="ops \\"quoted\\"", charset="UTF-8", Bearer realm="user", APIKey realm="service"$/
    )
    test.notMatch(challenge, /error=/)
  }
  if (entry.id === 'O-SES-005') {
    test.match(
      String(answer.headers['set-cookie']),
      /^__Host-[^;]+; (?=.*Path=\/)(?=.*HttpOnly)(?=.*Secure)(?=.*SameSite=(?:Lax|Strict))(?!.*Domain)/i
    )
    test.match(answer.headers['cache-control'], /no-store/)
  }
  if (entry.id === 'O-SES-009') {
    test.ok(
      answer.headers.location === undefined || /^\/(?![/\\])/.test(String(answer.headers.location)),
      'the redirect stays here'
    )
  }
  if (entry.id === 'O-SES-008' && answer.status === 200) {
    test.type(cookieOf(answer), 'string', 'the session is re-issued under the new key')
  }
  if (entry.id === 'O-JWT-020') test.equal(({} as { scope?: unknown }).scope, undefined, 'no prototype is polluted')
}

/** Sends the requests of an entry one after another, over both transports, with the default limits. */
async function guessing (entry: Entry, test: Test, judge: (answers: readonly Answer[]) => void): Promise<void> {
  for (const transport of [inject, socket]) {
    const target = await createTarget({ text: entry.setup })
    const answers: Answer[] = []
    for (const request of entry.requests) {
      const repeat = typeof request.repeat === 'number' ? request.repeat : 1
      for (let i = 0; i < repeat; i++) {
        const numbered = JSON.parse(
          JSON.stringify(request).replaceAll('10.0.{i}.1', `10.0.${i}.1`).replace(
            '<own pw>', 'the attacker has one too'
          )
        ) as Request
        const call = await callOf(numbered, undefined, target, new Map(), i)
        const answer = await transport(target.app, call)
        test.strictSame(leaks(answer, call), [], 'nothing leaks')
        answers.push(answer)
      }
    }
    judge(answers)
    test.equal(
      target.runs.count, answers.filter(answer => answer.status === 200).length, 'no handler runs for a wrong password'
    )
    test.equal((await transport(target.app, honest())).status, 200, 'a key is good for all that')
    await target.app.close()
  }
}

const status = (answer: Answer): number => answer.status

/** Entries that need code of their own. */
const special: Record<string, (entry: Entry, test: Test) => Promise<void>> = {
  async 'O-RL-001' (entry, test) {
    await guessing(entry, test, answers => {
      test.strictSame(answers.map(status), [...Array(5).fill(401), ...Array(95).fill(429)])
      test.ok(
        answers.slice(5).every(
          ({ headers }) => Number(headers['retry-after']) > 0 && Number(headers['retry-after']) <= 60
        ),
        'with Retry-After'
      )
    })
  },
  async 'O-RL-002' (entry, test) {
    await guessing(
      entry, test, answers => { test.strictSame(answers.map(status), [...Array(5).fill(401), ...Array(95).fill(429)]) }
    )
  },
  async 'O-RL-003' (entry, test) {
    await guessing(entry, test, answers => {
      const [wrong, right] = answers.slice(5)
      test.strictSame([wrong?.status, right?.status], [429, 429])
      test.strictSame(right?.body, wrong?.body)
    })
  },
  async 'O-RL-004' (entry, test) {
    await guessing(
      entry, test, answers => { test.strictSame(answers.map(status), [401, 401, 401, 401, 200, 401, 429, 429, 429]) }
    )
  },
  async 'O-CFG-001' (_entry, test) {
    if (withoutVectors !== false) test.comment(`only a few published secrets are tried: ${withoutVectors}`)
    const words = withoutVectors === false
      ? readWords('wordlists/jwt-secrets-top2000.txt')
      : ['secret', 'your-256-bit-secret', 'changeme']
    const secrets = [...words, '', 'x'.repeat(31)]
    let refused = 0
    for (const keys of secrets) refused += Number(await rejects({ keys, issuer, audience }))
    test.equal(refused, secrets.length, `all ${secrets.length} secrets stop the boot`)
  },
  async 'O-CFG-002' (entry, test) {
    for (const algorithms of entry.requests[0]?.foreach ?? []) {
      const written = algorithms === 'RS256 as string'
        ? 'RS256'
        : typeof algorithms === 'string' ? JSON.parse(algorithms) as unknown : algorithms
      test.ok(
        await rejects({ keys: publicPem('rs1'), issuer, audience, algorithms: written }),
        `${JSON.stringify(written)} stops the boot`
      )
    }
    test.notOk(
      await rejects({ keys: publicPem('rs1'), issuer, audience, algorithms: ['RS256'] }), 'RS256 alone does not'
    )
  },
  async 'O-RTE-005' (_entry, test) {
    const app = Fastify()
    app.get('/early', { config: { auth: true } }, async () => ({}))
    await app.register(authPlugin, { schemes: { service: apiKey({ keys: { [liveKey]: { id: 'client' } } }) } })
    await test.rejects(async () => app.ready(), { code: 'AUTH_MISCONFIGURED', message: /\/early/ })
  },
  async 'O-SES-003' (_entry, test) {
    const target = await createTarget({ text: 'session' })
    const cookie = await login(target)
    const statuses = new Set<number>()
    for (let i = 0; i < cookie.length; i++) {
      const flipped = Buffer.from(cookie)
      flipped.writeUInt8(flipped.readUInt8(i) ^ 1, i)
      statuses.add(
        (
          await inject(
            target.app,
            { method: 'GET', path: '/me', headers: { cookie: `${cookieName}=${flipped.toString('latin1')}` } }
          )
        ).status
      )
    }
    test.strictSame([...statuses], [401], `each of ${cookie.length} flipped bytes is refused`)
    test.equal(
      (await inject(target.app, { method: 'GET', path: '/me', headers: { cookie: `${cookieName}=${cookie}` } })).status,
      200,
      'the cookie itself is not'
    )
    await target.app.close()
  },
  async 'O-KEY-005' (entry, test) {
    for (const transport of [inject, socket]) await attack(entry, transport, { text: entry.setup }, test)
    // the same with managed keys, on two instances over a store without notifications
    const { subscribe, ...store } = memoryStore()
    const instances = await Promise.all([0, 1].map(async () => {
      const app = Fastify()
      await app.register(
        authPlugin, { schemes: { service: apiKey({ managed: { prefix: 'acme', staleness: 5 } }) }, store }
      )
      app.get('/private', async () => ({}))
      await app.ready()
      return app
    }))
    const [here, there] = instances as [FastifyInstance, FastifyInstance]
    const { key, record } = await here.gatehouse.apiKeys.of({ realm: 'test', id: 'client' }).create({ name: 'k' })
    const ask = async (app: FastifyInstance): Promise<number> => (
      await inject(app, { method: 'GET', path: '/private', headers: { 'x-api-key': key } })
    ).status
    offset = 0
    test.strictSame([await ask(here), await ask(there)], [200, 200])
    await here.gatehouse.apiKeys.ofAnyOwner().revoke(record.id)
    test.equal(await ask(here), 401, 'at once where it was revoked')
    offset += 6_000
    test.equal(await ask(there), 401, 'elsewhere within the staleness')
    for (const app of instances) await app.close()
  },
  async 'O-STO-001' (entry, test) {
    // keys only: refresh tokens are in test/oauth
    const server = await redisServer('--appendonly', 'yes', '--appendfsync', 'always', '--dir', test.testdir())
    test.teardown(server.end)
    const one = await fleet(test, [{ store: { redis: `redis://127.0.0.1:${server.port}` }, limits: null, staleness }])
    const [port = 0] = one.ports
    const at = adminClient(one, port)
    const keys: Record<string, readonly Key[]> = { '<valid>': await at.keys(20), '<revoked>': await at.keys(20) }
    for (const key of keys['<revoked>'] ?? []) await at.revoke(key)
    const next = (n: number): Load => {
      const { method = '', path = '', headers = {} } = entry.requests[n % entry.requests.length] as Request
      const kind = headers['x-api-key'] ?? ''
      const { key, id } = keys[kind]?.[n % 20] as Key
      return { kind, subject: id, port, method: method as 'GET', path, headers: { 'x-api-key': key } }
    }
    const rate = entry.requests.reduce((sum, { load = '' }) => sum + Number.parseInt(load), 0)
    const expected = { '<valid>': { statuses: [200], returns: true }, '<revoked>': { statuses: [401], returns: false } }
    const course = { server, rate, healthy: 1, down: size({ test: 3, short: 10, full: 10 }), after: 1, expected, next }
    const observations = await outage(course)
    checkInvariants(test, course, observations)
    test.strictSame(one.faults(), [], 'no process ended')
    test.strictSame(await one.end(), [0])
  },
  async 'O-JWKS-001' (entry, test) {
    for (const transport of [inject, socket]) {
      const target = await createTarget({ text: entry.setup })
      const [request] = entry.requests as [Request]
      const { repeat = 0 } = request
      const calls = await Promise.all(Array.from({ length: Number(repeat) }, async (_, i) => {
        const numbered = JSON.parse(JSON.stringify(request).replaceAll('{i}', String(i))) as Request
        return callOf(numbered, undefined, target, new Map(), i)
      }))
      const began = performance.now()
      for (let sent = 0; sent < calls.length; sent += 50) {
        const answers = await Promise.all(calls.slice(sent, sent + 50).map(async call => transport(target.app, call)))
        test.ok(answers.every(answer => answer.status === 401), `${sent} and the next 50 are refused`)
      }
      // on a busy machine this may take longer than one cooldown of 30 seconds
      const cooldowns = Math.ceil((performance.now() - began) / 30_000)
      test.ok(target.fetches.count <= 1 + cooldowns, `${target.fetches.count} fetches`)
      test.equal(target.runs.count, 0)
      await target.app.close()
    }
  },
  async 'O-JWT-013' (entry, test) {
    let hits = 0
    const attacker = Fastify()
    attacker.get('/jwks.json', async () => { hits++; return { keys: [] } })
    await attacker.listen({ port: 0, host: '127.0.0.1' })
    const port = String((attacker.server.address() as { port: number }).port)
    const aimed = JSON.parse(JSON.stringify(entry).replaceAll('{evilPort}', port)) as Entry
    for (const transport of [inject, socket]) await attack(aimed, transport, { text: entry.setup }, test)
    test.equal(hits, 0, 'the key source of the attacker is never asked')
    await attacker.close()
  }
}

async function rejects (options: object): Promise<boolean> {
  const app = Fastify()
  try {
    await app.register(authPlugin, { schemes: { user: jwt(options as Parameters<typeof jwt>[0]) } })
    await app.ready()
    return false
  } catch (error) {
    return (error as { code?: string }).code === 'AUTH_MISCONFIGURED'
  } finally {
    await app.close()
  }
}

const entries = JSON.parse(readFileSync(new URL('catalogue-open.json', import.meta.url), 'utf8')) as Entry[]

t.test('the catalogue lists exactly the entries of this file', async test => {
  test.equal(entries.length, 104)
  test.comment(`test/oauth: ${entries.filter(entry => elsewhere.test(entry.id)).map(entry => entry.id).join(' ')}`)
  test.comment(`timing is measured in bench/: ${timed.join(' ')}`)
})

for (const entry of entries) {
  if (elsewhere.test(entry.id)) {
    t.test(`${entry.id} ${entry.title}`, { skip: 'in test/oauth' }, async () => {})
    continue
  }
  t.test(`${entry.id} ${entry.title}`, { skip: entry.id === 'O-STO-001' && await noRedisServer() }, async test => {
    const own = special[entry.id]
    if (own !== undefined) return own(entry, test)
    const overSocketOnly = entry.requests.some(request => request.transport === 'socket')
    for (const transport of overSocketOnly ? [socket] : [inject, socket]) {
      await attack(entry, transport, { text: entry.setup }, test)
    }
    if (entry.setup.includes('second run')) await attack(entry, inject, { text: entry.setup, jwkAsText: true }, test)
  })
}
