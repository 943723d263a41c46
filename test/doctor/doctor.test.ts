import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { descriptions, findingIds } from '../../lib/doctor/findings.js'
import gatehouse, { apiKey, AuthError, basic, session, type GatehouseOptions } from '../../lib/index.js'
import type { FindingId } from '../../types/doctor.js'
import { withEnvironment } from '../fixtures/production.js'
import { secretOf } from '../fixtures/tokens.js'
import { cases, createApplication, ownStore, type SetUp } from './set-ups.js'

interface Line { readonly level: number, readonly msg: string, readonly doctor?: string }

/** Boots an application. Returns what its doctor logged, and the error that stopped the boot. */
async function boot (t: Test, setUp: SetUp, doctor?: GatehouseOptions['doctor']) {
  const lines: Line[] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line) as Line) } }
  const hasLogger = setUp.fastify !== undefined && 'loggerInstance' in setUp.fastify
  const given = setUp.fastify?.logger
  const logger = typeof given === 'object' ? { level: 'info', ...given, stream } : { level: 'info', stream }
  const fastify = hasLogger
    ? { loggerInstance: customLogger(lines, setUp.fastify?.loggerInstance) }
    : { ...setUp.fastify, logger }
  const app = await createApplication({ ...setUp, fastify: fastify as never }, doctor)
  t.teardown(() => app.close())
  const error = await app.ready().then(() => null, (error: unknown) => error)
  return { app, error, lines: lines.filter(({ doctor }) => doctor !== undefined) }
}

/** Creates a logger that is not pino, and records its warnings and infos. */
function customLogger (lines: Line[], given: unknown): object {
  const keep = (level: number) => (fields: object, msg: string) => { lines.push({ level, msg, ...fields }) }
  const logger = { ...given as object, warn: keep(40), info: keep(30) }
  return Object.assign(logger, { child: () => logger })
}

/** Returns the places of a finding. */
function placesOf (app: FastifyInstance, id: FindingId): readonly string[] {
  return app.gatehouse.doctor().find(each => each.id === id)?.where ?? []
}

for (const { id, at, where, bad, good } of cases) {
  t.test(`finds ${id} in ${String(where)}`, async t => {
    const { severity } = descriptions[id]
    const found = await boot(t, bad)
    t.equal(found.error, null)
    t.match(placesOf(found.app, id), where)
    t.equal(placesOf(found.app, id).length, where.length)
    t.equal(
      found.lines.some(({ doctor, level }) => doctor === id && level === 40), at === 'boot', 'a warning in development'
    )

    const started = await withEnvironment('production', async () => await boot(t, bad))
    if (severity === 'refused') {
      t.match((started.error as AuthError).message, new RegExp(`NODE_ENV=production.*\\n(- .*\\n)*- ${id}: `))
      t.notOk(
        started.lines.some(({ doctor }) => doctor === id), 'a boot that is refused has no warnings of its findings'
      )
    } else {
      t.ok(started.lines.some(({ doctor, level }) => doctor === id && level === 40), 'in production')
    }
  })

  t.test(`ignores ${id} in ${String(where)} with a reason`, async t => {
    const { app, error, lines } = await withEnvironment(
      'production', async () => await boot(t, bad, { ignore: { [id]: 'for this test' } })
    )
    t.notMatch((error as AuthError | null)?.message ?? '', `- ${id}:`)
    const { severity } = descriptions[id]
    t.match(app.gatehouse.doctor().find(each => each.id === id), { severity, ignored: 'for this test' })
    if (error !== null) return
    const own = lines.filter(({ doctor }) => doctor === id)
    t.match(own, [{ level: 30, ignored: 'for this test', msg: /, which is accepted: for this test$/ }])
    t.equal(own.length, 1)
  })

  t.test(`is silent about ${id} where all is well, not in ${String(where)}`, async t => {
    const { app, error, lines } = await withEnvironment('production', async () => await boot(t, good))
    t.notMatch((error as AuthError | null)?.message ?? '', id)
    t.same(placesOf(app, id), [])
    t.same(lines.filter(({ doctor }) => doctor === id), [])
  })
}

t.test('finds nothing in a correct set-up', async t => {
  const { app, error, lines } = await withEnvironment('production', async () => await boot(t, {}))
  t.same([error, lines, app.gatehouse.doctor()], [null, [], []])
})

t.test('knows the words of development set-ups and examples, and no random key', async t => {
  const words = [
    'dev-secret', 'local.only', 'test_password', 'testing.passwd', 'stagingtoken', 'sample-session', 'Dummy-Secret',
    'unsafe-secret', 'development', 'not-for-production', 'notinprod', 'do-not-use', 'donotuse', 'insecure',
    'change-me', 'changethis', 'change_it', 'replace-me', 'replacethis', 'replace_it', 'replacewith', 'your-secret',
    'your.own.key', 'yourPassword', 'your_token', 'placeholder', 'example', '...', 'password', 'default', 'secret'
  ]
  const found = async (beginnings: readonly string[]) => {
    const keys = Object.fromEntries(beginnings.map(word => [`${word}-${secretOf()}`, { id: 'a' }]))
    const { app } = await boot(t, { options: { schemes: { shop: apiKey({ keys }) } } })
    return placesOf(app, 'placeholder-secret')
  }
  t.same(await found(words), words.map((_word, i) => `key ${i + 1} of schemes.shop.keys`))
  t.same(await found(['developer', 'a-default', 'my-password', 'the-secret', 'prod-session', 'a-test', 'test']), [])
})

t.test('boots an application without a secret', async t => {
  const schemes = { ops: basic({ verify: () => null }) }
  const { app, error } = await boot(t, { options: { schemes, limits: { guesses: false } } })
  t.same([error, app.gatehouse.doctor()], [null, []])
})

t.test('refuses everything dangerous in one error, and warns about the rest', async t => {
  const setUp: SetUp = {
    options: { schemes: { web: session({ secret: `dev-secret-${secretOf()}`, secure: false }) } },
    fastify: { trustProxy: true }
  }
  const { error, lines } = await withEnvironment('production', async () => await boot(t, setUp))
  const { code, message } = error as AuthError
  t.equal(code, 'AUTH_MISCONFIGURED')
  t.match(message, /\n- placeholder-secret: a secret .*\(schemes\.web\.secret\).*\n- insecure-cookies: session cookies/)
  t.equal(message.split('\n').length, 3)
  const warning = { level: 40, doctor: 'trust-proxy-all', where: ['trustProxy: true'] }
  t.match(lines, [{ ...warning, msg: /^fastify-gatehouse: trustProxy is true \(/ }])
  t.equal(lines.length, 1)
})

t.test('shortens a long list of places in the log, and returns all of them', async t => {
  const { app, lines } = await withEnvironment('production', async () => await boot(t, {
    declare: app => {
      for (let i = 0; i < 12; i++) app.get(`/${i}`, { config: { auth: false } }, async () => [])
    }
  }))
  t.match(lines.filter(({ doctor }) => doctor === 'public-without-reason'), [{ msg: /GET \/5 .* and 2 more\)\./ }])
  t.equal(placesOf(app, 'public-without-reason').length, 12)
})

t.test('returns frozen findings without a secret', async t => {
  const secret = `dev-secret-${secretOf()}`
  const { app, lines } = await boot(t, {
    options: { schemes: { web: session({ secret }), other: basic({ users: { ann: { password: secret } } }) } }
  })
  const findings = app.gatehouse.doctor()
  t.match(findings.map(({ id }) => id), ['placeholder-secret', 'shared-secret'])
  t.ok(Object.isFrozen(findings) && findings.every(each => Object.isFrozen(each) && Object.isFrozen(each.where)))
  t.notMatch(JSON.stringify([findings, lines]), secret.slice(0, 14))
})

t.test('stops the boot for unknown ids, and for reasons without content', async t => {
  const table: [doctor: unknown, message: RegExp][] = [
    [{ ignore: { 'memory-stor': 'why' } }, /^The option doctor\.ignore has an unknown key '?memory-stor/],
    [{ ignore: { 'memory-store': ' ' } }, /^The option doctor\.ignore\['memory-store'\] must be the reason why/],
    [{ ignore: { 'memory-store': true } }, /must be the reason why this is accepted\. Got/],
    [{ ignore: { 'memory-store': undefined } }, /'memory-store' set to undefined/],
    [{ ignore: [] }, /The option doctor\.ignore must be/],
    [{ ignored: {} }, /The option doctor has an unknown key 'ignored'\. Did you mean 'ignore'/],
    [false, /The option doctor must be an object/]
  ]
  for (const [doctor, message] of table) {
    const error = { code: 'AUTH_MISCONFIGURED', message }
    await t.rejects(createApplication({}, doctor as never), error, JSON.stringify(doctor))
  }
})

t.test('warns of a login without guesses.attempt, once for a route', async t => {
  const setUp: SetUp = {
    options: {
      schemes: { web: session({ secret: secretOf() }), ops: basic({ users: { ann: { password: secretOf() } } }) }
    },
    declare: app => {
      const open = { config: { auth: { public: 'logs people in' } } }
      const login = async (_request: unknown, reply: Pick<FastifyReply, 'login'>) => {
        await reply.login({ id: 'ann' }, { scheme: 'web' })
        return ''
      }
      app.post('/login/:realm', open, login)
      app.get('/link', open, login)
      app.post('/limited', open, async (request, reply) => {
        await app.gatehouse.guesses.attempt(reply, 'ann', () => true)
        return await login(request, reply)
      })
      app.post('/callback', open, async (_request, reply) => {
        await reply.login({ id: 'ann' }, { stateChecked: true })
        return ''
      })
      app.post('/renew', { config: { auth: 'web' } }, login)
      app.post('/failed', open, async (_request, reply) => {
        await reply.login(null as never)
      })
    }
  }
  const visit = async ({ app }: { readonly app: FastifyInstance }, ...urls: string[]) => {
    for (const url of urls) {
      const method = url === '/link' ? 'GET' : 'POST'
      t.equal((await app.inject({ method, url })).statusCode, url === '/failed' ? 500 : 200, url)
    }
  }
  const fine = await boot(t, setUp)
  await visit(fine, '/link', '/limited', '/callback', '/failed')
  const { headers } = await fine.app.inject('/link')
  const cookie = String(headers['set-cookie']).split(';', 1)[0]
  t.equal((await fine.app.inject({ method: 'POST', url: '/renew', headers: { cookie } })).statusCode, 200)
  t.same([fine.lines, placesOf(fine.app, 'unlimited-login')], [[], []])

  const lines: Line[] = []
  const stream = { write: (line: string) => { lines.push(JSON.parse(line) as Line) } }
  const app = await createApplication({ ...setUp, fastify: { logger: { level: 'warn', stream } } })
  t.teardown(() => app.close())
  await visit({ app }, '/login/a', '/login/b')
  t.match(lines, [{ doctor: 'unlimited-login', where: ['POST /login/:realm'], msg: /guesses\.attempt/, level: 40 }])
  t.equal(lines.length, 1)
  t.same(placesOf(app, 'unlimited-login'), ['POST /login/:realm'])

  lines.length = 0
  const accepted = await createApplication(
    { ...setUp, fastify: { logger: { level: 'warn', stream } } },
    { ignore: { 'unlimited-login': 'people have passkeys' } }
  )
  const unlimited = await createApplication({
    ...setUp, fastify: { logger: { level: 'warn', stream } }, options: { ...setUp.options, limits: { guesses: false } }
  })
  for (const app of [accepted, unlimited]) {
    t.teardown(() => app.close())
    await visit({ app }, '/login/a')
  }
  t.same(lines, [])
  t.match(accepted.gatehouse.doctor(), [{ id: 'unlimited-login', ignored: 'people have passkeys' }])
  t.same(placesOf(unlimited, 'unlimited-login'), [])
})

t.test('finds trustProxy from a child context', async t => {
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  await app.register(async inner => {
    await inner.register(gatehouse, {
      schemes: { ops: basic({ verify: () => null }) }, outside: 'allow', store: ownStore()
    })
    inner.get('/', async () => '')
    t.match(inner.gatehouse.doctor(), [{ id: 'trust-proxy-all' }])
  })
  await app.ready()
})

t.test('the documentation has every finding, in the order of the code', async t => {
  const page = readFileSync(new URL('../../docs/doctor.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| `([a-z-]+)` \| (refused|warned) \| ([^|]+) \|/gm)].map(([, ...cells]) => cells)
  const logged = {
    boot: 'at boot', production: 'at boot in production', command: 'by the command', request: 'while it happens'
  }
  t.same(rows, findingIds.map(id => [id, descriptions[id].severity, logged[descriptions[id].at]]))
})

t.test('refuses a process that has loaded the test kit in production, from then on', async t => {
  const ready = async (doctor?: GatehouseOptions['doctor']) => {
    const app = await createApplication({}, doctor)
    t.teardown(() => app.close())
    await app.ready()
    return app.gatehouse.doctor()
  }
  t.same(await withEnvironment('production', async () => await ready()), [])
  await import('../../lib/testing/index.js')
  await t.rejects(
    withEnvironment('production', async () => await ready()),
    { code: 'AUTH_MISCONFIGURED', message: /- test-kit: the test kit is loaded \(fastify-gatehouse\/testing\)\./ }
  )
  const ignore = { 'test-kit': 'tests of a production build' }
  t.match(await withEnvironment('production', async () => await ready({ ignore })), [{ id: 'test-kit' }])
  t.match(await ready(), [{ id: 'test-kit', severity: 'refused', ignored: null }], 'boots in tests')
})
