import { inspect } from 'node:util'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Test } from 'tap'
import { writeChallenges } from '../../lib/guard/challenge.js'
import type { AuthFailure, Outcome, Principal, Scheme, SchemeFactory } from '../../lib/index.js'
import { readChallenges } from '../fixtures/challenges.js'
import { application, handler, listen, make, send } from '../fixtures/schemes.js'

/** A credential on its way: what a request has of it. */
export interface Sent {
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string>>
}

/** One scheme, with what the contract needs to know of it. Every good credential is that of the principal `ann`. */
export interface Subject {
  readonly definition: SchemeFactory | Scheme
  /** The credentials that are good, by name. `login` gives the cookie of a scheme that keeps sessions. */
  good (login: () => Promise<string>): Promise<Readonly<Record<string, Sent>>>
  /** Its own, and bad. */
  readonly bad: Readonly<Record<string, Sent>>
  /** In its place, and not its own. */
  readonly foreign: Readonly<Record<string, Sent>>
  /** Good once. */
  readonly expired?: Readonly<Record<string, Sent>>
  /** Whether it answers without a promise. */
  readonly sync: boolean
  /** Carries any text in the place of the credential. */
  carry (text: string): Sent
  /** The lines of a header in which one credential stands twice; none where the place has no lines. */
  twice (sent: Sent): ReadonlyArray<readonly string[]>
  /** Every 401 has a challenge of this HTTP authentication scheme; `Cookie` is written by the guard. */
  readonly challenge: string
  readonly ambient: boolean
}

const modes = ['required', 'optional', 'try'] as const
const kinds = ['authenticated', 'absent', 'foreign', 'invalid', 'unavailable']
const urlOf = (path: string, { query = {} }: Sent): string => `${path}?${new URLSearchParams(query).toString()}`
const request = (sent: Sent, path = '/') => ({ url: urlOf(path, sent), headers: { ...sent.headers } })

/** Requests that carry nothing of any scheme, or something of a scheme that nobody here has. */
const strangers: Readonly<Record<string, Sent>> = {
  nothing: {},
  'another Authorization scheme': { headers: { authorization: 'Digest username="ann"' } },
  'other headers, cookies and parameters': {
    headers: { 'x-other': 'ann', cookie: 'other=ann; x=y' }, query: { other: 'ann' }
  }
}

/** The contract that every scheme keeps (design §5). */
export function schemeContract (t: Test, name: string, subject: Subject): void {
  t.test(`${name} keeps the contract of a scheme`, async t => {
    t.test(
      'says authenticated, absent, foreign or invalid as the credential is, at once where nothing is awaited',
      t => outcomes(t, subject)
    )
    t.test('answers hostile input with an outcome, never a throw and never a principal', t => hostile(t, subject))
    t.test('writes challenges by the grammar, without an error where nothing was sent and without a reason ever', t =>
      challenges(t, subject)
    )
    t.test('describes itself as OpenAPI does', t => description(t, subject))
    t.test('serves two applications by one definition', t => twoApplications(t, subject))
    t.test('answers in every mode, by GET and by HEAD, and leaves no credential in the log', t => everyMode(t, subject))
    t.test('refuses a credential that was sent twice', t => duplicates(t, subject))
  })
}

interface Answer { readonly sync: boolean, readonly outcome: Outcome<Principal> }

/** Asks the scheme itself, in an application that has no plugin. */
async function bare ({ definition }: Subject, name = 'it') {
  const app = Fastify() as unknown as FastifyInstance
  const { scheme, features } =
    typeof definition === 'function' ? await make(definition, app, name) : { scheme: definition, features: {} }
  const answers: Answer[] = []
  app.get('/', async (request: FastifyRequest) => {
    const outcome = scheme.authenticate(request)
    answers.push({ sync: !(outcome instanceof Promise), outcome: await outcome })
    return {}
  })
  app.post('/login', async (request, reply) => {
    await features.sessions?.login(request, reply, { id: 'ann' }, {})
    return {}
  })
  const ask = async (sent: Sent): Promise<Answer> => {
    answers.length = 0
    const { statusCode, body } = await app.inject(request(sent))
    const [answer] = answers
    if (statusCode !== 200 || answer === undefined) throw new Error(`authenticate threw: ${body}`)
    return answer
  }
  return { app, scheme, features, ask, login: loginOf(app) }
}

function loginOf (app: FastifyInstance): () => Promise<string> {
  return async () =>
    String((await app.inject({ method: 'POST', url: '/login' })).headers['set-cookie']).split(';')[0] ?? ''
}

async function outcomes (t: Test, subject: Subject): Promise<void> {
  const { ask, login } = await bare(subject)
  for (const [what, sent] of Object.entries(await subject.good(login))) {
    const { sync, outcome } = await ask(sent)
    t.equal(outcome.kind, 'authenticated', what)
    t.equal(sync, subject.sync, `${what} is answered ${subject.sync ? 'at once' : 'later'}`)
    if (outcome.kind !== 'authenticated') continue
    const { principal, authenticatedAt, expiresAt } = outcome
    t.match(principal, { id: 'ann', realm: /./, scopes: Array, roles: Array })
    t.ok(
      Object.isFrozen(principal) && Object.isFrozen(principal.scopes) && Object.isFrozen(principal.roles),
      'the principal is frozen'
    )
    for (const instant of [authenticatedAt, expiresAt]) t.ok(instant === null || instant instanceof Date)
    t.not((await ask(sent)).outcome, undefined, 'and it can be asked again')
  }
  const expect = async (
    list: Readonly<Record<string, Sent>> | undefined,
    kind: string,
    expired?: boolean
  ): Promise<void> => {
    for (const [what, sent] of Object.entries(list ?? {})) {
      const { sync, outcome } = await ask(sent)
      t.equal(outcome.kind, kind, `${what} is ${kind}`)
      if (kind === 'absent' || kind === 'foreign' || subject.sync) t.ok(sync, 'at once')
      if (outcome.kind === 'invalid') t.match(outcome, { expired, detail: /./ })
    }
  }
  await expect(strangers, 'absent')
  await expect(subject.foreign, 'foreign')
  await expect(subject.bad, 'invalid', false)
  await expect(subject.expired, 'invalid', true)
}

async function hostile (t: Test, subject: Subject): Promise<void> {
  const { ask } = await bare(subject)
  const seen = new Set<string>()
  const probe = async (text: string): Promise<void> => {
    const { outcome } = await ask(subject.carry(text))
    if (!kinds.includes(outcome.kind) || outcome.kind === 'authenticated') {
      throw new Error(`${inspect(text)}: ${outcome.kind}`)
    }
    if (outcome.kind === 'invalid' && text.length > 8 && outcome.detail.includes(text)) {
      throw new Error(`the detail holds the credential: ${outcome.detail}`)
    }
    seen.add(outcome.kind)
  }
  const known = [
    '',
    ' ',
    '=',
    '====',
    '.',
    '..',
    'a.b.c',
    'e30.e30.e30',
    'eyJhbGciOiJub25lIn0.e30.',
    '__proto__',
    'constructor',
    'undefined',
    'null',
    '[object Object]',
    'Og==',
    'OjpvOg==',
    '/w==',
    'a'.repeat(9000),
    '.'.repeat(9000),
    '%00',
    '%ff',
    'é',
    '{"a":1}',
    '"quoted"',
    'a,b',
    'a b'
  ]
  for (const text of known) await probe(text)
  const visible = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map(code => String.fromCharCode(code)),
    maxLength: 60
  })
  const latin1 = fc.string({
    unit: fc.integer({ min: 0x80, max: 0xff }).map(code => String.fromCharCode(code)),
    maxLength: 20
  })
  const base64 = fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes).toString('base64'))
  const segments = fc
    .array(
      fc.uint8Array({ maxLength: 20 }).map(bytes => Buffer.from(bytes).toString('base64url')),
      { minLength: 1, maxLength: 5 }
    )
    .map(list => list.join('.'))
  await fc.assert(fc.asyncProperty(fc.oneof(visible, latin1, base64, segments), probe), { numRuns: 300 })
  t.ok(seen.size > 0 && !seen.has('authenticated') && !seen.has('unavailable'))
}

const codes = [
  'AUTH_REQUIRED',
  'AUTH_INVALID_CREDENTIALS',
  'AUTH_TOKEN_EXPIRED',
  'AUTH_STEP_UP_REQUIRED',
  'AUTH_ACCESS_DENIED'
] as const

async function challenges (t: Test, subject: Subject): Promise<void> {
  const { scheme } = await bare(subject, 'it-is')
  for (const code of codes) {
    for (const scopes of [[], ['a', 'b']]) {
      const failure: AuthFailure = {
        code,
        scheme: code === 'AUTH_REQUIRED' ? null : 'it-is',
        detail: 'secret reason',
        scopes,
        maxAge: 60,
        retryAfter: null
      }
      const challenge = scheme.challenge?.(failure) ?? null
      if (challenge === null) {
        t.ok(subject.challenge === 'Cookie' || code === 'AUTH_ACCESS_DENIED', `${code}: no challenge of its own`)
        continue
      }
      const [read] = readChallenges(writeChallenges([challenge].flat()))
      t.equal(read?.scheme, subject.challenge.toLowerCase(), code)
      t.equal('error' in (read?.params ?? {}) && code === 'AUTH_REQUIRED', false)
      t.notMatch(JSON.stringify(read), /secret/)
    }
  }
}

async function description (t: Test, subject: Subject): Promise<void> {
  const { scheme } = await bare(subject)
  const { openapi } = scheme
  t.same(JSON.parse(JSON.stringify(openapi)), openapi, 'as JSON')
  const members = {
    http: { scheme: /^[a-z]+$/ },
    apiKey: { in: /^(?:header|query|cookie)$/, name: /./ },
    openIdConnect: { openIdConnectUrl: /^https:/ },
    oauth2: { flows: Object },
    mutualTLS: {}
  }
  t.match(openapi, members[openapi.type])
  t.equal(
    scheme.ambient ?? false,
    subject.ambient,
    subject.ambient ? 'browsers send it by themselves' : 'no browser sends it by itself'
  )
}

async function twoApplications (t: Test, subject: Subject): Promise<void> {
  const first = await bare(subject, 'first')
  const second = await bare(subject, 'second')
  if (typeof subject.definition === 'function') t.not(first.scheme, second.scheme, 'each has a scheme of its own')
  for (const { ask, login } of [first, second, first]) {
    for (const sent of Object.values(await subject.good(login))) {
      t.match((await ask(sent)).outcome, { kind: 'authenticated', principal: { id: 'ann' } })
    }
  }
  await first.app.close()
  for (const sent of Object.values(await subject.good(second.login))) {
    t.equal((await second.ask(sent)).outcome.kind, 'authenticated', 'the end of one is nothing to the other')
  }
}

/** The scheme behind the guard, with a route for each mode. */
async function guarded ({ definition }: Subject) {
  const { app, log } = await application({ schemes: { it: definition }, default: 'it' })
  const route = handler()
  for (const mode of modes) app.get(`/${mode}`, { config: { auth: { mode } } }, route.handler)
  if (app.gatehouse.sessions.schemes.length > 0) {
    app.post('/login', { config: { auth: { public: 'logs people in' } } }, async (_request, reply) => {
      await reply.login({ id: 'ann' })
      return {}
    })
  }
  return { app, log, route, login: loginOf(app) }
}

/** The texts of a credential that must not be found anywhere. */
function secretsOf ({ headers = {}, query = {} }: Sent): string[] {
  return [...Object.values(headers), ...Object.values(query)]
    .map(value => value.replace(/^(?:Bearer|Basic) |^[\w-]+=(?=.{20})/i, ''))
    .filter(value => value.length > 12)
}

async function everyMode (t: Test, subject: Subject): Promise<void> {
  const { app, log, route, login } = await guarded(subject)
  const ask = async (mode: string, sent: Sent) => {
    const before = route.reached
    const { url, headers } = request(sent, `/${mode}`)
    const answer = await app.inject({ url, headers })
    const head = await app.inject({ method: 'HEAD', url, headers })
    t.equal(head.statusCode, answer.statusCode, 'HEAD is answered as GET is')
    t.equal(head.body, '')
    t.equal(head.headers['www-authenticate'], answer.headers['www-authenticate'])
    return {
      status: answer.statusCode,
      ran: route.reached - before,
      challenge: answer.headers['www-authenticate'],
      ...(answer.json() as { code?: string; id?: string; error?: string })
    }
  }
  const sentGood = await subject.good(login)
  for (const mode of modes) {
    for (const [what, sent] of Object.entries(sentGood)) {
      t.match(
        await ask(mode, sent),
        { status: 200, ran: 2, id: 'ann', authenticated: true, scheme: 'it', error: null, challenge: undefined },
        `${what}, ${mode}`
      )
    }
    for (const [what, sent] of Object.entries(strangers)) {
      const expected =
        mode === 'required'
          ? { status: 401, ran: 0, code: 'AUTH_REQUIRED', challenge: new RegExp(`^${subject.challenge} realm=`) }
          : { status: 200, ran: 2, id: null, error: null, challenge: undefined }
      t.match(await ask(mode, sent), expected, `${what}, ${mode}`)
    }
    const refused = async (list: Readonly<Record<string, Sent>>, code: string): Promise<void> => {
      for (const [what, sent] of Object.entries(list)) {
        t.match(
          await ask(mode, sent),
          mode === 'try'
            ? { status: 200, ran: 2, id: null, error: code, challenge: undefined }
            : { status: 401, ran: 0, code, challenge: new RegExp(`^${subject.challenge} realm=`) },
          `${what}, ${mode}`
        )
      }
    }
    await refused(subject.bad, 'AUTH_INVALID_CREDENTIALS')
    await refused(subject.foreign, 'AUTH_INVALID_CREDENTIALS')
    await refused(subject.expired ?? {}, 'AUTH_TOKEN_EXPIRED')
  }
  const own = JSON.stringify(log.filter(line => line.auth !== undefined))
  for (const sent of [...Object.values(sentGood), ...Object.values(subject.bad)]) {
    for (const secret of secretsOf(sent)) t.notOk(own.includes(secret), 'the log holds no credential')
  }
}

/** Over a socket: Node keeps the first line of some headers and joins others before anybody sees them. */
async function duplicates (t: Test, subject: Subject): Promise<void> {
  const { app, route, login } = await guarded(subject)
  const port = await listen(t, app)
  for (const [what, sent] of Object.entries(await subject.good(login))) {
    const once = Object.entries(sent.headers ?? {}).map(([name, value]) => `${name}: ${value}`)
    t.equal((await send(port, 'GET', urlOf('/required', sent), once)).status, 200, `${what}, once`)
    const before = route.reached
    for (const lines of subject.twice(sent)) {
      for (const mode of ['required', 'optional']) {
        const answer = await send(port, 'GET', urlOf(`/${mode}`, sent), lines)
        t.match(
          [answer.status, JSON.parse(answer.body).code],
          [401, 'AUTH_INVALID_CREDENTIALS'],
          `${what}: ${lines.map(line => line.slice(0, 24)).join(' | ')}, ${mode}`
        )
      }
    }
    if (sent.query !== undefined) {
      const { url } = request(sent, '/required')
      t.equal((await send(port, 'GET', `${url}&${url.split('?')[1] ?? ''}`)).status, 401, `${what}: a parameter twice`)
    }
    t.equal(route.reached, before)
  }
}
