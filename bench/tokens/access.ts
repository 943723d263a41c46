import { generateKeyPairSync, hash, randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import authPlugin, { jwt } from '../../lib/index.js'
import { createHandle, RefreshTokens } from '../../lib/schemes/jwt/refresh-token.js'
import { fakeIssuer } from '../../lib/testing/index.js'
import { Client } from '../hooks/exchange.js'
import { median } from '../measure.js'

const audience = 'https://api.example.com'
const requestsPerRound = 5000
const callsPerRound = 10_000

type Scheme = ReturnType<typeof jwt>

async function guarded (user: Scheme): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(authPlugin, { schemes: { user }, default: 'user', load: principal => principal })
  app.get('/', async () => ({ hello: 'world' }))
  await app.ready()
  return app
}

/** An application that accepts a token, and the one that it is compared with: the same token, and less to check. */
interface Pair {
  readonly name: string
  readonly goal: number
  readonly app: FastifyInstance
  readonly base: FastifyInstance
  readonly token: string
}

/** Returns applications that know the keys of an issuer by discovery, and from the start. */
async function remoteKeys (): Promise<Pair> {
  await using provider = await fakeIssuer({ algorithms: ['ES256'], audience })
  const { issuer, jwksUri } = provider
  const keys = await (await fetch(jwksUri)).json() as { keys: object[] }
  const token = provider.token({}, { header: { typ: 'at+jwt' } })
  const pair = {
    app: await guarded(jwt({ issuer, audience })),
    base: await guarded(jwt({ issuer, audience, keys: keys as never }))
  }
  // the keys are fetched while the provider is there
  await pair.app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
  return { name: 'keys by discovery, beside keys in the options', goal: 0.97, token, ...pair }
}

/** Returns applications that check whether the grant of a token lives, and that do not. */
async function liveGrants (): Promise<Pair> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const refresh = { secret: randomBytes(32).toString('base64url') }
  const make = async (staleness: '10s' | false) => await guarded(jwt({
    issuer: audience, audience, keys: privateKey, sign: { realm: 'web', refresh, staleness }
  }))
  const [app, base] = [await make('10s'), await make(false)]
  const { access_token: token } = await app.gatehouse.tokens.grant({ realm: 'web', id: 'ada' })
  return { name: 'with `sid`, beside `staleness: false`', goal: 0.9, token, app, base }
}

const cpuTime = (): number => {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** Returns the CPU time of one call in µs. */
async function costOf (calls: number, work: () => unknown): Promise<number> {
  const before = cpuTime()
  await work()
  return (cpuTime() - before) / calls
}

/** Prints the cost of a repeated access token, with Fastify and without the network. */
export async function reportAccessTokens (rounds: number): Promise<void> {
  console.log('\n| a repeated access token | µs a request | of the other | ratio (10–90 %) | goal |')
  console.log('|---|---:|---:|---:|---:|')
  for (const make of [remoteKeys, liveGrants]) {
    const { name, goal, app, base, token } = await make()
    const clients = [app, base].map(each => new Client(each, [{ authorization: `Bearer ${token}` }], 200))
    for (const client of clients) await client.send(10 * requestsPerRound)
    const costs = clients.map((): number[] => [])
    for (let round = 0; round < rounds * 20; round++) {
      for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
        costs[index]?.push(await costOf(requestsPerRound, () => clients[index]?.send(requestsPerRound)))
      }
    }
    const [own = [], other = []] = costs
    const ratios = own.map((cost, i) => Number(other[i]) / cost).sort((a, b) => a - b)
    const [low, high] = [0.1, 0.9].map(share => ratios[Math.floor(share * ratios.length)]?.toFixed(2))
    console.log(`| ${name} | ${median(own).toFixed(2)} | ${median(other).toFixed(2)} | ` +
      `${median(ratios).toFixed(2)} (${low}–${high}) | ${goal} |`)
    await Promise.all([app.close(), base.close()])
  }
}

/** Prints the cost of reading a refresh token, beside that of three SHA-256 digests of the same text. */
export async function reportRefreshTokens (rounds: number): Promise<void> {
  const client = 'first-party'
  const [own, other] = [1, 2].map(() => new RefreshTokens({
    issuer: audience, prefix: 'gatehouse', secrets: [randomBytes(32)]
  })) as [RefreshTokens, RefreshTokens]
  const [good, forged] = [own, other].map(tokens => String(
    tokens.write({ handle: createHandle(), generation: 3 }, client, tokens.newest)
  )) as [string, string]
  const works: Readonly<Record<string, () => unknown>> = {
    'three digests': () => { for (let i = 0; i < 3; i++) hash('sha256', good, 'base64url') },
    'another form': () => own.read(good.slice(1), client),
    'the form, and a wrong MAC': () => own.read(forged, client),
    good: () => own.read(good, client)
  }
  const costs = Object.entries(works).map(([name, work]) => ({ name, work, us: [] as number[] }))
  for (let round = 0; round < rounds * 20; round++) {
    for (const { work, us } of costs) {
      const cost = await costOf(callsPerRound, () => { for (let i = 0; i < callsPerRound; i++) work() })
      // the first rounds warm the code up
      if (round >= rounds) us.push(cost)
    }
  }
  console.log('\n| a refresh token that is read | µs | of three SHA-256 digests |')
  console.log('|---|---:|---:|')
  const digests = median(costs[0]?.us ?? [])
  for (const { name, us } of costs) {
    console.log(`| ${name} | ${median(us).toFixed(2)} | ${(median(us) / digests).toFixed(2)} |`)
  }
}
