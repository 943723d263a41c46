import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { memoryStore, withDeadline, type Store } from '../../../lib/index.js'
import type { IssuedTokens, TokenService } from '../../../types/tokens.js'
import { recordEvents } from '../../fixtures/events.js'
import { usedHeap } from '../../fixtures/heap.js'
import { forkProgram, sendToAll } from '../../fixtures/programs.js'
import { onlyInSoak, size } from '../../fixtures/size.js'
import type { Instance, TokenCommand, Presented } from '../../fixtures/token-racer.js'
import { newHandle, withService } from '../../fixtures/token-service.js'
import { secretOf } from '../../fixtures/tokens.js'
import { backends } from '../../stores/fixtures/backends.js'
import { sharedServers } from '../../stores/fixtures/shared.js'

const issuer = 'https://api.example.com'
const keys = secretOf()
const secret = secretOf()
const person = { realm: issuer, id: 'ann', scopes: ['orders:read'], roles: ['clerk'] }
const request = {} as FastifyRequest
const callers = 50
/** Returns the number of rounds for a store. The memory store is the fastest. */
const roundsOf = (name: string) => size({ test: name === 'memory' ? 6 : 3, short: 300, full: 1_000 })
// awaited before the first test, because tap ends as soon as no test is left
const stores = await backends()
const servers = await sharedServers()
const fewerRounds = size({ test: 3, short: 100, full: 1_000 })

/** Returns the token service of one instance. */
async function serviceOn (t: Test, store: Store, reuseGrace: number): Promise<TokenService> {
  const api = withService({ issuer, audience: issuer, keys, sign: { refresh: { secret, reuseGrace }, staleness: 0 } })
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, {
    schemes: { api: api.scheme }, store: withDeadline(store, { timeout: 60 }), load: principal => principal
  })
  return api.service
}

async function begin (service: TokenService, handle = newHandle()): Promise<IssuedTokens> {
  const begun = await service.begin({
    principal: person, client: 'shop', scopes: [], authenticatedAt: null, refresh: true, roles: true, handle
  })
  if (begun === null) throw new Error('nothing was begun')
  return begun.tokens
}

async function refresh (
  service: TokenService, { refresh_token: token = '' }: IssuedTokens
): Promise<IssuedTokens | null> {
  const outcome = await service.refresh(request, token, { client: 'shop' })
  return 'kind' in outcome ? null : outcome
}

function parallel<T> (run: (i: number) => Promise<T>): Promise<readonly T[]> {
  return Promise.all(Array.from({ length: callers }, (_, i) => run(i)))
}

for (const { name, skip, make } of stores) {
  t.test(`${callers} parallel uses of one refresh token have one winner: ${name}`, { skip }, async t => {
    const state = make(t)
    const refreshed = recordEvents(t, 'token-refreshed')
    const [one, other] = [await serviceOn(t, state.open(), 30), await serviceOn(t, state.open(), 30)]
    const wrong: string[] = []
    for (let round = 0; round < roundsOf(name); round++) {
      const first = await begin(one)
      refreshed.length = 0
      const answers = await parallel(i => refresh(i % 2 === 0 ? one : other, first))
      const successors = new Set(answers.map(each => each?.refresh_token))
      if (refreshed.length !== 1 || successors.size !== 1 || answers.includes(null)) wrong.push(`round ${round}`)
      const next = await refresh(other, answers[0] ?? first)
      const isEnded = next !== null && await refresh(one, first) === null && await refresh(other, next) === null
      if (!isEnded) wrong.push(`round ${round}: an older token did not end the grant`)
    }
    t.same(wrong, [])
  })

  t.test(`without a grace, ${callers} parallel uses of one refresh token end the grant: ${name}`, { skip }, async t => {
    const state = make(t)
    const refreshed = recordEvents(t, 'token-refreshed')
    const [one, other] = [await serviceOn(t, state.open(), 0), await serviceOn(t, state.open(), 0)]
    const wrong: string[] = []
    for (let round = 0; round < fewerRounds; round++) {
      const first = await begin(one)
      refreshed.length = 0
      const answers = await parallel(i => refresh(i % 2 === 0 ? one : other, first))
      const good = answers.filter(each => each !== null)
      if (refreshed.length !== 1 || good.length !== 1) wrong.push(`round ${round}`)
      if (await refresh(one, good[0] ?? first) !== null) wrong.push(`round ${round}: the grant goes on`)
    }
    t.same(wrong, [])
  })

  t.test(`a revocation among ${callers} refreshes and beginnings leaves nothing alive: ${name}`, { skip }, async t => {
    const state = make(t)
    const [one, other] = [await serviceOn(t, state.open(), 30), await serviceOn(t, state.open(), 30)]
    const wrong: string[] = []
    for (let round = 0; round < fewerRounds; round++) {
      const handle = newHandle()
      const begun = await parallel(i => begin(i % 2 === 0 ? one : other, handle))
      if (new Set(begun.map(each => each.refresh_token)).size !== 1) wrong.push(`round ${round}: two grants`)
      const [first] = begun as readonly [IssuedTokens]
      const answers = await parallel(async i => {
        if (i !== callers / 2) return await refresh(i % 2 === 0 ? one : other, first)
        await other.revoke(first.refresh_token ?? '', 'shop')
        return null
      })
      for (const tokens of [first, ...answers]) {
        if (tokens === null) continue
        const isAlive = await refresh(one, tokens) !== null
        if (isAlive || await one.introspect(request, tokens.access_token) !== null) wrong.push(`round ${round}`)
      }
    }
    t.same(wrong, [])
  })
}

/** The number of uses in each of four processes: fifty in total. */
const teams = [13, 13, 12, 12]

async function raceProcesses (
  t: Test, store: Store, where: Pick<Instance, 'redis' | 'sql'>
): Promise<void> {
  const children = teams.map(() => forkProgram('test/fixtures/token-racer.ts'))
  t.teardown(() => { for (const child of children) child.kill('SIGKILL') })
  await store.migrate()
  for (const reuseGrace of [30, 0]) {
    await sendToAll<TokenCommand>(children, () => ({ ...where, issuer, keys, secret, reuseGrace }))
    const service = await serviceOn(t, store, reuseGrace)
    const wrong: string[] = []
    for (let round = 0; round < fewerRounds; round++) {
      const first = await begin(service)
      const token = first.refresh_token ?? ''
      const answers = await sendToAll<TokenCommand>(
        children, team => ({ token, times: teams[team] ?? 0 })
      ) as Presented[]
      const exchanges = answers.reduce((sum, each) => sum + each.exchanges, 0)
      const good = answers.flatMap(each => each.successors).filter(each => each !== null)
      const expected = reuseGrace > 0 ? 50 : 1
      if (exchanges !== 1 || good.length !== expected || new Set(good).size !== 1) wrong.push(`round ${round}`)
      const goesOn = await service.refresh(request, String(good[0]), { client: 'shop' })
      if (('access_token' in goesOn) !== (reuseGrace > 0)) wrong.push(`round ${round}: ${Object.keys(goesOn).join()}`)
      await service.end(token.slice(3, 25))
    }
    t.same(wrong, [], `one winner in each of ${fewerRounds} rounds with a grace of ${reuseGrace} s`)
    await sendToAll<TokenCommand>(children, () => 'close')
  }
}

for (const { name, skip, open } of servers) {
  t.test(`four processes on one ${name} that refresh with one token have one winner`, {
    skip: onlyInSoak('races processes') || skip
  }, async t => {
    const { store, where } = open(t)
    await raceProcesses(t, store, where)
  })
}

const families = size({ test: 1_000, short: 100_000, full: 100_000 })

t.test(`reports the heap that ${families} live grants take in the memory store`, async t => {
  const store = memoryStore({ maxRecords: families })
  const service = await serviceOn(t, store, 30)
  const before = await usedHeap()
  for (let i = 0; i < families; i++) {
    const principal = { ...person, id: `person-${i}` }
    await service.begin({
      principal,
      client: 'shop',
      scopes: person.scopes,
      authenticatedAt: new Date(),
      refresh: true,
      roles: true,
      handle: newHandle()
    })
  }
  const bytes = await usedHeap() - before
  t.comment(`${(bytes / 1_048_576).toFixed(1)} MiB, ${Math.round(bytes / families)} bytes a grant`)
  t.equal((await store.find('refresh-family', { ...person, id: `person-${families - 1}` })).length, 1)
})
