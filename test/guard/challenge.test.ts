import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { writeChallenges } from '../../lib/guard/challenge.js'
import { apiKey, basic, type Challenge, type Scheme } from '../../lib/index.js'
import { readChallenges } from '../fixtures/challenges.js'
import { createApplication, handler, scripted, send, listen } from '../fixtures/schemes.js'

const challenger = (name: string, challenge: Challenge | null): Scheme => scripted(name, { challenge: () => challenge })

t.test('the test parser reads the example of RFC 9110, section 11.6.1', async t => {
  t.same(readChallenges('Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple" '), [
    { scheme: 'newauth', params: { realm: 'apps', type: '1', title: 'Login to "apps"' } },
    { scheme: 'basic', params: { realm: 'simple' } }
  ])
})

t.test('quotes and escapes challenges as in RFC 9110, with one writer for all schemes', async t => {
  const quoted = { scheme: 'Bearer', params: { realm: 'a "b" \\ c', max_age: 60 } }
  t.equal(writeChallenges([quoted]), 'Bearer realm="a \\"b\\" \\\\ c", max_age=60')
  const sparse = [
    { scheme: 'Bearer', params: { realm: 'x', scope: undefined, 'no token': undefined } },
    { scheme: 'Basic', params: { realm: undefined } }
  ]
  t.equal(writeChallenges(sparse), 'Basic, Bearer realm="x"', 'undefined parameters are left out')
  const empty = { scheme: 'Negotiate', params: {} }
  t.equal(writeChallenges([empty, { scheme: 'Bearer', params: { realm: 'x' } }]), 'Negotiate, Bearer realm="x"')
  t.equal(
    writeChallenges([{ scheme: 'Bearer', params: { realm: 'a\r\nSet-Cookie: b\0é€' } }]),
    'Bearer realm="a??Set-Cookie: b?é?"',
    'replaces line breaks and characters beyond Latin-1'
  )
  const anyChallenge = fc.record({
    scheme: fc.constantFrom('Bearer', 'Basic', 'DPoP'),
    realm: fc.string({ unit: 'grapheme' }),
    error: fc.string()
  })
  fc.assert(fc.property(fc.array(anyChallenge, { minLength: 1, maxLength: 4 }), made => {
    const written = writeChallenges(made.map(({ scheme, ...params }) => ({ scheme, params })))
    const shown = (text: string) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?')
    const read = readChallenges(written)
    const expected = made.map(({ scheme, realm, error }) => ({
      scheme: scheme.toLowerCase(),
      params: { realm: shown(realm), error: shown(error) }
    }))
    for (const each of expected) if (!read.some(found => JSON.stringify(found) === JSON.stringify(each))) return false
    return read.length <= expected.length
  }))
})

t.test('writes Basic first, and equal challenges once', async t => {
  t.equal(
    writeChallenges([
      { scheme: 'Bearer', params: { realm: 'a' } },
      { scheme: 'basic', params: { realm: 'b' } },
      { scheme: 'Bearer', params: { realm: 'a' } },
      { scheme: 'Basic', params: { realm: 'c' } }
    ]),
    'basic realm="b", Basic realm="c", Bearer realm="a"'
  )
})

t.test(
  'sends the challenge of every scheme of the policy, without an error, on a 401 without credentials',
  async t => {
    const schemes = {
      one: scripted('one'),
      two: scripted('two'),
      mute: challenger('mute', null),
      ops: basic({ realm: 'o"p\\s', verify: () => null }),
      other: scripted('other')
    }
    const { app } = await createApplication({ schemes, default: ['one', { all: ['two', 'ops'] }, 'mute'] })
    const route = handler()
    app.get('/', route.handler)
    app.get('/mute', { config: { auth: 'mute' } }, route.handler)
    const answer = await app.inject('/')
    t.equal(answer.statusCode, 401)
    t.match(answer.json(), { code: 'AUTH_REQUIRED' })
    const written = answer.headers['www-authenticate'] as string
    t.same(readChallenges(written), [
      { scheme: 'basic', params: { realm: 'o"p\\s', charset: 'UTF-8' } },
      { scheme: 'test', params: { realm: 'one' } },
      { scheme: 'test', params: { realm: 'two' } }
    ])
    t.notMatch(written, /error/)
    const mute = await app.inject('/mute')
    t.equal(mute.statusCode, 401)
    t.equal(
      mute.headers['www-authenticate'],
      'APIKey realm="mute"',
      'alone, a scheme without a challenge has the one that its description implies'
    )
    t.equal(route.reached, 0)

    const port = await listen(t, app)
    const raw = await send(port, 'GET', '/')
    t.same(
      readChallenges(raw.headers['www-authenticate'] ?? ''),
      readChallenges(written),
      'the same arrives over a socket'
    )
  }
)

t.test('sends only the challenge of the scheme that rejected the credential', async t => {
  const { app } = await createApplication({
    schemes: { one: scripted('one'), two: scripted('two') },
    default: ['one', 'two']
  })
  app.get('/', handler().handler)
  app.get('/scope', { config: { auth: { scopes: { all: ['x', 'y'] } } } }, handler().handler)
  const challenges = async (headers: Record<string, string>, url = '/') =>
    readChallenges((await app.inject({ url, headers })).headers['www-authenticate'] as string)
  t.same(await challenges({ 'x-two': 'invalid' }), [
    { scheme: 'test', params: { realm: 'two', error: 'auth_invalid_credentials' } }
  ])
  t.same(await challenges({ 'x-one': 'expired' }), [
    { scheme: 'test', params: { realm: 'one', error: 'auth_token_expired' } }
  ])
  t.same(await challenges({ 'x-two': 'foreign' }), [
    { scheme: 'test', params: { realm: 'two', error: 'auth_invalid_credentials' } }
  ])
  t.same(await challenges({ 'x-two': 'ann' }, '/scope'), [
    { scheme: 'test', params: { realm: 'two', error: 'auth_access_denied' } }
  ])
})

t.test('sends no challenge on success, or if another credential would not help', async t => {
  const { app } = await createApplication({
    schemes: { one: scripted('one'), two: scripted('two') },
    default: ['one', 'two']
  })
  const route = handler()
  for (const mode of ['required', 'optional', 'try'] as const) {
    app.get(`/${mode}`, { config: { auth: { mode } } }, route.handler)
  }
  const ask = (mode: string, headers: Record<string, string>) => app.inject({ url: `/${mode}`, headers })
  for (const mode of ['required', 'optional', 'try']) {
    const second = await ask(mode, { 'x-two': 'ann' })
    t.equal(second.statusCode, 200, `${mode}: the second scheme succeeds after the first had nothing`)
    t.notOk('www-authenticate' in second.headers)
    const down = await ask(mode, { 'x-two': 'unavailable' })
    t.equal(down.statusCode, 503)
    t.notOk('www-authenticate' in down.headers)
  }
  for (const [mode, headers] of [
    ['optional', {}],
    ['try', {}],
    ['try', { 'x-one': 'invalid' }],
    ['try', { 'x-two': 'foreign' }],
    ['try', { 'x-two': 'expired' }]
  ] as const) {
    const answer = await ask(mode, headers)
    t.equal(answer.statusCode, 200, `${mode} ${JSON.stringify(headers)}`)
    t.notOk('www-authenticate' in answer.headers)
  }
  t.equal(route.reached, 8)
})

t.test('answers a constant 500 if the challenge of a scheme is missing or has an invalid name', async t => {
  const bad: ReadonlyArray<readonly [challenge: unknown, reason: RegExp]> = [
    [{ scheme: 'Two words', params: { realm: 'x' } }, /has the name 'Two words', which is not a token/],
    [{ scheme: 'Bearer', params: { 'realm"\r\nx': 'x' } }, /has the name 'realm.*, which is not a token/],
    [{ scheme: '', params: {} }, /has the name '', which is not a token/],
    [{ scheme: 'Bearer' }, /must be \{ scheme, params \}, and no promise of it\. Got an object$/],
    [{ scheme: Object.create(null), params: {} }, /must be \{ scheme, params \}/],
    [{ scheme: undefined, params: {} }, /must be \{ scheme, params \}/],
    [{ scheme: 'Bearer', params: 'realm' }, /must be \{ scheme, params \}/],
    [{ scheme: 'Bearer', params: { realm: null } }, /has a parameter realm that is neither a text nor a number/],
    [[{ scheme: 'Bearer', params: {} }, null], /must be \{ scheme, params \}, and no promise of it\. Got null/],
    [Promise.resolve({ scheme: 'Bearer', params: {} }), /must be \{ scheme, params \}, and no promise of it/],
    ['Bearer realm="x"', /must be \{ scheme, params \}, and no promise of it\. Got a text of 16 characters/]
  ]
  for (const [challenge, reason] of bad) {
    const { app, log } = await createApplication({ schemes: { one: challenger('one', challenge as Challenge) } })
    app.get('/', handler().handler)
    const answer = await app.inject('/')
    t.equal(answer.statusCode, 500, JSON.stringify(challenge))
    t.same(answer.json(), {
      statusCode: 500,
      code: 'AUTH_FAULT',
      error: 'Internal Server Error',
      message: 'Internal Server Error'
    })
    t.notOk('www-authenticate' in answer.headers)
    t.match(
      log.find(line => line.level === 50 && line.msg === 'authentication fault'),
      { auth: { reason }, err: {} }
    )
    t.match(log.find(line => line.msg === 'authentication fault')?.auth?.reason, /^the challenge of the scheme 'one' /)
  }
})

t.test('answers a constant 500 if a scheme throws in refuse() or challenge(), or answers there later', async t => {
  const lost = async (): Promise<never> => { throw new Error('lost') }
  const cases: ReadonlyArray<readonly [members: object, reason: string]> = [
    [{ challenge () { throw new Error('secret') } }, 'a scheme threw in refuse() or challenge()'],
    [{ refuse () { throw new Error('secret') } }, 'a scheme threw in refuse() or challenge()'],
    [{ refuse: async () => true }, "refuse() of the scheme 'one' must return true or false, and no promise of it"],
    [{ challenge: () => lost() }, "the challenge of the scheme 'one' must be { scheme, params }, and no promise of it" +
      '. Got an object'],
    [{ refuse: lost }, "refuse() of the scheme 'one' must return true or false, and no promise of it"]
  ]
  for (const [members, reason] of cases) {
    const { app, log } = await createApplication({ schemes: { one: { ...scripted('one'), ...members } } })
    app.get('/', handler().handler)
    t.match((await app.inject('/')).json(), { statusCode: 500, code: 'AUTH_FAULT' })
    t.match(log.find(line => line.msg === 'authentication fault'), { level: 50, auth: { reason } })
  }
  const refuse = async (_request: unknown, reply: { redirect (url: string): unknown }) => { reply.redirect('/login') }
  const { app } = await createApplication({ schemes: { one: { ...scripted('one'), refuse: refuse as never } } })
  app.get('/', handler().handler)
  t.equal((await app.inject('/')).statusCode, 302, 'one that has sent a response has answered')
})

t.test('stops the boot if an OpenAPI description implies no challenge', async t => {
  const openapi = { type: 'http', scheme: 'two words' } as const
  const { challenge, ...mute } = scripted('one')
  await t.rejects(createApplication({ schemes: { one: { ...mute, openapi } } }), {
    code: 'AUTH_MISCONFIGURED',
    message: /^The option schemes\.one\.openapi\.scheme must be .* Got 'two words'\.$/
  })
})

t.test('calls the challenge function of a custom scheme on each refusal', async t => {
  let calls = 0
  const own = scripted('own', { challenge: () => ({ scheme: 'Nonce', params: { nonce: String(++calls) } }) })
  const { app } = await createApplication({
    schemes: { own, ops: basic({ realm: 'ops', verify: () => null }) },
    default: ['own', 'ops']
  })
  app.get('/', handler().handler)
  await app.ready()
  t.equal(calls, 0)
  const header = async (headers = {}) => (await app.inject({ url: '/', headers })).headers['www-authenticate']
  t.equal(await header(), 'Basic realm="ops", charset="UTF-8", Nonce nonce="1"')
  t.equal(await header(), 'Basic realm="ops", charset="UTF-8", Nonce nonce="2"')
  t.equal(await header({ 'x-own': 'invalid' }), 'Nonce nonce="3"')
})

t.test('writes the challenges of built-in schemes at boot, and the error per request', async t => {
  const errors: unknown[] = []
  const { app } = await createApplication({
    schemes: {
      ops: basic({ realm: 'ops', verify: () => null }),
      service: apiKey({ keys: { [randomBytes(32).toString('hex')]: { id: 'billing' } }, from: 'bearer' })
    },
    default: ['ops', 'service'],
    errors: error => {
      errors.push(error)
      return { code: error.code }
    }
  })
  app.get('/', handler().handler)
  app.get('/any', { config: { auth: { scopes: 'orders' } } }, handler().handler)
  await app.ready()
  const header = async (url: string, headers = {}) => (await app.inject({ url, headers })).headers['www-authenticate']
  const wrong = { authorization: 'Bearer nobody' }
  for (let i = 0; i < 2; i++) {
    t.equal(await header('/'), 'Basic realm="ops", charset="UTF-8", Bearer realm="service"')
    t.equal(await header('/any', wrong), 'Bearer realm="service", error="invalid_token"')
  }
  t.equal(new Set(errors).size, 4)
})

t.test('names the scopes of each request, where a function decides on them', async t => {
  const key = randomBytes(32).toString('base64url')
  const { app } = await createApplication(
    { schemes: { user: apiKey({ from: 'bearer', keys: { [key]: { id: 'shop' } } }) } }
  )
  const scopes = ({ query }: { readonly query: unknown }) => (query as { readonly scope: string }).scope
  app.get('/', { config: { auth: { scopes } } }, async () => 'in')
  for (const scope of ['orders:read', 'orders:write', 'orders:read']) {
    const answer = await app.inject({ url: '/', query: { scope }, headers: { authorization: `Bearer ${key}` } })
    t.equal(answer.statusCode, 403)
    t.match(readChallenges(String(answer.headers['www-authenticate'])), [{ params: { scope } }])
  }
})
