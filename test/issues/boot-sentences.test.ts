import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import gatehouse, {
  apiKey,
  apiKeyRoutes,
  AuthError,
  basic,
  jwt,
  memoryStore,
  secretsFromEnvironment,
  session,
  withDeadline,
  type GatehouseOptions
} from '../../lib/index.js'
import { hashPassword, passwords } from '../../lib/passwords/index.js'
import { redisStore } from '../../lib/stores/redis/index.js'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { random } from '../fixtures/secrets.js'

/** Returns the error that stops the boot of an application with these options and routes. */
async function bootError (options: object, declare: (app: FastifyInstance) => unknown = () => {}): Promise<AuthError> {
  const app = Fastify()
  try {
    await app.register(gatehouse, options as GatehouseOptions)
    await declare(app)
    await app.ready()
  } catch (error) {
    if (error instanceof AuthError) return error
    throw error
  } finally {
    await app.close()
  }
  throw new Error('it booted')
}

const secret = random()
const web = session({ secret })
const schemes = { web, service: apiKey({ managed: { prefix: 'acme' } }) }
const hash = await hashPassword('correct horse')

/** A name with characters that end a line, change the colour or direction of text, or are invisible. */
const hostile = 'clerk\n\u001b[31mroot\u202e\u2028\u200b\u009b\ud800'
const raw = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

t.test('prints no control character of a name in a boot error', async t => {
  const cases: Readonly<Record<string, () => Promise<AuthError>>> = {
    'a role that is not declared': () =>
      bootError({ schemes, default: 'web', roles: { clerk: {} } }, app =>
        app.get('/', { config: { auth: { roles: hostile as 'clerk' } } }, () => '')
      ),
    'a declared role that includes itself': () =>
      bootError({ schemes, default: 'web', roles: { [hostile]: { roles: [hostile] } } }),
    'a scope without a description': () => bootError({ schemes, default: 'web', scopes: { [hostile]: 1 } }),
    'a name of a scheme': () => bootError({ schemes: { [hostile]: web } }),
    'a scheme that is unknown': () => bootError({ schemes, default: hostile }),
    'a key that is unknown': () => bootError({ schemes, default: 'web', [hostile]: 1 }),
    'a name that stands twice': () =>
      bootError({ schemes, default: 'web' }, app =>
        app.get('/', { config: { auth: { roles: { all: [hostile, hostile] } } } as never }, () => '')
      ),
    'a prefix of routes': () =>
      bootError({ schemes, default: 'web' }, app =>
        app.register(
          async inner => {
            inner.gatehouse.default({} as never)
          },
          { prefix: `/${hostile}` }
        )
      ),
    'a public path': () => bootError({ schemes, default: 'web', publicPaths: [`/${hostile}*`] }),
    'a user of Basic': () => bootError({ schemes: { ops: basic({ users: { [hostile]: { password: random() } } }) } }),
    'an option of a scheme': () => bootError({ schemes: { web: session({ secret, cookieName: hostile }) } })
  }
  for (const [what, boot] of Object.entries(cases)) {
    const { message, detail, stack } = await boot()
    for (const text of [message, detail]) t.notMatch(text, raw, what)
    t.ok(
      message.includes('\\u{1b}[31m') ||
        message.includes('\\u001b[31m') ||
        message.includes('a text of') ||
        what === 'a user of Basic',
      `${what} is escaped, or not shown: ${message}`
    )
    t.notOk(String(stack).includes('\u001b'), what)
  }
  t.throws(
    () => secretsFromEnvironment({ [`A\n${hostile}`]: 'session', B: 'session' }, {}),
    { message: /^The environment [^\n]+\n- A[^\n]+\n- B[^\n]+$/ },
    'a sentence of several mistakes has a line for each, and no other'
  )
})

t.test('prints none in a fault outside of a request', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, {
    schemes: {
      service: apiKey({ managed: { prefix: 'acme' } }),
      user: jwt({ keys: random(), issuer: false, audience: false, sign: true })
    },
    default: 'service'
  })
  const error = await app.gatehouse.tokens.issue({ id: 'ada' }, { scheme: '\u001b[31m' as 'user' }).then(
    () => null,
    each => each as AuthError
  )
  t.match(error, { code: 'AUTH_FAULT' })
  t.notOk(String(error?.stack).includes('\u001b'))
})

/** Options that are durations or sizes, each with a function that boots with a wrong value. */
const counts: Readonly<Record<string, (wrong: never) => unknown>> = {
  'limits.guesses.perAccount': perAccount =>
    bootError({ schemes, default: 'web', limits: { guesses: { perAccount } } }),
  'limits.guesses.perAddress': perAddress =>
    bootError({ schemes, default: 'web', limits: { guesses: { perAddress } } }),
  'limits.guesses.window': window => bootError({ schemes, default: 'web', limits: { guesses: { window } } }),
  'limits.guesses.longestWindow': longestWindow =>
    bootError({ schemes, default: 'web', limits: { guesses: { longestWindow } } }),
  'limits.requests.max': max => bootError({ schemes, default: 'web', limits: { requests: { max, window: 1 } } }),
  'limits.requests.window': window => bootError({ schemes, default: 'web', limits: { requests: { max: 1, window } } }),
  'session.idleTimeout': idleTimeout => bootError({ schemes: { web: session({ secret, idleTimeout }) } }),
  'session.absoluteTimeout': absoluteTimeout => bootError({ schemes: { web: session({ secret, absoluteTimeout }) } }),
  'session.keepTimeout': keepTimeout => bootError({ schemes: { web: session({ secret, keepTimeout }) } }),
  'session.keepIdleTimeout': keepIdleTimeout =>
    bootError({ schemes: { web: session({ secret, keepTimeout: '1d', keepIdleTimeout }) } }),
  'session.staleness': staleness => bootError({ schemes: { web: session({ secret, staleness }) } }),
  'apiKey.managed.staleness': staleness =>
    bootError({ schemes: { service: apiKey({ managed: { prefix: 'acme', staleness } }) } }),
  'jwt.clockTolerance': clockTolerance =>
    bootError({ schemes: { user: jwt({ keys: random(), issuer: false, audience: false, clockTolerance }) } }),
  'jwt.maxTokenAge': maxTokenAge =>
    bootError({ schemes: { user: jwt({ keys: random(), issuer: false, audience: false, maxTokenAge }) } }),
  'jwt.cache': cache =>
    bootError({ schemes: { user: jwt({ keys: random(), issuer: false, audience: false, cache }) } }),
  'jwt.sign.expiresIn': expiresIn =>
    bootError({ schemes: { user: jwt({ keys: random(), issuer: false, audience: false, sign: { expiresIn } }) } }),
  'basic.cache.ttl': ttl => bootError({ schemes: { ops: basic({ users: { ada: { hash } }, cache: { ttl } }) } }),
  'passwords.maxLength': maxLength => passwords({ maxLength }),
  'passwords.concurrency': concurrency => passwords({ concurrency }),
  'passwords.queue': queue => passwords({ queue }),
  'passwords.maxWait': maxWait => passwords({ maxWait }),
  'passwords.hash.memorySize': memorySize => passwords({ hash: { memorySize } }),
  'passwords.hash.cost': cost => passwords({ hash: { algorithm: 'bcrypt', cost } }),
  'memoryStore.maxRecords': maxRecords => memoryStore({ maxRecords }),
  'memoryStore.maxCounters': maxCounters => memoryStore({ maxCounters }),
  'sqlStore.timeout': timeout => sqlStore({ sqlite: ':memory:', timeout }),
  'redisStore.timeout': timeout => redisStore({ url: 'redis://127.0.0.1:1', timeout }),
  'withDeadline.timeout': timeout => withDeadline(memoryStore(), { timeout }),
  'apiKeyRoutes.maxAge': maxAge => routes({ maxAge }),
  'apiKeyRoutes.maxKeys': maxKeys => routes({ maxKeys }),
  'apiKeyRoutes.maxOverlap': maxOverlap => routes({ maxOverlap }),
  'apiKeyRoutes.rateLimit.max': max => routes({ rateLimit: { max, window: 1 } }),
  'apiKeyRoutes.rateLimit.window': window => routes({ rateLimit: { max: 1, window } }),
  'apiKeyRoutes.leaks.bodyLimit': bodyLimit => routes({ leaks: { publicKeys: () => null, bodyLimit } }),
  'config.auth.maxAge': maxAge =>
    bootError({ schemes, default: 'web' }, app => app.get('/', { config: { auth: { maxAge } } }, () => '')),
  'config.auth.rateLimit.max': max =>
    bootError({ schemes, default: 'web' }, app =>
      app.get('/', { config: { auth: { rateLimit: { max, window: 1 } } } }, () => '')
    ),
  'config.auth.rateLimit.window': window =>
    bootError({ schemes, default: 'web' }, app =>
      app.get('/', { config: { auth: { rateLimit: { max: 1, window } } } }, () => '')
    )
}

async function routes (options: object): Promise<AuthError> {
  return bootError({ schemes, default: 'web' }, app => app.register(apiKeyRoutes, { prefix: '/keys', ...options }))
}

t.test('stops the boot for null as a duration or a size', async t => {
  for (const [option, boot] of Object.entries(counts)) {
    const key = String(option.split('.').at(-1))
    for (const wrong of [null, 'soon', {}]) {
      const stopped = await Promise.resolve(wrong)
        .then(async value => boot(value as never))
        .catch((error: unknown) => error)
      t.match(
        stopped,
        { code: 'AUTH_MISCONFIGURED', message: new RegExp(key) },
        `${option}: ${JSON.stringify(wrong)}`
      )
    }
  }
  t.throws(() => passwords({ hash: null as never }), {
    code: 'AUTH_MISCONFIGURED',
    message: /passwords\.hash must be an object/
  })
})

t.test('says which names schemes may have, also for a name that is not shown', async t => {
  const { message } = await bootError({ schemes: { 'kunden login': web } })
  t.equal(message, "The name of a scheme cannot be a text of 12 characters. Use letters, digits, '-' and '_', with a " +
    'letter first.')
})

t.test('says what to pass to a guard or a default without a policy', async t => {
  const calls: ReadonlyArray<(app: FastifyInstance) => unknown> = [
    app => app.gatehouse.guard(undefined as never),
    app => { app.gatehouse.default(undefined as never) }
  ]
  for (const call of calls) {
    const { message } = await bootError({ schemes, default: 'web' }, call)
    t.match(message, /Got undefined\. Write true for the default\.$/)
  }
})
