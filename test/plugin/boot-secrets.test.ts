import { generateKeyPairSync } from 'node:crypto'
import { inspect } from 'node:util'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import t from 'tap'
import gatehouse, {
  apiKey,
  apiKeyRoutes,
  basic,
  jwt,
  secretsFromEnvironment,
  session,
  withDeadline,
  type GatehouseOptions,
  type Scheme,
  type Store
} from '../../lib/index.js'
import { passwords } from '../../lib/passwords/index.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { Ledger, random, tracing } from '../fixtures/secrets.js'

const ledger = new Ledger()
const wrong = (name: string, length = 32): string => ledger.keep(name, random(length))
const { logger, lines } = tracing()
const log = Fastify({ logger }).log
let output = ''

/** Records a boot error in every form in which it may be logged or inspected. */
function logInEveryWay (error: unknown): void {
  log.error({ err: error }, 'the boot stopped')
  log.error(error)
  const inspected = inspect(error, { depth: 9, showHidden: true })
  const forms = [String(error), (error as Error).stack, inspected, JSON.stringify(error)]
  output += `${forms.join('\n')}\n`
}

async function boots (schemes: Readonly<Record<string, unknown>>, more: object = {}): Promise<void> {
  const app = Fastify({ logger })
  try {
    await app.register(gatehouse, { schemes, ...more } as GatehouseOptions)
    await app.ready()
  } finally {
    await app.close()
  }
}

/** Closes a store when the test ends. */
function ending (store: Store): Store {
  t.teardown(() => store.close())
  return store
}

const users = (user: object) => ({ basic: basic({ users: { ada: user } } as never) })
const jwtOf = (keys: unknown) => ({ user: jwt({ keys, issuer: false, audience: false } as never) })
const plain: Scheme = { openapi: { type: 'http', scheme: 'bearer' }, authenticate: () => ({ kind: 'absent' }) }
const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()
ledger.keep('a private key', pem.replace(/-----[^-]+-----|\s/g, '').slice(40))

const repeated = wrong('half of a secret', 9).repeat(4)

/** Mistakes in options that contain a secret. */
const mistakes: Readonly<Record<string, () => unknown>> = {
  'a short session secret': () => boots({ web: session({ secret: wrong('a short secret', 20) }) }),
  'one of a list': () => boots({ web: session({ secret: [random(), wrong('a short secret', 20)] }) }),
  'a weak session secret': () => boots({ web: session({ secret: repeated }) }),
  'the secret instead of the options': () => boots({ web: session(wrong('a session secret') as never) }),
  'the secret as an option of session': () =>
    boots({ web: session({ secret: random(), [wrong('a session secret')]: true } as never) }),
  'a short JWT secret': () => boots(jwtOf(wrong('a short secret', 20))),
  'a weak JWT secret': () => boots(jwtOf(repeated)),
  'a JWT secret by kid': () => boots(jwtOf({ one: wrong('a short secret', 20) })),
  'a cut PEM': () => boots(jwtOf(pem.slice(0, -60))),
  'a malformed JWK': () => boots(jwtOf({ keys: [{ kty: 'oct', k: `${wrong('a JWK')}!` }] })),
  'a short key': () => boots({ service: apiKey({ keys: { [wrong('a short key', 12)]: { id: 'a' } } }) }),
  'a weak key': () => boots({ service: apiKey({ keys: { [repeated]: { id: 'a' } } }) }),
  'a key that cannot travel': () => boots({ service: apiKey({ keys: { [`${wrong('a key')} `]: { id: 'a' } } }) }),
  'a key without a valid principal': () => boots({ service: apiKey({ keys: { [wrong('a key')]: {} as never } }) }),
  'a key without the prefix': () =>
    boots({ service: apiKey({ keys: { [wrong('a key')]: { id: 'a' } }, prefix: 'acme_' }) }),
  'keys instead of the options': () => boots({ service: apiKey({ [wrong('a key')]: { id: 'a' } } as never) }),
  'a key as the prefix of managed keys': () => boots({ service: apiKey({ managed: { prefix: wrong('a key', 40) } }) }),
  'a password that is too short': () => boots(users({ password: wrong('a password', 16).slice(0, 7) })),
  'a password with a control character': () => boots(users({ password: `${wrong('a password', 16)}\u0007` })),
  'a password and a hash': () => boots(users({ password: wrong('a password', 16), hash: wrong('a hash') })),
  'a malformed hash': () => boots(users({ hash: `$argon2id$${wrong('a hash')}` })),
  'a password behind the name': () =>
    boots({ basic: basic({ users: { [`ada:${wrong('a password', 16)}`]: { password: random() } } }) }),
  'a user that is a password': () => boots({ basic: basic({ users: { ada: wrong('a password', 16) } } as never) }),
  'a short pepper': () => passwords({ pepper: { id: 'p1', secret: wrong('a pepper', 20) } }),
  'a pepper instead of its options': () => passwords({ pepper: wrong('a pepper') as never }),
  'a short device secret': () =>
    boots({ plain }, { limits: { guesses: { deviceSecret: wrong('a device secret', 20) } } }),
  'an origin with a password': () =>
    boots({ plain }, { origins: [`https://ada:${wrong('a password', 16)}@example.com`] }),
  'an environment with missing or wrong secrets': () =>
    secretsFromEnvironment(
      { A: 'session', B: 'jwt', C: 'password', D: 'pepper' },
      { A: wrong('a short secret', 20), B: `${wrong('a secret')} `, C: wrong('a password', 10), D: repeated }
    ),
  'one secret for two purposes': () => {
    const one = wrong('a secret')
    return secretsFromEnvironment({ A: 'session', B: 'jwt' }, { A: one, B: one })
  },
  'an address of another database': () =>
    sqlStore({ connectionString: `mysql://ada:${wrong('a password', 16)}@127.0.0.1/test` }),
  'an address in the place of a file': () =>
    boots({ plain }, { store: ending(sqlStore({ sqlite: `/nowhere/${wrong('a password', 16)}` })) }),
  'a PostgreSQL that is not there': () =>
    boots(
      { plain },
      { store: ending(sqlStore({ connectionString: `postgres://ada:${wrong('a password', 16)}@127.0.0.1:1/test` })) }
    ),
  'an address that cannot be read': () =>
    boots(
      { plain },
      { store: ending(sqlStore({ connectionString: `postgres://ada:${wrong('a password', 16)}@[::bad/test` })) }
    ),
  'an address of no Redis': () => redisStore({ url: `http://ada:${wrong('a password', 16)}@127.0.0.1` }),
  'a Redis that is not there': () =>
    withDeadline(ending(redisStore({ url: `redis://ada:${wrong('a password', 16)}@127.0.0.1:1`, timeout: 0.3 }))).get(
      'a',
      'a'
    ),
  'a client instead of a Redis': async () => {
    const client = new Redis({ lazyConnect: true, password: wrong('a password', 16) })
    client.disconnect()
    await boots({ plain }, { limits: { redis: { ...client } } })
  },
  'a private key of reporters': async () => {
    const app = Fastify({ logger })
    await app.register(gatehouse, {
      schemes: { web: session({ secret: random() }), service: apiKey({ managed: { prefix: 'acme' } }) },
      default: ['web', 'service']
    })
    await app.register(apiKeyRoutes, { prefix: '/keys', leaks: { publicKeys: { one: pem } } })
  }
}

t.test('no representation of a boot error reveals a secret', async t => {
  for (const [what, boot] of Object.entries(mistakes)) {
    const before = output.length
    try {
      await boot()
      t.fail(`${what} was accepted`)
    } catch (error) {
      logInEveryWay(error)
      t.same(ledger.found(output.slice(before)), [], what)
    }
  }
  ledger.check(t, { 'what the errors say': output, 'the log at trace': lines() })
})
