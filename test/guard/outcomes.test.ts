import { generateKeyPairSync, randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import { SignJWT } from 'jose'
import t, { type Test } from 'tap'
import { Guard } from '../../lib/guard/guard.js'
import { Responder } from '../../lib/guard/responder.js'
import gatehouse, {
  absent,
  apiKey,
  authenticated,
  crossSite,
  expired,
  foreign,
  invalid,
  jwt,
  limited,
  session,
  unavailable,
  type GatehouseOptions,
  type Principal,
  type Scheme,
  type SchemeFactory
} from '../../lib/index.js'
import { publicPolicy } from '../../lib/policy/policy.js'
import { parsePermissions } from '../../lib/policy/requirements.js'
import { createApplication, broken, handler, scripted } from '../fixtures/schemes.js'

const modes = ['required', 'optional', 'try'] as const
type Mode = typeof modes[number]

/** Values of the header of a scripted scheme, one for each outcome. */
const values = ['none', 'foreign', 'invalid', 'expired', 'unavailable', 'throw', 'ann'] as const
type Value = typeof values[number]

interface Expected {
  readonly status: number
  readonly code?: string
  readonly scheme?: string | null
  readonly error?: string | null
}

const stops: Readonly<Partial<Record<Value, Expected>>> = {
  invalid: { status: 401, code: 'AUTH_INVALID_CREDENTIALS' },
  expired: { status: 401, code: 'AUTH_TOKEN_EXPIRED' },
  unavailable: { status: 503, code: 'AUTH_UNAVAILABLE' },
  throw: { status: 500, code: 'AUTH_FAULT' }
}

/** Returns the expected result in a mode for an outcome without a principal. */
function inMode (mode: Mode, end: Expected | 'nobody'): Expected {
  if (end === 'nobody') {
    return mode === 'required' ? { status: 401, code: 'AUTH_REQUIRED' } : { status: 200, scheme: null, error: null }
  }
  return mode === 'try' && end.status === 401 ? { status: 200, scheme: null, error: end.code ?? null } : end
}

const unknown: Expected = { status: 401, code: 'AUTH_INVALID_CREDENTIALS' }

/** Evaluates the alternatives independently of the guard: in order, each with all its names. */
function expected (
  alternatives: readonly (readonly string[])[],
  sent: Readonly<Record<string, Value>>,
  mode: Mode
): Expected {
  let strange = false
  for (const all of alternatives) {
    const each = all.map(name => sent[name] ?? 'none')
    const stop = each.map(word => stops[word]).find(end => end !== undefined)
    if (stop !== undefined) return inMode(mode, stop)
    if (each.every(word => word === 'ann')) return { status: 200, scheme: all[0] ?? null, error: null }
    strange ||= each.includes('foreign')
  }
  return inMode(mode, strange ? unknown : 'nobody')
}

/** Creates an application whose routes, one for each mode, try the first scheme and then the second. */
async function inEveryMode (one: Scheme, two: Scheme = scripted('two')) {
  const { app, log } = await createApplication({ schemes: { one, two }, default: ['one', 'two'] })
  const route = handler()
  for (const mode of modes) app.get(`/${mode}`, { config: { auth: { mode } } }, route.handler)
  return { app, log, route }
}

const headersOf = (values: Readonly<Record<string, Value>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values)
      .filter(([, word]) => word !== 'none')
      .map(([name, word]) => [`x-${name}`, word])
  )

/** Sends every combination of outcomes in every mode, and reports how many responses were not as expected. */
async function matrix (
  t: Test,
  alternatives: readonly (readonly string[])[],
  asyncs: readonly string[]
): Promise<void> {
  const names = [...new Set(alternatives.flat())]
  const schemes = Object.fromEntries(names.map(name => [name, scripted(name, { async: asyncs.includes(name) })]))
  const { app } = await createApplication({ schemes, default: names[0] ?? '' }, { logger: false })
  const route = handler()
  const written = alternatives.map(all => all.length === 1 ? all[0] ?? '' : { all })
  for (const mode of modes) app.get(`/${mode}`, { config: { auth: { schemes: written, mode } } }, route.handler)
  const wrong: unknown[] = []
  const combine = (
    rest: readonly string[],
    chosen: Readonly<Record<string, Value>>
  ): Readonly<Record<string, Value>>[] => {
    const [name, ...others] = rest
    return name === undefined ? [chosen] : values.flatMap(word => combine(others, { ...chosen, [name]: word }))
  }
  for (const chosen of combine(names, {})) {
    for (const mode of modes) {
      const before = route.reached
      const answer = await app.inject({ url: `/${mode}`, headers: headersOf(chosen) })
      const end = expected(alternatives, chosen, mode)
      const body = answer.json() as { code?: string, scheme?: string | null, error?: string | null }
      const as = end.status === 200 ? body.scheme === end.scheme && body.error === end.error : body.code === end.code
      if (
        answer.statusCode !== end.status ||
        !as ||
        route.reached - before !== Number(end.status === 200) ||
        answer.body.includes('secret')
      ) { wrong.push({ chosen, mode, end, got: [answer.statusCode, body] }) }
    }
  }
  t.same(
    wrong,
    [],
    alternatives.map(all => all.join(' and ')).join(' or ') +
      (asyncs.length === 0 ? ', all synchronous' : `, ${asyncs.join(', ')} asynchronous`)
  )
}

t.test('any of: uses the first scheme in written order with a principal, and stops at a bad credential', async t => {
  for (const asyncs of [[], ['one'], ['two'], ['one', 'two']]) await matrix(t, [['one'], ['two']], asyncs)
})

t.test('all of: tries the next alternative if one is absent, and stops if one is invalid', async t => {
  for (const asyncs of [[], ['one'], ['two'], ['one', 'two']]) await matrix(t, [['one', 'two']], asyncs)
  for (const asyncs of [[], ['two'], ['one', 'three']]) await matrix(t, [['one', 'two'], ['three']], asyncs)
  await matrix(t, [['three'], ['one', 'two']], ['one'])
})

t.test('calls a scheme once per request, and no later scheme once one has a principal', async t => {
  for (const async of [false, true]) {
    const schemes = {
      one: scripted('one', { async }),
      two: scripted('two', { async }),
      three: scripted('three', { async })
    }
    const { app } = await createApplication({ schemes, default: ['one', { all: ['one', 'two'] }, 'two', 'three'] })
    const hook = app.gatehouse.guard({ schemes: ['two', 'three'] })
    app.get('/', { preHandler: hook }, handler().handler)
    const callsOf = async (headers: Record<string, string>) => {
      for (const scheme of Object.values(schemes)) scheme.calls = 0
      const { statusCode } = await app.inject({ url: '/', headers })
      return [statusCode, ...Object.values(schemes).map(scheme => scheme.calls)]
    }
    t.same(
      await callsOf({ 'x-two': 'ann', 'x-three': 'bob' }),
      [200, 1, 1, 0],
      'the guard of the hook asks nobody again'
    )
    t.same(
      await callsOf({ 'x-one': 'ann', 'x-two': 'invalid' }),
      [401, 1, 1, 0],
      'what the route did not ask, the hook does'
    )
    t.same(await callsOf({ 'x-three': 'ann' }), [200, 1, 1, 1])
    t.same(await callsOf({}), [401, 1, 1, 1])
  }
})

t.test('all of: makes the first named the acting principal, and never unites scopes', async t => {
  const { app } = await createApplication({
    schemes: { one: scripted('one'), two: scripted('two', { async: true }) },
    default: { schemes: { all: ['two', 'one'] } }
  })
  app.get('/', async request => ({
    ...request.auth,
    all: request.auth.all,
    allows: request.auth.allows({ scopes: 'a' })
  }))
  app.get('/a', { config: { auth: { scopes: 'a' } } }, handler().handler)
  const headers = { 'x-one': 'ann+a', 'x-two': 'bob+b' }
  const answer = (await app.inject({ url: '/', headers })).json()
  const bob = { id: 'bob+b', realm: 'two', scopes: ['b'], roles: [] }
  t.match(answer, {
    authenticated: true,
    scheme: 'two',
    principal: bob,
    allows: false,
    all: { one: { principal: { id: 'ann+a', realm: 'one' } }, two: { principal: bob } }
  })
  t.same(Object.keys(answer.all), ['two', 'one'])
  const refused = await app.inject({ url: '/a', headers })
  t.match([refused.statusCode, refused.json().code], [403, 'AUTH_ACCESS_DENIED'])
})

/** The reasons that are logged for some outcomes that break the contract. */
const reasons: Readonly<Record<string, string>> = {
  throw: "the scheme 'one' or its load function threw",
  reject: "the scheme 'one' or its load function threw",
  noId: "the principal in the outcome of the scheme 'one' must be an object with a non-empty string id. Got ",
  text: "the scheme 'one' returned no outcome",
  badDate: "the scheme 'one' returned an instant that is neither a valid Date nor null"
}

t.test(
  'answers a constant 500 in every mode, and logs the cause, if a scheme throws or breaks the contract',
  async t => {
    for (const async of [false, true]) {
      const { app, log, route } = await inEveryMode(scripted('one', { async }))
      for (const word of broken) {
        for (const mode of modes) {
          log.length = 0
          const answer = await app.inject({ url: `/${mode}`, headers: { 'x-one': word, 'x-two': 'ann' } })
          t.same(
            [answer.statusCode, answer.json()],
            [
              500,
              {
                statusCode: 500,
                code: 'AUTH_FAULT',
                error: 'Internal Server Error',
                message: 'Internal Server Error'
              }
            ],
            `${word}, ${mode}`
          )
          t.notOk('www-authenticate' in answer.headers)
          t.equal(answer.headers['cache-control'], 'no-store')
          const line = log.find(each => each.msg === 'authentication fault')
          t.match(line, { level: 50, auth: { code: 'AUTH_FAULT', scheme: String, reason: String } })
          if (word === 'throw' || word === 'reject') {
            t.match(line, { err: { message: 'Error', stack: /schemes\.ts/ } })
          }
          const reason = reasons[word]
          if (reason !== undefined) t.match(line, { auth: { reason } })
        }
      }
      t.equal(route.reached, 0)
    }
  }
)

t.test('refuses if a scheme returns a falsy value, and logs what to return instead', async t => {
  for (const async of [false, true]) {
    const { app, log, route } = await inEveryMode(scripted('one', { async }))
    for (const word of ['nothing', 'null', 'false', 'notValid']) {
      for (const mode of ['required', 'optional']) {
        const answer = await app.inject({ url: `/${mode}`, headers: { 'x-one': word, 'x-two': 'ann' } })
        t.same([answer.statusCode, answer.json().code], [401, 'AUTH_INVALID_CREDENTIALS'], `${word}, ${mode}`)
      }
      const { authenticated, error } = (
        await app.inject({ url: '/try', headers: { 'x-one': word, 'x-two': 'ann' } })
      ).json()
      t.same([authenticated, error], [false, 'AUTH_INVALID_CREDENTIALS'], word)
    }
    t.match(
      log.find(line => line.msg === 'request refused'),
      { auth: { reason: /^the scheme 'one' returned a falsy value instead of an outcome\. Return invalid/ } }
    )
    t.equal(route.reached, 4)
  }
})

t.test('answers a constant 500 if another member of a scheme throws', async t => {
  for (const async of [false, true]) {
    const answerOf = () => authenticated({ id: 'ann' }, { delegated: true })
    const scheme = scripted('one', { authenticate: async ? async () => answerOf() : answerOf })
    const { app, log } = await createApplication({ schemes: { one: scheme } })
    Object.defineProperty(scheme, 'delegated', { get () { throw new Error('secret') } })
    app.get('/', handler().handler)
    const answer = await app.inject({ url: '/', headers: { 'x-one': 'ann' } })
    t.match([answer.statusCode, answer.json()], [500, { code: 'AUTH_FAULT', message: 'Internal Server Error' }])
    t.notMatch(answer.body, /secret/)
    t.match(
      log.find(line => line.msg === 'authentication fault'),
      { err: { message: 'Error' }, auth: { reason: 'the guard failed' } }
    )
  }
  const { app } = await createApplication({
    schemes: {
      one: scripted('one', {
        refuse () {
          throw new Error('secret')
        }
      })
    }
  })
  app.get('/', handler().handler)
  const answer = await app.inject('/')
  t.match([answer.statusCode, answer.json().message], [500, 'Internal Server Error'])
})

t.test('answers 503 with Retry-After if a scheme is unavailable, in every mode', async t => {
  const later = { n: unavailable('down') as { retryAfter: unknown } }
  const scheme = scripted('one', { authenticate: () => later.n as ReturnType<typeof unavailable> })
  const { app, route } = await inEveryMode(scheme)
  for (const mode of modes) {
    for (const [retryAfter, shown] of [
      [5, '5'],
      [0.2, '1'],
      [0, '0'],
      [90, '90'],
      [undefined, '5'],
      [NaN, '5'],
      [-1, '5'],
      [Infinity, '5'],
      ['soon', '5']
    ] as const) {
      later.n = { ...unavailable('secret reason'), retryAfter }
      const answer = await app.inject({ url: `/${mode}`, headers: { 'x-two': 'ann' } })
      t.match(
        [answer.statusCode, answer.headers['retry-after'], answer.json().code],
        [503, shown, 'AUTH_UNAVAILABLE'],
        `${mode}, ${String(retryAfter)}`
      )
      t.notMatch(answer.body, /secret/)
    }
  }
  t.equal(route.reached, 0)
  t.equal(unavailable('down').retryAfter, 5)
})

t.test('stops in every mode if a credential was not checked, because of guesses or another site', async t => {
  for (const [outcome, status, code, retryAfter] of [
    [limited('secret reason', 6.5), 429, 'AUTH_RATE_LIMITED', '7'],
    [{ ...limited('secret reason', 6), retryAfter: NaN }, 429, 'AUTH_RATE_LIMITED', '5'],
    [crossSite('secret reason'), 403, 'AUTH_CROSS_SITE', undefined]
  ] as const) {
    const { app, route } = await inEveryMode(scripted('one', { authenticate: () => outcome }))
    for (const mode of modes) {
      const answer = await app.inject({ url: `/${mode}`, headers: { 'x-two': 'ann' } })
      t.same(
        [answer.statusCode, answer.json().code, answer.headers['retry-after'], answer.headers['www-authenticate']],
        [status, code, retryAfter, undefined],
        mode
      )
      t.notMatch(answer.body, /secret/)
    }
    t.equal(route.reached, 0)
  }
})

t.test('treats a credential that is foreign to all schemes as invalid, which mode try forgives', async t => {
  const { app, log } = await inEveryMode(scripted('one', { challenge: () => null }), scripted('two', { async: true }))
  const ask = async (mode: Mode) => app.inject({ url: `/${mode}`, headers: { 'x-two': 'foreign' } })
  for (const mode of ['required', 'optional'] as const) {
    t.match([(await ask(mode)).statusCode, (await ask(mode)).json().code], [401, 'AUTH_INVALID_CREDENTIALS'])
  }
  t.match(
    log.find(line => line.msg === 'request refused'),
    { auth: { scheme: 'two', reason: 'the credential belongs to no scheme of this route' } }
  )
  t.same((await ask('try')).json(), {
    authenticated: false,
    scheme: null,
    id: null,
    error: 'AUTH_INVALID_CREDENTIALS'
  })
})

t.test(
  'freezes and completes a principal, with the scheme as its default realm, and keeps the input unchanged',
  async t => {
    const given: Record<string, unknown>[] = [
      { id: 'ann' },
      { id: 'ann', realm: 'https://id.test', scopes: ['a'], roles: ['r'], team: 7 },
      Object.freeze({ id: 'ann', realm: 'x', scopes: ['a'], roles: [] }),
      Object.freeze({ id: 'ann', realm: 'x', scopes: Object.freeze(['a']), roles: Object.freeze([]), more: 1 })
    ]
    let turn = 0
    const { app } = await createApplication({
      schemes: { one: scripted('one', { authenticate: () => authenticated(given[turn] as unknown as Principal) }) }
    })
    const principals: Principal[] = []
    app.get('/', async request => {
      if (request.principal !== null) principals.push(request.principal)
    })
    const before = JSON.stringify(given)
    for (turn = 0; turn < given.length; turn++) t.equal((await app.inject('/')).statusCode, 200)
    t.same(principals, [
      { id: 'ann', realm: 'one', scopes: [], roles: [] },
      { id: 'ann', realm: 'https://id.test', scopes: ['a'], roles: ['r'], team: 7 },
      { id: 'ann', realm: 'x', scopes: ['a'], roles: [] },
      { id: 'ann', realm: 'x', scopes: ['a'], roles: [], more: 1 }
    ])
    for (const principal of principals) {
      t.ok(Object.isFrozen(principal) && Object.isFrozen(principal.scopes) && Object.isFrozen(principal.roles))
    }
    t.equal(principals[3], given[3], 'one that is frozen and complete is taken as it is')
    t.equal(JSON.stringify(given), before)
    t.notOk(
      Object.isFrozen(given[1]) || Object.isFrozen(given[1]?.['scopes']) || Object.isFrozen(given[2]?.['scopes'])
    )
    for (const wrong of [
      { id: '' },
      { id: 7 },
      { id: 'a', realm: '' },
      { id: 'a', realm: 7 },
      { id: 'a', roles: [1] },
      Object.freeze({ id: '', realm: 'x', scopes: Object.freeze([]), roles: Object.freeze([]) }),
      [],
      'ann'
    ]) {
      given[0] = wrong as unknown as Record<string, unknown>
      turn = 0
      t.equal((await app.inject('/')).statusCode, 500, JSON.stringify(wrong))
    }
  }
)

t.test('load: adds data, answers 401 on null and 500 if it throws, and cannot change the identity', async t => {
  const answers: Record<string, () => unknown> = {
    more: () => ({ scopes: ['a'], roles: ['clerk'], team: 7 }),
    other: () => ({ id: 'somebody', realm: 'elsewhere', scopes: ['a'] }),
    less: () => ({ scopes: undefined }),
    promise: async () => ({ roles: ['late'] }),
    thenable: () => ({ then: (done: (value: unknown) => void) => { done({ roles: ['late'] }) } }),
    null: () => null,
    nobody: async () => null,
    undefined: () => undefined,
    later: async () => undefined,
    list: () => [],
    text: () => 'ann',
    bad: () => ({ roles: 'admin' }),
    throw: () => { throw new Error('secret cause') },
    reject: async () => { throw new Error('secret cause') }
  }
  const named = (request: { headers: Record<string, unknown> }) => {
    const name = request.headers['x-one'] ?? request.headers['x-own']
    return typeof name === 'string' ? authenticated({ id: name, scopes: ['given'], name: 'Ann' }) : absent
  }
  const calls: unknown[] = []
  const load: GatehouseOptions['load'] = (principal, { scheme, request }) => {
    calls.push([principal.id, scheme, request.url])
    return answers[principal.id]?.() as null
  }
  for (const async of [false, true]) {
    const authenticate = (request: Parameters<Scheme['authenticate']>[0]) =>
      async ? Promise.resolve(named(request)) : named(request)
    const one = scripted('one', { authenticate })
    const own = scripted('own', {
      authenticate: request => ('x-own' in request.headers ? authenticate(request) : absent),
      load: () => ({ id: 'x', roles: ['own'] })
    })
    const { app, log } = await createApplication({ schemes: { own, one }, default: ['own', 'one'], load })
    for (const mode of modes) {
      app.get(`/${mode}`, { config: { auth: { mode } } }, async request => ({
        principal: request.principal,
        error: request.auth.error?.code
      }))
    }
    const ask = async (headers: Record<string, string>, mode: Mode = 'required') => {
      const answer = await app.inject({ url: `/${mode}`, headers })
      return { status: answer.statusCode, ...answer.json() as { code?: string, principal?: unknown, error?: string } }
    }
    const base = { realm: 'one', scopes: ['given'], roles: [], name: 'Ann' }
    t.same((await ask({ 'x-one': 'more' })).principal, {
      ...base,
      id: 'more',
      scopes: ['a'],
      roles: ['clerk'],
      team: 7
    })
    t.same(
      (await ask({ 'x-one': 'other' })).principal,
      { ...base, id: 'other', scopes: ['a'] },
      'realm and id cannot be changed'
    )
    t.same((await ask({ 'x-one': 'less' })).principal, { ...base, id: 'less', scopes: [] })
    t.same((await ask({ 'x-one': 'promise' })).principal, { ...base, id: 'promise', roles: ['late'] })
    t.same((await ask({ 'x-one': 'thenable' })).principal, { ...base, id: 'thenable', roles: ['late'] })
    t.same(
      (await ask({ 'x-own': 'more' })).principal,
      { ...base, realm: 'own', id: 'more', roles: ['own'] },
      "a scheme's own load is asked instead of the plugin's"
    )
    for (const name of ['null', 'nobody', 'undefined', 'later']) {
      t.match(await ask({ 'x-one': name }), { status: 401, code: 'AUTH_INVALID_CREDENTIALS' })
      t.match(await ask({ 'x-one': name }, 'optional'), { status: 401, code: 'AUTH_INVALID_CREDENTIALS' })
      t.match(await ask({ 'x-one': name }, 'try'), { status: 200, principal: null, error: 'AUTH_INVALID_CREDENTIALS' })
    }
    for (const name of ['list', 'text', 'bad', 'throw', 'reject']) {
      for (const mode of modes) {
        log.length = 0
        t.match(
          await ask({ 'x-one': name }, mode),
          { status: 500, code: 'AUTH_FAULT', message: 'Internal Server Error' },
          `${name}, ${mode}`
        )
        t.match(
          log.find(line => line.msg === 'authentication fault'),
          {
            err: name === 'throw' || name === 'reject' ? { message: 'Error' } : {},
            auth: { reason: /load|list of strings/ }
          }
        )
      }
    }
  }
  t.same(calls[0], ['more', 'one', '/required'])
})

t.test(
  'lets two schemes share one source: JWTs of two issuers, and JWTs beside API keys, in either order',
  async t => {
    const secret = { a: randomBytes(32), b: randomBytes(32) }
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const token = async (issuer: string, key: Parameters<SignJWT['sign']>[0], alg: string, exp = '5m') =>
      new SignJWT({ scope: 'a' })
        .setProtectedHeader({ alg, typ: 'JWT' })
        .setIssuer(issuer)
        .setAudience('api')
        .setSubject(`user of ${issuer}`)
        .setIssuedAt(Math.floor(Date.now() / 1000) - 600)
        .setExpirationTime(exp)
        .sign(key)
    const of = (issuer: string, keys: Buffer | typeof publicKey) => jwt({ issuer, audience: 'api', keys })
    const key = randomBytes(16).toString('hex')
    const prefixed = `acme_${randomBytes(24).toString('base64url')}`
    const schemes = {
      a: of('https://a.test', secret.a),
      b: of('https://b.test', publicKey),
      plain: apiKey({ from: 'bearer', keys: { [key]: { id: 'plain key' } } }),
      acme: apiKey({ from: 'bearer', prefix: 'acme_', keys: { [prefixed]: { id: 'acme key' } } })
    }
    const { app } = await createApplication({ schemes, default: 'a' })
    const orders = [
      ['a', 'b', 'acme', 'plain'],
      ['acme', 'plain', 'b', 'a'],
      ['b', 'acme', 'a', 'plain']
    ]
    const route = handler()
    orders.forEach((order, i) => {
      app.get(`/${i}`, { config: { auth: { schemes: order } } }, route.handler)
    })
    const good = {
      a: [await token('https://a.test', secret.a, 'HS256'), 'user of https://a.test'],
      b: [await token('https://b.test', privateKey, 'EdDSA'), 'user of https://b.test'],
      plain: [key, 'plain key'],
      acme: [prefixed, 'acme key']
    } as const
    const bad = {
      'another issuer': await token('https://c.test', secret.a, 'HS256'),
      'the key of the other issuer': await token('https://b.test', secret.a, 'HS256'),
      'an unknown key': randomBytes(16).toString('hex'),
      'an unknown key with the prefix': `acme_${randomBytes(24).toString('base64url')}`,
      'a forged signature': `${good.a[0].slice(0, -4)}AAAA`,
      'no credential at all': '.'
    }
    for (const [i, order] of orders.entries()) {
      const ask = async (bearer: string) => {
        const answer = await app.inject({ url: `/${i}`, headers: { authorization: `Bearer ${bearer}` } })
        return {
          status: answer.statusCode,
          challenge: answer.headers['www-authenticate'],
          ...(answer.json() as object)
        }
      }
      for (const [scheme, [bearer, id]] of Object.entries(good)) {
        t.match(await ask(bearer), { status: 200, scheme, id }, `${scheme} among ${order.join()}`)
      }
      for (const [what, bearer] of Object.entries(bad)) {
        t.match(
          await ask(bearer),
          { status: 401, code: 'AUTH_INVALID_CREDENTIALS', challenge: /^Bearer realm="\w+", error="invalid_token"/ },
          `${what} among ${order.join()}`
        )
      }
      t.match(await ask(await token('https://a.test', secret.a, 'HS256', '-1m')), {
        status: 401,
        code: 'AUTH_TOKEN_EXPIRED',
        challenge: /^Bearer realm="a", error="invalid_token"/
      })
    }
    t.equal(route.reached, orders.length * 4)
  }
)

t.test('uses the schemes of its own registration, whatever their names and order', async t => {
  const { app } = await createApplication({
    schemes: { user: scripted('outer') },
    default: { schemes: 'user', mode: 'optional' }
  })
  const hooks: Array<ReturnType<typeof app.gatehouse.guard>> = []
  const inner = await createApplication({ schemes: { user: scripted('inner') } })
  hooks.push(inner.app.gatehouse.guard('user'))
  app.get('/', { preHandler: hooks }, handler().handler)
  t.equal((await app.inject({ url: '/', headers: { 'x-outer': 'ann' } })).statusCode, 401)
  t.match((await app.inject({ url: '/', headers: { 'x-outer': 'ann', 'x-inner': 'bob' } })).json(), { id: 'bob' })
})

t.test('fails for a principal that a wrapper put into the outcome of a built-in scheme', async t => {
  const key = randomBytes(32).toString('base64url')
  /** Wraps a scheme so that its principal has no id. */
  const careless = (factory: SchemeFactory): SchemeFactory => async (...args) => {
    const made = await factory(...args)
    const scheme = 'scheme' in made ? made.scheme : made
    const authenticate: Scheme['authenticate'] = async request => {
      const outcome = await scheme.authenticate(request)
      return outcome.kind === 'authenticated' ? Object.assign(outcome, { principal: { roles: ['admin'] } }) : outcome
    }
    const wrapped = { ...scheme, authenticate }
    return 'scheme' in made ? { scheme: wrapped, features: made.features } : wrapped
  }
  const app = Fastify()
  await app.register(gatehouse, {
    schemes: {
      service: careless(apiKey({ keys: { [key]: { id: 'shop' } } })),
      web: careless(session({ secret: randomBytes(32).toString('base64url') }))
    },
    default: ['service', 'web']
  })
  app.post('/login', { config: { auth: false } }, async (_request, reply) => { await reply.login({ id: 'ann' }) })
  app.get('/', { config: { auth: { roles: 'admin' } } }, async () => 'in')
  const login = await app.inject({ method: 'POST', url: '/login' })
  const cookie = String(login.headers['set-cookie']).split(';')[0] ?? ''
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode, 500)
  t.equal((await app.inject({ url: '/', headers: { cookie } })).statusCode, 500)
})

t.test('refuses a credential that a scheme accepts after its expiry, in every source', async t => {
  const own: Scheme = {
    openapi: { type: 'apiKey', in: 'header', name: 'x-own' },
    authenticate: () => authenticated({ id: 'ann' }, { expiresAt: new Date(Date.now() - 1) })
  }
  const { app } = await createApplication({ schemes: { own }, load: () => { throw new Error('never asked') } })
  const principals: unknown[] = []
  app.addHook('preValidation', async request => { principals.push(request.principal) })
  app.get('/route', handler().handler)
  app.get('/guard', { config: { auth: false }, preHandler: app.gatehouse.guard('own') }, handler().handler)
  app.get('/message', { config: { auth: false } }, async request =>
    app.gatehouse.authenticate('own' as never, 'key', { request }))
  for (const url of ['/route', '/guard']) {
    t.match((await app.inject(url)).json(), { statusCode: 401, code: 'AUTH_TOKEN_EXPIRED' }, url)
  }
  t.match((await app.inject('/message')).json(), { kind: 'invalid', expired: true })
  t.same(principals.filter(each => each != null), [])
})

t.test('takes any value but false for a restriction of a custom scheme', async t => {
  const own = (more: object, details: object): Scheme => ({
    openapi: { type: 'apiKey', in: 'header', name: 'x-own' },
    authenticate: () => authenticated({ id: 'ann' }, details),
    ...more
  })
  for (const flag of [true, 1, 'yes', {}, false, null, undefined]) {
    const restricts = Boolean(flag)
    const { app } = await createApplication({
      schemes: {
        ambient: own({ ambient: flag }, {}),
        delegated: own({}, { delegated: flag }),
        ownerless: own({ ownerUnknown: flag }, {})
      },
      default: 'ambient'
    })
    const names = ['ambient', 'delegated'] as const
    for (const name of names) app.post(`/${name}`, { config: { auth: name } }, handler().handler)
    const auth = { schemes: 'ownerless', roles: { none: ['suspended'] } } as const
    const declare = (): unknown => app.get('/ownerless', { config: { auth } }, handler().handler)
    if (restricts) t.throws(declare, /does not know the owners/)
    else t.doesNotThrow(declare)
    for (const name of names) {
      const answer = await app.inject({ method: 'POST', url: `/${name}`, headers: { origin: 'https://evil.test' } })
      t.equal(answer.statusCode, restricts ? 403 : 200, `${name}: ${String(flag)}`)
    }
  }
})

t.test('lets a delegated credential use only entries of anyOf that require a scope', async t => {
  const { app } = await createApplication({
    schemes: {
      one: scripted('one', {
        authenticate: async ({ headers: { 'x-scope': scope } }) => authenticated(
          { id: 'ann', roles: ['clerk'], ...typeof scope === 'string' ? { scopes: [scope] } : {} }, { delegated: true }
        )
      })
    }
  })
  const auth = { anyOf: [{ scopes: 'orders:read' }, { roles: 'clerk' }] } as const
  app.get('/', { config: { auth } }, handler().handler)
  t.equal((await app.inject('/')).statusCode, 403, 'the role of the owner is not enough')
  t.equal((await app.inject({ url: '/', headers: { 'x-scope': 'orders:write' } })).statusCode, 403)
  t.equal((await app.inject({ url: '/', headers: { 'x-scope': 'orders:read' } })).statusCode, 200)
})

t.test('creates frozen outcomes with the kit', async t => {
  t.same(
    [absent, foreign, invalid('why'), expired('why')],
    [
      { kind: 'absent' },
      { kind: 'foreign' },
      { kind: 'invalid', detail: 'why', expired: false },
      { kind: 'invalid', detail: 'why', expired: true }
    ]
  )
  t.ok(Object.isFrozen(absent) && Object.isFrozen(foreign))
  t.match(authenticated({ id: 'ann' }), {
    kind: 'authenticated',
    principal: { id: 'ann' },
    credential: null,
    authenticatedAt: null,
    expiresAt: null
  })
  t.same(
    [limited('why', 7), crossSite('why')],
    [
      { kind: 'limited', detail: 'why', retryAfter: 7 },
      { kind: 'cross-site', detail: 'why' }
    ]
  )
})

t.test('lets nobody in by an alternative without a scheme, which no declaration can have', async t => {
  const permissions = parsePermissions(undefined, undefined)
  const responder = new Responder('fastify')
  const guard = new Guard({ permissions, origins: new Set(), responder, countRequest: async () => null })
  for (const [access, statusCode] of [['required', 401], ['optional', 200], ['try', 200]] as const) {
    const app = Fastify()
    const policy = { ...publicPolicy(''), access, alternatives: [[]] }
    app.get('/', { onRequest: guard.hook(policy) }, async () => 'in')
    t.equal((await app.inject('/')).statusCode, statusCode, access)
    await app.close()
  }
})
