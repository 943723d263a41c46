import Fastify from 'fastify'
import t from 'tap'
import gatehouse, {
  absent, apiKey, apiKeyRoutes, basic, jwt, secretsFromEnvironment, session, type GatehouseOptions
} from '../../lib/index.js'
import { oidcLogin } from '../../lib/oidc/index.js'
import { fakeIssuer, testAccess } from '../../lib/testing/index.js'
import { serverApp } from '../oauth/app.js'
import { headerScheme } from '../fixtures/policies.js'
import { secretOf } from '../fixtures/tokens.js'

/** An option of a wrong type is refused with an error, and never treated as an empty one. */

const tables = [new Map([['orders:read', 'Read orders']]), new Date(0), new Set(['a']), new URL('https://a.example')]

t.test('refuses a Map as an object of names, which would count as empty', async t => {
  for (const table of tables) {
    for (const [path, options] of Object.entries({
      scopes: { scopes: table }, roles: { roles: table }, 'limits.plans': { limits: { plans: table } }
    })) {
      const app = Fastify()
      const all = { schemes: { user: headerScheme('user') }, ...options } as unknown as GatehouseOptions
      await t.rejects(async () => { await app.register(gatehouse, all) }, {
        code: 'AUTH_MISCONFIGURED', message: new RegExp(`^The option ${path} must be an object from .* Got `)
      })
    }
  }
  const app = Fastify()
  await app.register(gatehouse, { schemes: { user: headerScheme('user') } })
  const tests = testAccess(app, async () => {}, { examples: new Map() as never })
  await t.rejects(tests, { code: 'AUTH_MISCONFIGURED', message: /examples must be an object of values by pattern/ })
})

t.test('a scheme of the application has members of the right kinds', async t => {
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    challenge: ['APIKey', null, async () => null],
    refuse: [true],
    load: ['load', {}],
    sources: ['header:x-key', [1], null],
    realms: ['people', [null], ['']],
    delegated: ['false', null],
    reportsAuthTime: ['no'],
    accepts: ['issuer', ['issuer'], new Map(), null],
    cacheControl: [60, '', 'private\r\nx: y', ' private', 'privé']
  }
  for (const [member, values] of Object.entries(wrong)) {
    for (const value of values) {
      const app = Fastify()
      const user = { ...headerScheme('user'), [member]: value } as never
      await t.rejects(async () => { await app.register(gatehouse, { schemes: { user } }) }, {
        code: 'AUTH_MISCONFIGURED',
        message: new RegExp(`^The option schemes\\.user\\.${member}(?:\\[0\\])? must be .*\\. Got .*\\.$`)
      })
    }
  }
  const app = Fastify()
  const user = { ...headerScheme('user'), load: null, ambient: false, realms: ['people'], cacheControl: 'private' }
  await app.register(gatehouse, { schemes: { user } })
  await app.ready()
  await app.close()
})

t.test('refuses a description of a custom scheme that is not JSON', async t => {
  const cyclic: Record<string, unknown> = {}
  cyclic['self'] = cyclic
  const wrong: ReadonlyArray<readonly [members: object, place: string]> = [
    [{ accepts: { since: new Date() } }, 'schemes.user.accepts.since cannot be stored as JSON'],
    [{ accepts: { size: 5n } }, 'schemes.user.accepts.size cannot be stored as JSON'],
    [{ accepts: cyclic }, 'nested too deeply, or in itself'],
    [{ openapi: { type: 'http', scheme: 'bearer', 'x-size': 5n } }, 'schemes.user.openapi.x-size cannot be stored'],
    [{ openapi: new (class { type = 'http'; scheme = 'bearer' })() }, 'schemes.user.openapi must be a plain object']
  ]
  for (const [members, message] of wrong) {
    const schemes = { user: { ...headerScheme('user'), ...members } as never }
    await t.rejects(async () => { await Fastify().register(gatehouse, { schemes }) }, {
      code: 'AUTH_MISCONFIGURED', message: new RegExp(message.replaceAll('.', '\\.'))
    })
  }
  const hostile = { ...headerScheme('user'), accepts: { get issuer () { throw new RangeError('of the application') } } }
  await t.rejects(async () => { await Fastify().register(gatehouse, { schemes: { user: hostile as never } }) }, {
    message: 'of the application'
  })
})

t.test('stops the boot for a class as a scheme, and for an id of a user of Basic', async t => {
  class Own { readonly openapi = headerScheme('user').openapi; authenticate () { return absent } }
  await t.rejects(async () => { await Fastify().register(gatehouse, { schemes: { user: Own as never } }) }, {
    code: 'AUTH_MISCONFIGURED', message: /^The option schemes\.user is a class\. Create the scheme with new/
  })
  const app = Fastify()
  await app.register(gatehouse, { schemes: { user: new Own() } })
  await app.close()
  const password = secretOf()
  const ops = basic({ users: { ada: { password, id: 'root' } as never } })
  await t.rejects(async () => { await Fastify().register(gatehouse, { schemes: { ops } }) }, {
    code: 'AUTH_MISCONFIGURED',
    message: "The user 'ada' of schemes.ops has an id, which is always the name of the user. Leave it out."
  })
})

t.test('lists of names have no holes, and purposes of secrets are texts', async t => {
  // eslint-disable-next-line no-sparse-arrays
  const holes = ['a', , 'b'] as never
  const user = (options: object) => jwt({ issuer: 'https://id.test', audience: 'a', ...options })
  for (const option of ['audience', 'insecureHosts']) {
    const schemes = { user: user({ [option]: holes }) }
    await t.rejects(async () => { await Fastify().register(gatehouse, { schemes }) }, {
      code: 'AUTH_MISCONFIGURED', message: new RegExp(`schemes\\.user\\.${option} must be`)
    })
  }
  for (const kind of ['roles', 'scopes']) {
    const options = { schemes: { user: headerScheme('user') }, scopes: { a: '' }, roles: { admin: { [kind]: holes } } }
    await t.rejects(async () => { await Fastify().register(gatehouse, options as never) }, {
      code: 'AUTH_MISCONFIGURED', message: `The option roles['admin'].${kind} must be a list of names. Got a list.`
    })
  }
  for (const purpose of [Object.create(null), ['session'], null, 5n, Symbol('session')] as never[]) {
    t.throws(() => secretsFromEnvironment({ A: purpose }, { A: secretOf() }), {
      code: 'AUTH_MISCONFIGURED', message: /^secretsFromEnvironment does not know the purpose .* of A\. Known: session,/
    })
  }
})

t.test('the public keys of leaks are an object, a Map or a function, and no promise of them', async t => {
  for (const publicKeys of [Promise.resolve({}), new Set(['key']), new Date(), [], null]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, {
      schemes: { web: session({ secret: secretOf() }), keys: apiKey({ managed: { prefix: 'acme' } }) }, default: 'web'
    })
    await t.rejects(async () => { await app.register(apiKeyRoutes, { leaks: { publicKeys: publicKeys as never } }) }, {
      code: 'AUTH_MISCONFIGURED', message: /apiKeyRoutes\.leaks\.publicKeys must be an object or a Map/
    })
  }
})

t.test('true or an object turns a part on, and the message for other values says so', async t => {
  const user = (options: object) => jwt({ issuer: 'https://id.test', audience: 'https://api.test', ...options })
  for (const value of [false, null, 'yes']) {
    for (const name of ['sign', 'resource']) {
      const app = Fastify()
      const schemes = { user: user({ [name]: value }) }
      await t.rejects(async () => { await app.register(gatehouse, { schemes }) }, {
        message: new RegExp(`^The option schemes\\.user\\.${name} must be true or an object\\. Got .*\\.$`)
      })
    }
  }
})

t.test('fakeIssuer checks the kind of each of its options', async t => {
  const wrong: Record<string, readonly unknown[]> = {
    algorithms: [null, 'RS256', []],
    audience: [null, ['a'], '', 1],
    path: [null, 'one', NaN, '/a?b', 'https://a.example'],
    metadata: [null, 'saml', true],
    cacheControl: [null, 60, '']
  }
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      const message = new RegExp(`^The option fakeIssuer\\.${name} must be `)
      const made = fakeIssuer({ [name]: value })
      made.then(async issuer => { await issuer.close() }, () => {})
      await t.rejects(made, { code: 'AUTH_MISCONFIGURED', message })
    }
  }
  await using slash = await fakeIssuer({ path: '/' })
  t.match(slash.issuer, /^http:\/\/127\.0\.0\.1:\d+\/$/)
})

t.test('a login boots with a client id of any length', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { web: session({ secret: secretOf() }) } })
  await app.register(oidcLogin, {
    redirectUri: 'https://app.example.com/login/idp/callback',
    issuer: 'https://id.example.com',
    clientId: `https://app.example.com/${'a'.repeat(1100)}`,
    session: 'web',
    person: () => null
  })
  await t.resolves(async () => { await app.ready() })
})

t.test('a change of a client that is not an object is a fault of the call', async t => {
  const clients = (await serverApp(t)).gatehouse.oauth.clients.of({ realm: 'web', id: 'ann' })
  const { client: { id } } = await clients.create({ name: 'x', grants: ['client_credentials'] })
  for (const change of [null, undefined, 'name', ['name']]) {
    const detail = /oauth\.clients\.update\(\) must be an object/
    await t.rejects(clients.update(id, change as never), { code: 'AUTH_FAULT', detail })
  }
})
