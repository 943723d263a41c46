import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { memoryStore, type GrantedTokens, type Principal, type Store } from '../../../lib/index.js'
import { newHandle, withService } from '../../fixtures/token-service.js'
import { pair, secretOf } from '../../fixtures/tokens.js'

const { privateKey } = pair('ec')
const issuer = 'https://api.example.com'
const secret = secretOf()
const person = { realm: issuer, id: 'ann', scopes: ['orders:read'], roles: ['clerk'] }

/** The failure of one call, before or after it was carried out. */
interface Fault {
  readonly call: number
  readonly when: 'before' | 'after'
}

const methods = ['add', 'get', 'swap', 'take', 'find', 'takeAll'] as const

/** Creates a store that counts its calls, and fails in one that is planned. */
function failingStore (): { readonly store: Store } & Pick<Stage, 'plan' | 'calls'> {
  const inner = memoryStore()
  let fault: Fault | null = null
  let calls = 0
  const failing = (method: typeof methods[number]) => async (...args: readonly never[]) => {
    const isFault = ++calls === fault?.call
    if (isFault && fault?.when === 'before') throw new Error('the connection broke')
    const answer = await (inner[method] as (...args: readonly never[]) => Promise<unknown>)(...args)
    if (isFault) throw new Error('the connection broke')
    return answer
  }
  const store = { ...inner, ...Object.fromEntries(methods.map(method => [method, failing(method)])) } as Store
  return {
    store,
    plan (next) {
      fault = next
      calls = 0
    },
    calls: () => calls
  }
}

interface Stage {
  readonly app: FastifyInstance
  readonly plan: (fault: Fault | null) => void
  readonly calls: () => number
  readonly service: ReturnType<typeof withService>['service']
  /** The result of `load`. */
  person: Principal | null
}

async function stageOf (t: Test, reuseGrace: number): Promise<Stage> {
  const { store, plan, calls } = failingStore()
  const sign = { refresh: { secret, reuseGrace }, staleness: 0 }
  const api = withService({ issuer, audience: issuer, keys: privateKey, sign })
  const app = Fastify()
  t.teardown(() => app.close())
  const stage: Stage = {
    app,
    plan,
    calls,
    get service () {
      return api.service
    },
    person
  }
  await app.register(gatehouse, { schemes: { api: api.scheme }, store, load: () => stage.person })
  const open = { config: { auth: { public: 'holds a credential of its own' } } }
  app.get('/me', async () => 'ok')
  app.post('/grant', open, async () => await app.gatehouse.tokens.grant(person))
  app.post<{ Body: { token: string } }>(
    '/refresh', open, async ({ body }, reply) => await app.gatehouse.tokens.refresh(reply, body.token)
  )
  app.post<{ Body: { token: string } }>('/revoke', open, async ({ body }) => {
    await app.gatehouse.tokens.revoke(body.token)
    return {}
  })
  return stage
}

interface Answer {
  readonly status: number
  readonly tokens: GrantedTokens
}

async function post ({ app }: Stage, url: string, token = ''): Promise<Answer> {
  const { statusCode, body } = await app.inject({ method: 'POST', url, payload: { token } })
  return { status: statusCode, tokens: JSON.parse(body) as GrantedTokens }
}

async function enters ({ app }: Stage, { access_token: token }: GrantedTokens): Promise<number> {
  return (await app.inject({ url: '/me', headers: { authorization: `Bearer ${token}` } })).statusCode
}

/**
 * Runs a scenario without a failure, and then with a failure before and after each store call of its planned part. The
 * scenario returns the number of these calls.
 */
async function withEachFailure (
  t: Test, reuseGrace: number, scenario: (stage: Stage, plan: (stage: Stage) => void) => Promise<number>
): Promise<void> {
  let last = Infinity
  for (let call = 0; call <= last; call++) {
    for (const when of ['before', 'after'] as const) {
      const stage = await stageOf(t, reuseGrace)
      const calls = await scenario(stage, ({ plan }) => { plan(call === 0 ? null : { call, when }) })
      if (call === 0) last = calls
    }
  }
  t.ok(last > 0 && last < 20, `${last} store calls`)
}

const answered = (status: number): boolean => status === 200 || status === 503

t.test('a grant is complete or fails with 503, and revokeAll ends what is left of it', async t => {
  await withEachFailure(t, 30, async (stage, plan) => {
    plan(stage)
    const granted = await post(stage, '/grant')
    const calls = stage.calls()
    stage.plan(null)
    t.ok(answered(granted.status), `${granted.status}`)
    if (granted.status === 200) t.equal(await enters(stage, granted.tokens), 200)
    const list = await stage.app.gatehouse.tokens.of(person).list()
    t.ok(list.length <= 1)
    await stage.app.gatehouse.tokens.of(person).revokeAll()
    t.same(await stage.app.gatehouse.tokens.of(person).list(), [])
    if (granted.status === 200) {
      t.equal(await enters(stage, granted.tokens), 401)
      t.equal((await post(stage, '/refresh', granted.tokens.refresh_token)).status, 401)
    }
    return calls
  })
})

t.test('a begun grant can be begun again with the same tokens', async t => {
  await withEachFailure(t, 30, async (stage, plan) => {
    const grant = {
      principal: person,
      client: 'shop',
      scopes: [],
      authenticatedAt: null,
      refresh: true,
      roles: true,
      handle: newHandle()
    }
    plan(stage)
    const first = await stage.service.begin(grant).catch((error: unknown) => error as { readonly code: string })
    const calls = stage.calls()
    stage.plan(null)
    if (first !== null && 'code' in first) t.equal(first.code, 'AUTH_UNAVAILABLE')
    const again = await stage.service.begin(grant)
    t.match(again?.tokens.refresh_token, /^rt_/)
    if (first !== null && 'tokens' in first) t.equal(again?.tokens.refresh_token, first.tokens.refresh_token)
    t.equal((await stage.app.gatehouse.tokens.of(person).list()).length, 1)
    t.equal(await stage.service.end(grant.handle), true)
    t.match(
      await stage.service.refresh({} as FastifyRequest, String(again?.tokens.refresh_token), { client: 'shop' }),
      { kind: 'invalid' }
    )
    return calls
  })
})

for (const reuseGrace of [30, 0]) {
  t.test(`a refresh that fails leaves one live token at most, with a grace of ${reuseGrace} s`, async t => {
    await withEachFailure(t, reuseGrace, async (stage, plan) => {
      const first = (await post(stage, '/grant')).tokens
      plan(stage)
      const second = await post(stage, '/refresh', first.refresh_token)
      const calls = stage.calls()
      stage.plan(null)
      t.ok(answered(second.status), `${second.status}`)
      const retried = await post(stage, '/refresh', first.refresh_token)
      if (reuseGrace > 0) {
        t.equal(retried.status, 200, 'a lost answer logs nobody out')
        if (second.status === 200) t.equal(retried.tokens.refresh_token, second.tokens.refresh_token)
      } else t.ok(retried.status === 200 || retried.status === 401)
      if (retried.status === 200) {
        const next = await post(stage, '/refresh', retried.tokens.refresh_token)
        t.equal(next.status, 200)
        t.equal((await post(stage, '/refresh', first.refresh_token)).status, 401, 'an older token ends the grant')
        t.equal((await post(stage, '/refresh', next.tokens.refresh_token)).status, 401)
        t.equal(await enters(stage, next.tokens), 401)
      }
      t.equal(await enters(stage, first), 401)
      return calls
    })
  })
}

for (const kind of ['refresh_token', 'access_token'] as const) {
  t.test(`a revocation by ${kind} that fails can be repeated`, async t => {
    await withEachFailure(t, 30, async (stage, plan) => {
      const { tokens } = await post(stage, '/grant')
      plan(stage)
      const revoked = await post(stage, '/revoke', tokens[kind])
      const calls = stage.calls()
      stage.plan(null)
      t.ok(answered(revoked.status), `${revoked.status}`)
      t.equal((await post(stage, '/revoke', tokens[kind])).status, 200)
      t.equal(await enters(stage, tokens), 401)
      t.equal((await post(stage, '/refresh', tokens.refresh_token)).status, 401)
      return calls
    })
  })
}

t.test('the revocation of a token without a grant that fails can be repeated', async t => {
  await withEachFailure(t, 30, async (stage, plan) => {
    const token = await stage.app.gatehouse.tokens.issue(person)
    plan(stage)
    t.ok(answered((await post(stage, '/revoke', token)).status))
    const calls = stage.calls()
    stage.plan(null)
    t.equal((await post(stage, '/revoke', token)).status, 200)
    t.equal((await stage.app.inject({ url: '/me', headers: { authorization: `Bearer ${token}` } })).statusCode, 401)
    return calls
  })
})

t.test('ending all grants of a person that fails half-way can be repeated', async t => {
  await withEachFailure(t, 30, async (stage, plan) => {
    const all = [await post(stage, '/grant'), await post(stage, '/grant'), await post(stage, '/grant')]
    const grants = stage.app.gatehouse.tokens.of(person)
    plan(stage)
    await grants.revokeAll().catch((error: unknown) => { t.match(error, { code: 'AUTH_UNAVAILABLE' }) })
    const calls = stage.calls()
    stage.plan(null)
    await grants.revokeAll()
    for (const { tokens } of all) t.equal(await enters(stage, tokens), 401)
    return calls
  })
})

t.test('a person who was lost, or a token that was used again, ends the grant at the next try', async t => {
  for (const end of ['lost', 'used'] as const) {
    await withEachFailure(t, 0, async (stage, plan) => {
      const first = (await post(stage, '/grant')).tokens
      const { tokens } = end === 'used' ? await post(stage, '/refresh', first.refresh_token) : { tokens: first }
      stage.person = end === 'lost' ? null : person
      plan(stage)
      const { status } = await post(stage, '/refresh', first.refresh_token)
      const calls = stage.calls()
      stage.plan(null)
      t.ok(status === 401 || status === 503, `${status}`)
      t.equal((await post(stage, '/refresh', first.refresh_token)).status, 401)
      stage.person = person
      t.equal((await post(stage, '/refresh', tokens.refresh_token)).status, 401)
      return calls
    })
  }
})
