import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { auditMarkdown, auditTable } from '../../../lib/audit/rows.js'
import gatehouse, {
  apiKey, session, type GatehouseOptions, type JwtOptions, type Principal, type PrincipalInput, type RouteAuth
} from '../../../lib/index.js'
import type { TokenService } from '../../../types/tokens.js'
import { readChallenges } from '../../fixtures/challenges.js'
import { newHandle, withService } from '../../fixtures/token-service.js'
import { pair, secretOf } from '../../fixtures/tokens.js'
import { exactly } from '../../fixtures/exactly.js'

const { privateKey } = pair('ec')
const issuer = 'https://api.example.com'
const ann = { realm: 'web', id: 'ann', scopes: ['orders:read', 'orders:write'], roles: ['clerk'] }

function own (more: object = {}): JwtOptions {
  const sign = { realm: 'web', refresh: { secret: secretOf() } }
  return { issuer, audience: issuer, keys: privateKey, sign, ...more }
}

const routes: Readonly<Record<string, RouteAuth>> = {
  '/me': true,
  '/optional': { mode: 'optional' },
  '/read': { scopes: 'orders:read' },
  '/write': { scopes: { any: ['orders:write', 'orders:all'] } },
  '/function': { scopes: () => 'orders:read' },
  '/clerk': { roles: 'clerk' },
  '/both': { scopes: 'orders:read', roles: 'clerk' },
  '/when': { when: () => true },
  '/not-banned': { scopes: 'orders:read', roles: { none: ['banned'] } },
  '/only-none': { scopes: { none: ['guest'] } },
  '/any': { anyOf: [{ scopes: 'orders:read' }, { when: () => true }, { roles: 'clerk' }] },
  '/any-other': { anyOf: [{ scopes: 'orders:write' }, { when: () => true }] },
  '/any-late': { anyOf: [{ scopes: 'orders:read', when: () => true }, { when: () => true }] },
  '/any-late-other': { anyOf: [{ scopes: 'orders:read', when: () => false }, { when: () => true }] },
  '/any-api': { anyOf: [{ schemes: 'api', scopes: 'orders:read' }, { roles: 'clerk' }] },
  '/any-web': { anyOf: [{ schemes: 'web', scopes: 'orders:read' }, { roles: 'clerk' }] },
  '/any-beside': { scopes: 'orders:read', anyOf: [{ when: () => true }] }
}

interface Made {
  readonly app: FastifyInstance
  /** A token of a client that acts for Ann, with the scope orders:read. */
  readonly delegated: string
  /** The same for a first-party client. */
  readonly trusted: string
  readonly service: TokenService
}

async function made (t: Test, scheme: object = {}, more: Partial<GatehouseOptions> = {}): Promise<Made> {
  const api = withService(own(scheme))
  const app = Fastify()
  t.teardown(() => app.close())
  const web = session({ secret: secretOf() })
  await app.register(gatehouse, { schemes: { api: api.scheme, web }, default: ['api', 'web'], ...more })
  for (const [url, auth] of Object.entries(routes)) {
    app.get(url, { config: { auth } }, async ({ principal }) => ({ principal }))
  }
  const grant = { principal: ann, client: 'shop', scopes: ['orders:read'], authenticatedAt: null, refresh: true }
  const begin = async (roles: boolean) => {
    const begun = await api.service.begin({ ...grant, handle: newHandle(), roles })
    return begun?.tokens.access_token ?? ''
  }
  return { app, delegated: await begin(false), trusted: await begin(true), service: api.service }
}

async function statuses (app: FastifyInstance, token: string): Promise<Record<string, number>> {
  const headers = { authorization: `Bearer ${token}` }
  const answers = await Promise.all(Object.keys(routes).map(async url => {
    const { statusCode } = await app.inject({ url, headers })
    return [url, statusCode] as const
  }))
  return Object.fromEntries(answers)
}

const limited = {
  '/me': 403,
  '/optional': 403,
  '/read': 200,
  '/write': 403,
  '/function': 200,
  '/clerk': 403,
  '/both': 403,
  '/when': 403,
  '/not-banned': 200,
  '/only-none': 403,
  '/any': 200,
  '/any-other': 403,
  '/any-late': 200,
  '/any-late-other': 403,
  '/any-api': 200,
  '/any-web': 403,
  '/any-beside': 200
}

const load = ({ id }: Principal): PrincipalInput | null => id === 'ann' ? ann : null

t.test('a delegated token has no roles, and enters only where a scope is required', async t => {
  const { app, delegated } = await made(t, { load })
  t.same(await statuses(app, delegated), limited)
  const { body } = await app.inject({ url: '/read', headers: { authorization: `Bearer ${delegated}` } })
  t.same(JSON.parse(body), { principal: { realm: 'web', id: 'ann', scopes: ['orders:read'], roles: [] } })
  const { headers } = await app.inject({ url: '/me', headers: { authorization: `Bearer ${delegated}` } })
  t.match(readChallenges(String(headers['www-authenticate'])), [{ params: { error: 'insufficient_scope' } }])
})

t.test('delegated: true opens the routes of a scheme to delegated tokens, without roles', async t => {
  const { app, delegated } = await made(t, { load, delegated: true })
  t.same(await statuses(app, delegated), {
    ...limited,
    '/me': 200,
    '/optional': 200,
    '/when': 200,
    '/only-none': 200,
    '/any-other': 200,
    '/any-late-other': 200
  })
})

t.test('a client of first parties has the rights of the person', async t => {
  const { app, trusted } = await made(t, { load })
  t.same(await statuses(app, trusted), Object.fromEntries(Object.keys(routes).map(url => [url, 200])))
})

t.test('the audit shows what delegated tokens may enter', async t => {
  const of = ({ app }: Made) =>
    Object.fromEntries(app.gatehouse.audit().map(({ url, delegated }) => [url, delegated]))
  t.same(of(await made(t, { load })), {
    '/me': false,
    '/optional': false,
    '/read': true,
    '/write': true,
    '/function': true,
    '/clerk': false,
    '/both': true,
    '/when': false,
    '/not-banned': true,
    '/only-none': false,
    '/any': true,
    '/any-other': true,
    '/any-late': true,
    '/any-late-other': true,
    '/any-api': true,
    '/any-web': false,
    '/any-beside': true
  })
  t.ok(Object.values(of(await made(t, { load, delegated: true }))).every(Boolean))
  const rows = (await made(t, { load })).app.gatehouse.audit().filter(({ url }) => url === '/read' || url === '/me')
  t.match(auditTable(rows), /^route .* rules +delegated +from .*\nGET \/me .*\nGET \/read .* yes +default/)
  const fifth = (table: string) => table.split('\n').map(line => line.split(' | ')[4])
  t.same(fifth(auditMarkdown(rows)), ['delegated', '---', '', 'yes'])
  t.match(fifth(auditMarkdown(rows.slice(0, 1))), ['from', '---', /^default/])
  const plain = await made(t, { load })
  plain.app.get('/web', { config: { auth: { schemes: 'web', scopes: 'orders:read' } } }, async () => '')
  plain.app.get('/public', { config: { auth: { public: 'test' } } }, async () => '')
  const others = plain.app.gatehouse.audit().filter(({ url }) => url === '/web' || url === '/public')
  t.same(others.map(({ delegated }) => delegated), [false, false])
})

t.test('beside another credential, a delegated token enters only if its scheme is for clients', async t => {
  const key = secretOf()
  for (const delegated of [false, true]) {
    const api = withService(own({ delegated, load }))
    const app = Fastify()
    t.teardown(() => app.close())
    const service = apiKey({ from: 'header:x-api-key', keys: { [key]: { id: 'billing', scopes: ['orders:read'] } } })
    await app.register(gatehouse, {
      schemes: { service, api: api.scheme }, default: { schemes: { all: ['service', 'api'] } }
    })
    app.get('/any', async () => 'in')
    app.get('/read', { config: { auth: { scopes: 'orders:read' } } }, async () => 'in')
    const begin = async (roles: boolean) => await api.service.begin({
      principal: ann,
      client: 'shop',
      scopes: ['profile'],
      authenticatedAt: null,
      refresh: false,
      roles,
      handle: newHandle()
    })
    for (const roles of [false, true]) {
      const headers = { authorization: `Bearer ${(await begin(roles))?.tokens.access_token}`, 'x-api-key': key }
      for (const url of ['/any', '/read']) {
        const { statusCode } = await app.inject({ url, headers })
        t.equal(statusCode, roles || delegated ? 200 : 403, `${url} ${roles}`)
      }
    }
    t.same(app.gatehouse.audit().map(row => row.delegated), [delegated, delegated])
  }
})

t.test('a none rule is judged by what the person has now', async t => {
  let roles: string[] = ['clerk']
  const { app, delegated } = await made(t, { load: () => ({ ...ann, roles }) })
  const headers = { authorization: `Bearer ${delegated}` }
  t.equal((await app.inject({ url: '/not-banned', headers })).statusCode, 200)
  roles = ['clerk', 'banned']
  t.equal((await app.inject({ url: '/not-banned', headers })).statusCode, 403)
  t.equal((await app.inject({ url: '/read', headers })).statusCode, 200)
})

t.test('without a load, a none rule refuses delegated tokens', async t => {
  const { app, delegated, trusted } = await made(t)
  t.same(await statuses(app, delegated), { ...limited, '/not-banned': 403 })
  const headers = { authorization: `Bearer ${trusted}` }
  t.equal((await app.inject({ url: '/not-banned', headers })).statusCode, 200)
})

t.test('a delegated token loses what the person has lost, and gets nothing else', async t => {
  let person: PrincipalInput | null = { id: 'ann', scopes: ['orders:write', 'admin'], roles: ['boss'] }
  const { app, delegated } = await made(t, {}, { load: async () => person })
  const ask = async (url = '/read') => {
    const { statusCode, json } = await app.inject({ url, headers: { authorization: `Bearer ${delegated}` } })
    return { statusCode, principal: json<{ principal?: Principal }>().principal }
  }
  t.equal((await ask()).statusCode, 403)
  person = { id: 'ann', scopes: ['orders:read', 'admin'], roles: ['boss'] }
  t.match(await ask(), { statusCode: 200, principal: { scopes: exactly('orders:read'), roles: exactly() } })
  person = null
  t.equal((await ask()).statusCode, 401)
})

t.test('a role that includes a scope keeps it, and is not in the token', async t => {
  const roles = { clerk: { scopes: ['orders:read'] }, banned: {} }
  const scopes = { 'orders:read': 'read', 'orders:write': 'write', 'orders:all': 'all', guest: 'none' }
  const clerk = { id: 'ann', scopes: [], roles: ['clerk'] }
  const { app, delegated } = await made(t, {}, { roles, scopes, load: () => clerk })
  const { statusCode, json } = await app.inject({ url: '/read', headers: { authorization: `Bearer ${delegated}` } })
  t.match([statusCode, json()], [200, { principal: { scopes: exactly('orders:read'), roles: exactly() } }])
})

t.test('a mapping cannot give a delegated token more than it carries', async t => {
  const principal = async () => ({ ...ann, team: 'a' })
  const { app, delegated, trusted } = await made(t, { principal })
  const ask = async (token: string) => {
    const { body } = await app.inject({ url: '/read', headers: { authorization: `Bearer ${token}` } })
    return JSON.parse(body)
  }
  const limited = { scopes: exactly('orders:read'), roles: exactly() }
  t.match(await ask(delegated), { principal: { id: 'ann', team: 'a', ...limited } })
  t.match(await ask(trusted), { principal: { scopes: ann.scopes, roles: exactly('clerk') } })
})

t.test('a delegated token without scopes enters nowhere', async t => {
  const { app, service } = await made(t, { load })
  const grant = { principal: ann, client: 'shop', scopes: [], authenticatedAt: null, refresh: false, roles: false }
  const begun = await service.begin({ ...grant, handle: newHandle() })
  const answers = await statuses(app, begun?.tokens.access_token ?? '')
  t.same(answers, Object.fromEntries(Object.keys(routes).map(url => [url, 403])))
})

t.test('a load of the wrong form is a fault', async t => {
  const { app, delegated } = await made(t, { load: () => ['ann'] as never })
  const { statusCode } = await app.inject({ url: '/read', headers: { authorization: `Bearer ${delegated}` } })
  t.equal(statusCode, 500)
})

t.test('delegated is an option of schemes that sign', async t => {
  const boot = (more: object) => made(t, more)
  await t.rejects(boot({ sign: undefined }), { code: 'AUTH_MISCONFIGURED' })
  const { sign: _, ...bare } = own()
  const scheme = withService({ ...bare, delegated: true } as JwtOptions).scheme
  const app = Fastify()
  await t.rejects(async () => await app.register(gatehouse, { schemes: { api: scheme } }), {
    code: 'AUTH_MISCONFIGURED', message: /schemes\.api\.delegated is about tokens that the scheme signs/
  })
  await t.rejects(boot({ delegated: 'yes' }), { message: /schemes\.api\.delegated must be true or false/ })
})
