import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, {
  jwt, memoryStore, type GatehouseOptions, type JwtOptions, type Scheme, type Store
} from '../../../lib/index.js'
import { readChallenges } from '../../fixtures/challenges.js'
import { movableClock } from '../../fixtures/clock.js'
import { recordEvents } from '../../fixtures/events.js'
import { claimsOf, pair, secretOf } from '../../fixtures/tokens.js'
import { exactly } from '../../fixtures/exactly.js'

const { privateKey } = pair('ec')
const issuer = 'https://api.example.com'
const secret = secretOf()
const day = 86_400_000

const clock = movableClock(t)

type Sign = Exclude<NonNullable<JwtOptions['sign']>, true>

function own (refresh: object = {}, sign: Sign = {}, more: object = {}): JwtOptions {
  return {
    issuer,
    audience: issuer,
    keys: privateKey,
    sign: { expiresIn: '10m', refresh: { secret, ...refresh }, ...sign },
    ...more
  }
}

const person = { id: 'ann', scopes: ['orders:read', 'orders:write'], roles: ['clerk'] }

/** Creates an application that logs in the person of the body, and refreshes tokens. */
async function appWith (t: Test, options: Partial<GatehouseOptions>, lines: string[] = []): Promise<FastifyInstance> {
  const app = Fastify({ logger: { level: 'info', stream: { write: line => { lines.push(line) } } } })
  await app.register(
    gatehouse, { schemes: { api: jwt(own()) }, load: principal => principal, ...options } as GatehouseOptions
  )
  const open = { config: { auth: { public: 'holds a credential of its own' } } }
  app.post<{ Body: { person: typeof person, options?: object } }>(
    '/login', open, async ({ body }) => await app.gatehouse.tokens.grant(body.person, body.options)
  )
  app.post<{ Body: { token?: unknown, options?: object } }>(
    '/refresh', open, async ({ body }, reply) => await app.gatehouse.tokens.refresh(reply, body.token, body.options)
  )
  app.get('/me', async request => ({ ...request.principal, at: request.auth.authenticatedAt }))
  t.teardown(() => app.close())
  return app
}

interface Tokens {
  readonly access_token: string,
  readonly refresh_token: string,
  readonly scope: string,
  readonly expires_in: number,
  readonly token_type: string
}

async function login (app: FastifyInstance, options = {}, who: object = person): Promise<Tokens> {
  const answer = await app.inject({ method: 'POST', url: '/login', payload: { person: who, options } })
  return answer.json()
}

async function refresh (app: FastifyInstance, token: unknown, options = {}) {
  const answer = await app.inject({ method: 'POST', url: '/refresh', payload: { token, options } })
  const { statusCode, headers } = answer
  return { status: statusCode, headers, tokens: answer.json<Tokens>() }
}

t.test('a grant is an access token of RFC 9068 and a refresh token', async t => {
  const issued = recordEvents(t, 'token-issued')
  const app = await appWith(t, {})
  const tokens = await login(app, { scopes: ['orders:read'] })
  t.match(
    tokens,
    { token_type: 'Bearer', expires_in: 600, scope: 'orders:read', refresh_token: /^rt_[\w-]{22}\.0\.[\w-]{43}$/ }
  )
  const claims = claimsOf(tokens.access_token)
  t.same(
    Object.keys(claims).sort(),
    ['aud', 'auth_time', 'client_id', 'exp', 'iat', 'iss', 'jti', 'roles', 'scope', 'sid', 'sub']
  )
  t.match(
    claims,
    {
      iss: issuer,
      aud: issuer,
      sub: 'ann',
      client_id: 'first-party',
      scope: 'orders:read',
      roles: ['clerk'],
      sid: /^[\w-]{43}$/
    }
  )
  t.match(JSON.parse(Buffer.from(String(tokens.access_token.split('.')[0]), 'base64url').toString()), { typ: 'at+jwt' })
  const me = await app.inject({ url: '/me', headers: { authorization: `Bearer ${tokens.access_token}` } })
  t.match(me.json(), { realm: issuer, id: 'ann', scopes: exactly('orders:read'), roles: exactly('clerk'), at: String })
  t.match(issued, [{ grant: claims['sid'], client: null, id: 'ann' }])
})

t.test('a refresh token is exchanged once, and then its successor', async t => {
  const refreshed = recordEvents(t, 'token-refreshed')
  const app = await appWith(t, {})
  const at = new Date(Date.now() - day)
  const first = await login(app, {})
  t.not(first.access_token, '')
  const { status, headers, tokens } = await refresh(app, first.refresh_token)
  t.match([status, headers['cache-control'], tokens.refresh_token], [200, 'no-store', /^rt_[\w-]{22}\.1\./])
  t.equal(claimsOf(tokens.access_token)['sid'], claimsOf(first.access_token)['sid'])
  t.equal(claimsOf(tokens.access_token)['auth_time'], claimsOf(first.access_token)['auth_time'])
  t.match((await refresh(app, tokens.refresh_token)).tokens.refresh_token, /^rt_[\w-]{22}\.2\./)
  t.match(refreshed, [{ generation: 1, scopes: person.scopes, client: null }, { generation: 2 }])
  const earlier = await app.gatehouse.tokens.grant(person, { authenticatedAt: at })
  t.equal(claimsOf(earlier.access_token)['auth_time'], Math.floor(at.getTime() / 1000))
})

t.test('scopes are narrowed for one token, and never widened', async t => {
  const app = await appWith(t, {})
  const first = await login(app, { scopes: ['orders:read'] })
  const narrow = await refresh(app, first.refresh_token, { scopes: ['other', 'orders:write'] })
  t.match([narrow.tokens.scope, claimsOf(narrow.tokens.access_token)['scope']], ['', undefined])
  t.equal((await refresh(app, narrow.tokens.refresh_token)).tokens.scope, 'orders:read')
})

t.test('within the grace the predecessor gets the same successor, and later it ends the grant', async t => {
  const reused = recordEvents(t, 'token-reused')
  const app = await appWith(t, {})
  const first = await login(app)
  const second = await refresh(app, first.refresh_token)
  const again = await refresh(app, first.refresh_token)
  t.equal(again.tokens.refresh_token, second.tokens.refresh_token)
  t.not(again.tokens.access_token, second.tokens.access_token)
  clock.offset = 31_000
  t.equal((await refresh(app, first.refresh_token)).status, 401)
  t.equal((await refresh(app, second.tokens.refresh_token)).status, 401)
  t.match(reused, [{ generation: 0, current: 1, id: 'ann' }])
  t.equal(reused.length, 1)
})

t.test('without a grace, a second use in the same millisecond ends the grant', async t => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const app = await appWith(t, { schemes: { api: jwt(own({ reuseGrace: 0 })) } })
  const first = await login(app)
  const frozen = now()
  Date.now = () => frozen
  const second = await refresh(app, first.refresh_token)
  t.equal((await refresh(app, first.refresh_token)).status, 401)
  t.equal((await refresh(app, second.tokens.refresh_token)).status, 401)
})

t.test('a clock that is set back by more than a minute ends the grace', async t => {
  for (const [offset, status] of [[-59_000, 200], [-61_000, 401]] as const) {
    clock.offset = 0
    const app = await appWith(t, {})
    const first = await login(app)
    await refresh(app, first.refresh_token)
    clock.offset = offset
    t.equal((await refresh(app, first.refresh_token)).status, status)
  }
})

t.test('with a grace of 0 the predecessor ends the grant, also if the clock was set back', async t => {
  for (const offset of [0, -10_000]) {
    clock.offset = 0
    const app = await appWith(t, { schemes: { api: jwt(own({ reuseGrace: 0 })) } })
    const first = await login(app)
    const second = await refresh(app, first.refresh_token)
    clock.offset = offset
    t.equal((await refresh(app, first.refresh_token)).status, 401, `${offset} ms`)
    t.equal((await refresh(app, second.tokens.refresh_token)).status, 401, `${offset} ms`)
  }
})

t.test('a token from before the predecessor ends the grant, whatever the grace', async t => {
  const app = await appWith(t, {})
  const first = await login(app)
  const second = await refresh(app, first.refresh_token)
  const third = await refresh(app, second.tokens.refresh_token)
  t.equal((await refresh(app, first.refresh_token)).status, 401)
  t.equal((await refresh(app, third.tokens.refresh_token)).status, 401)
})

t.test('a grant ends when it is idle, and at its absolute end', async t => {
  const app = await appWith(t, { schemes: { api: jwt(own({ idle: '2d', absolute: '5d' })) } })
  const idle = await login(app)
  clock.offset = 2 * day + 1
  t.equal((await refresh(app, idle.refresh_token)).status, 401)
  let { refresh_token: token } = await login(app)
  for (const days of [3, 4, 5, 6]) {
    clock.offset = days * day
    const { status, tokens } = await refresh(app, token)
    t.equal(status, 200, `day ${days}`)
    token = tokens.refresh_token
  }
  clock.offset = 7 * day + 2
  t.equal((await refresh(app, token)).status, 401)
})

t.test('an access token expires no later than its grant', async t => {
  const sign = { expiresIn: '10m' } as const
  const lifetime = ({ access_token: token, expires_in: seconds }: Tokens) => {
    const { iat, exp } = claimsOf(token)
    t.equal(Number(exp) - Number(iat), seconds)
    return seconds
  }
  const idle = await appWith(t, { schemes: { api: jwt(own({ idle: '5m' }, sign)) } })
  t.equal(lifetime(await login(idle)), 300)
  const absolute = await appWith(t, { schemes: { api: jwt(own({ idle: '1h', absolute: '1h' }, sign)) } })
  const first = await login(absolute)
  t.equal(lifetime(first), 600)
  clock.offset = 3_590_000
  const { tokens } = await refresh(absolute, first.refresh_token)
  t.ok(lifetime(tokens) <= 10 && tokens.expires_in > 0)
})

t.test('refuses garbage, another client and a missing token without a store call', async t => {
  const store = memoryStore()
  const calls: string[] = []
  const counting: Store = {
    ...store,
    get: async (kind, id) => {
      calls.push(id)
      return await store.get(kind, id)
    }
  }
  const lines: string[] = []
  const app = await appWith(t, { store: counting }, lines)
  const { refresh_token: token } = await login(app, { client: 'partner' })
  const [head, mac] = [token.slice(0, -43), token.slice(-43)]
  calls.length = 0
  const own = { client: 'partner' }
  for (const [presented, options] of [
    [undefined], [''], [7], [`${head}${'A'.repeat(43)}`, own], [`${head.replace('.0.', '.1.')}${mac}`, own],
    [`x${token}`, own], [token], [token, { client: 'other' }]
  ] as const) {
    const { status, headers } = await refresh(app, presented, options)
    t.equal(status, 401)
    t.same(
      readChallenges(String(headers['www-authenticate'])),
      [
        {
          scheme: 'bearer', params: { realm: 'api', error: 'invalid_token', error_description: 'The token is invalid' }
        }
      ]
    )
  }
  t.same(calls, [])
  t.match(lines.join(''), /"event":"refused".*refresh token: it is missing/)
  t.equal((await refresh(app, token, own)).status, 200)
  t.notMatch(lines.join(''), new RegExp(mac.slice(0, 8)))
})

t.test('the person is looked up at each refresh', async t => {
  const revoked = recordEvents(t, 'token-revoked')
  let load: (principal: { readonly id: string }) => unknown = principal => principal
  const app = await appWith(
    t, { load: principal => load(principal) as typeof principal, roles: { clerk: {}, boss: { roles: ['clerk'] } } }
  )
  let { refresh_token: token } = await login(app)
  load = () => ({ roles: ['boss'], scopes: ['orders:read', 'more'] })
  const changed = await refresh(app, token)
  t.match(claimsOf(changed.tokens.access_token), { scope: /^orders:read$/, roles: exactly('clerk') })
  token = changed.tokens.refresh_token
  load = () => ({ roles: [] })
  const lost = await refresh(app, token)
  t.same([lost.tokens.scope, claimsOf(lost.tokens.access_token)['roles']], ['orders:read orders:write', undefined])
  token = lost.tokens.refresh_token
  load = () => { throw new Error('the database is down') }
  t.equal((await refresh(app, token)).status, 500)
  load = principal => principal
  const next = await refresh(app, token)
  t.equal(next.status, 200, 'the failure used nothing up')
  load = () => null
  const twice = await Promise.all([1, 2].map(() => refresh(app, next.tokens.refresh_token)))
  t.same(twice.map(({ status }) => status), [401, 401])
  t.equal(revoked.length, 1)
  load = principal => principal
  t.equal((await refresh(app, next.tokens.refresh_token)).status, 401)
  t.match(revoked, [{ id: 'ann', tokenId: null, grant: claimsOf(next.tokens.access_token)['sid'] }])
})

t.test('without a load people keep what they were granted, and the boot warns', async t => {
  const lines: string[] = []
  const app = await appWith(
    t, { schemes: { api: jwt(own({ reuseGrace: 0, prefix: 'acme_rt' })) }, load: undefined }, lines
  ).catch(() => null)
  t.equal(app, null, 'undefined is not a way to leave it out')
  const bare = Fastify({ logger: { level: 'warn', stream: { write: line => { lines.push(line) } } } })
  await bare.register(gatehouse, { schemes: { api: jwt(own({ prefix: 'acme_rt' })) } })
  bare.post<{ Body: { token: string } }>(
    '/refresh',
    { config: { auth: { public: 'test' } } },
    async ({ body }, reply) => await bare.gatehouse.tokens.refresh(reply, body.token)
  )
  await bare.ready()
  t.match(lines.join(''), /no load function \(schemes\.api\.sign\.refresh\)/)
  const granted = await bare.gatehouse.tokens.grant(person)
  t.match(granted.refresh_token, /^acme_rt_/)
  const { tokens } = await refresh(bare, granted.refresh_token)
  t.match(claimsOf(tokens.access_token), { scope: /^orders:read orders:write$/, roles: exactly('clerk') })
  await bare.close()
})

t.test('a person has at most 100 grants, and a new one ends the longest unused', async t => {
  const revoked = recordEvents(t, 'token-revoked')
  const app = await appWith(t, {})
  const all: Tokens[] = []
  for (let i = 0; i < 101; i++) {
    clock.offset = i
    all.push(await login(app))
  }
  t.equal(revoked.length, 1)
  t.equal((await refresh(app, all[0]?.refresh_token)).status, 401)
  t.equal((await refresh(app, all[1]?.refresh_token)).status, 200)
  const other = await login(app, {}, { id: 'bob' })
  t.equal((await refresh(app, other.refresh_token)).status, 200)
})

t.test('a full store answers a grant with 503, and no grant is touched', async t => {
  const store = memoryStore({ maxRecords: 1 })
  const app = await appWith(t, { store })
  const first = await login(app)
  const answer = await app.inject({ method: 'POST', url: '/login', payload: { person } })
  t.match([answer.statusCode, answer.headers['retry-after']], [503, /^\d+$/])
  t.equal((await refresh(app, first.refresh_token)).status, 200)
})

t.test('a secret is replaced without ending a grant', async t => {
  const store = memoryStore()
  const newest = secretOf()
  const with_ = (secrets: readonly string[]) => appWith(t, { store, schemes: { api: jwt(own({ secret: secrets })) } })
  const before = await with_([secret, newest])
  const after = await with_([newest, secret])
  const removed = await with_([newest])
  const old = await login(before)
  const rotated = await refresh(after, old.refresh_token)
  t.equal(
    (await refresh(before, old.refresh_token)).tokens.refresh_token,
    rotated.tokens.refresh_token,
    'by the secret that the record names'
  )
  t.equal((await refresh(removed, rotated.tokens.refresh_token)).status, 200)
  t.equal((await refresh(removed, old.refresh_token)).status, 401)
  const late = await login(after)
  const back = await refresh(before, late.refresh_token)
  t.equal(
    (await refresh(removed, late.refresh_token)).status,
    503,
    'the successor is written with a secret that it does not know'
  )
  t.equal((await refresh(after, back.tokens.refresh_token)).status, 200)
})

t.test('a token that the store does not know yet ends nothing', async t => {
  const store = memoryStore()
  const app = await appWith(t, { store })
  const first = await login(app)
  const [record] = await store.find('refresh-family', { realm: issuer, id: 'ann' })
  const second = await refresh(app, first.refresh_token)
  await store.take('refresh-family', String(record?.id))
  if (record !== undefined) await store.add(record)
  t.equal((await refresh(app, second.tokens.refresh_token)).status, 401)
  t.equal((await refresh(app, first.refresh_token)).status, 200)
})

t.test('of several schemes, the one that granted a token refreshes it', async t => {
  const mcp = jwt(own({}, {}, { audience: `${issuer}/mcp` }))
  const other = jwt(own({ secret: secretOf() }, {}, { issuer: 'https://other.example.com' }))
  const app = await appWith(t, { schemes: { api: jwt(own()), mcp, other }, default: ['api', 'mcp'] })
  for (const scheme of ['api', 'mcp', 'other']) {
    const first = await login(app, { scheme })
    const { status, tokens } = await refresh(app, first.refresh_token)
    t.same([status, claimsOf(tokens.access_token)['aud']], [200, scheme === 'mcp' ? `${issuer}/mcp` : issuer])
  }
  const granted = await login(app, { scheme: 'mcp' })
  t.equal((await refresh(app, granted.refresh_token, { scheme: 'api' })).status, 401)
  t.equal((await refresh(app, granted.refresh_token, { scheme: 'mcp' })).status, 200)
  await t.rejects(app.gatehouse.tokens.grant(person), { code: 'AUTH_FAULT', detail: /several schemes/ })
})

t.test('faults are told by name', async t => {
  const app = await appWith(
    t,
    {
      schemes: {
        api: jwt(own({}, { realm: 'web' })), plain: jwt(own({}, {}, { issuer: 'https://plain.test', sign: true }))
      },
      default: 'api'
    }
  )
  const grant = (who: object, options: object = { scheme: 'api' }) => app.gatehouse.tokens.grant(
    who as typeof person, options
  )
  t.match(claimsOf((await grant(person)).access_token), { sub: 'ann' })
  const me = await app.inject({
    url: '/me', headers: { authorization: `Bearer ${(await grant({ ...person, realm: 'web' })).access_token}` }
  })
  t.match(me.json(), { realm: 'web', id: 'ann' })
  await t.rejects(
    grant({ ...person, realm: 'other' }), { code: 'AUTH_FAULT', detail: /has the realm 'other'.*sign\.realm/ }
  )
  await t.rejects(app.gatehouse.tokens.issue({ ...person, realm: 'other' }, { scheme: 'api' }), { code: 'AUTH_FAULT' })
  await t.rejects(grant({ id: 'client:a' }), { code: 'AUTH_FAULT', detail: /begins with 'client:'/ })
  await t.rejects(grant(person, { scheme: 'plain' }), { code: 'AUTH_FAULT', detail: /needs sign\.refresh/ })
  for (const options of [
    { scopes: 'a' }, { client: 1 }, { authenticatedAt: 1 }, { authenticatedAt: new Date(NaN) }, { scope: [] }
  ]) {
    await t.rejects(grant(person, options), { code: 'AUTH_FAULT' })
  }
  for (const reply of [undefined, 'rt_0', {}]) {
    await t.rejects(
      app.gatehouse.tokens.refresh(reply as never, 'x'), { code: 'AUTH_FAULT', detail: /needs the reply/ }
    )
  }
  const none = await appWith(t, { schemes: { api: jwt(own({}, {}, { sign: true })) } })
  await t.rejects(
    none.gatehouse.tokens.refresh({} as never, 'x'),
    { code: 'AUTH_FAULT', detail: /no scheme of this application can refresh tokens/ }
  )
})

t.test('sign.claims adds to every token, and sign.client names the application', async t => {
  const claims: Sign['claims'] = ({ id, scopes }) => ({ tenant: `${id} ${scopes.length}` })
  const app = await appWith(t, { schemes: { api: jwt(own({}, { claims, client: 'shop' })) } })
  const first = await login(app)
  t.match(claimsOf(first.access_token), { tenant: 'ann 2', client_id: 'shop' })
  const { tokens: next } = await refresh(app, first.refresh_token)
  t.match(claimsOf(next.access_token), { tenant: 'ann 2', client_id: 'shop' })
  const partner = await app.gatehouse.tokens.grant(person, { client: 'partner' })
  t.match(claimsOf(partner.access_token), { client_id: 'partner' })
  await t.rejects(
    app.gatehouse.tokens.issue(person, { claims: { sid: 'x' } }), { code: 'AUTH_FAULT', detail: /has sid/ }
  )
})

t.test('wrong options stop the boot', async t => {
  const wrong: ReadonlyArray<readonly [JwtOptions, RegExp]> = [
    [own({ secret: 'short' }), /sign\.refresh\.secret/],
    [own({ prefix: 'a.b' }), /sign\.refresh\.prefix must be 2 to 32/],
    [own({ reuseGrace: '1h' }), /sign\.refresh\.reuseGrace must be at most/],
    [own({ idle: 0 }), /sign\.refresh\.idle/],
    [own({ idle: '90d', absolute: '1d' }), /sign\.refresh\.idle must not be longer than absolute, which ends/],
    [own({}, {}, { issuer: false }), /sign\.refresh needs an issuer and an audience/],
    [own({}, {}, { audience: false }), /sign\.refresh needs an issuer and an audience/]
  ]
  for (const [options, message] of wrong) {
    const boot = appWith(t, { schemes: { api: jwt(options) } })
    await t.rejects(boot, { code: 'AUTH_MISCONFIGURED', message }, String(message))
  }
})

t.test('a scheme of the application may refresh tokens without a challenge of its own', async t => {
  const scheme: Scheme = { openapi: { type: 'http', scheme: 'bearer' }, authenticate: () => ({ kind: 'absent' }) }
  const tokens = {
    issue: async () => 'x', refresh: async () => ({ kind: 'invalid', detail: 'no', expired: false }) as const
  }
  const app = await appWith(t, { schemes: { own: () => ({ scheme, features: { tokens } }) } })
  const { status, headers } = await refresh(app, 'x')
  t.match([status, headers['www-authenticate']], [401, 'bearer realm="own"'])
})
