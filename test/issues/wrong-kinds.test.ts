import Fastify from 'fastify'
import t from 'tap'
import gatehouse, { jwt, session, type GatehouseOptions } from '../../lib/index.js'
import { oidcLogin } from '../../lib/oidc/index.js'
import { fakeIssuer, testAccess } from '../../lib/testing/index.js'
import { serverApp } from '../oauth/app.js'
import { believer } from '../fixtures/policies.js'
import { secretOf } from '../fixtures/tokens.js'

/* An option of a wrong kind is refused with a sentence, and never taken for an empty one. */

const tables = [new Map([['orders:read', 'Read orders']]), new Date(0), new Set(['a']), new URL('https://a.example')]

t.test('a Map is no object of names, and does not count as an empty one', async t => {
  for (const table of tables) {
    for (const [path, options] of Object.entries({
      scopes: { scopes: table }, roles: { roles: table }, 'limits.plans': { limits: { plans: table } }
    })) {
      const app = Fastify()
      const all = { schemes: { user: believer('user') }, ...options } as unknown as GatehouseOptions
      await t.rejects(async () => { await app.register(gatehouse, all) }, {
        code: 'AUTH_MISCONFIGURED', message: new RegExp(`^The option ${path} must be an object from .* Got `)
      })
    }
  }
  const app = Fastify()
  await app.register(gatehouse, { schemes: { user: believer('user') } })
  const tests = testAccess(app, async () => {}, { examples: new Map() as never })
  await t.rejects(tests, { code: 'AUTH_MISCONFIGURED', message: /examples must be an object of values by pattern/ })
})

t.test('a scheme of the application has members of the right kinds', async t => {
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    challenge: ['APIKey', null],
    refuse: [true],
    load: ['load', {}],
    sources: ['header:x-key', [1], null],
    realms: ['people', [null], ['']],
    cacheControl: [60, '', 'private\r\nx: y', ' private', 'privé']
  }
  for (const [member, values] of Object.entries(wrong)) {
    for (const value of values) {
      const app = Fastify()
      const user = { ...believer('user'), [member]: value } as never
      await t.rejects(async () => { await app.register(gatehouse, { schemes: { user } }) }, {
        code: 'AUTH_MISCONFIGURED',
        message: new RegExp(`^The option schemes\\.user\\.${member}(?:\\[0\\])? must be .*\\. Got .*\\.$`)
      })
    }
  }
  const app = Fastify()
  const user = { ...believer('user'), load: null, ambient: false, realms: ['people'], cacheControl: 'private' }
  await app.register(gatehouse, { schemes: { user } })
  await app.ready()
  await app.close()
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
    algorithms: [null, 'RS256', [], ['HS256']],
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

t.test('a change of a client that is no object is a fault of the call', async t => {
  const clients = (await serverApp(t)).gatehouse.oauth.clients.of({ realm: 'web', id: 'ann' })
  const { client: { id } } = await clients.create({ name: 'x', grants: ['client_credentials'] })
  for (const change of [null, undefined, 'name', ['name']]) {
    const detail = /oauth\.clients\.update\(\) must be an object/
    await t.rejects(clients.update(id, change as never), { code: 'AUTH_FAULT', detail })
  }
})
