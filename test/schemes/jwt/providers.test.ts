import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import Fastify from 'fastify'
import t from 'tap'
import gatehouse, { jwt, type JwtOptions } from '../../../lib/index.js'
import { fakeIssuer, type FakeIssuer } from '../../../lib/testing/index.js'

/**
 * Tests tokens in the shape of each provider with the options in docs/providers.md. Only the source of the keys is
 * replaced, because the providers cannot be reached here.
 */

const root = new URL('../../../', import.meta.url)
const folder = new URL('.tap/providers/', root)
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })
t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })

type Claims = Readonly<Record<string, unknown>>

interface Shape {
  readonly algorithm?: 'RS256' | 'ES256'
  /** Members of the header in addition to `alg` and `kid`. */
  readonly header?: Claims
  readonly claims: Claims
  readonly principal: Claims
  /** Changes of the token that must be refused. */
  readonly refused: readonly Claims[]
}

const now = Math.floor(Date.now() / 1000)
const tenant = '5d1fb1a4-0c7f-4f63-9d0a-6a1d5a1e2b3c'
const application = '0f9d1c2e-8b7a-4c55-a1d3-7e2f4b6c8d90'
const entra = {
  oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
  sub: 'HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ',
  tid: tenant,
  scp: 'orders.read profile',
  roles: ['Orders.Clerk'],
  nbf: now,
  uti: 'fqiBqXLPj0eQa82S-IYFAA'
}
const entraPrincipal = { id: entra.oid, scopes: ['orders.read', 'profile'], roles: ['Orders.Clerk'] }

const shapes: Readonly<Record<string, readonly Shape[]>> = {
  Auth0: [{
    header: { typ: 'JWT' },
    claims: {
      iss: 'https://example.eu.auth0.com/',
      sub: 'auth0|5f7c8ec7c33c6c004bbafe82',
      aud: ['https://api.example.com', 'https://example.eu.auth0.com/userinfo'],
      azp: 'my_client_id',
      scope: 'openid profile orders:read',
      permissions: ['orders:read', 'orders:write']
    },
    principal: { id: 'auth0|5f7c8ec7c33c6c004bbafe82', scopes: ['orders:read', 'orders:write'], roles: [] },
    refused: [{ iss: 'https://example.eu.auth0.com' }, { aud: 'https://example.eu.auth0.com/userinfo' }]
  }, {
    claims: {
      iss: 'https://example.eu.auth0.com/',
      sub: 'my_client_id@clients',
      aud: 'https://api.example.com',
      client_id: 'my_client_id',
      gty: 'client-credentials',
      scope: 'orders:read',
      permissions: ['orders:read']
    },
    principal: { id: 'my_client_id@clients', scopes: ['orders:read'] },
    refused: []
  }],
  'Microsoft Entra ID': [{
    header: { typ: 'JWT' },
    claims: {
      ...entra, iss: `https://login.microsoftonline.com/${tenant}/v2.0`, aud: application, azp: 'client', ver: '2.0'
    },
    principal: entraPrincipal,
    refused: [{ aud: '00000003-0000-0000-c000-000000000000' }, { oid: undefined }, {
      iss: 'https://login.microsoftonline.com/another/v2.0'
    }]
  }, {
    header: { typ: 'JWT', x5t: 'thumbprint' },
    claims: {
      ...entra,
      iss: `https://sts.windows.net/${tenant}/`,
      aud: `api://${application}`,
      appid: 'client',
      appidacr: '1',
      ver: '1.0'
    },
    principal: entraPrincipal,
    refused: [{ aud: `api://${tenant}` }, { aud: 'https://graph.microsoft.com' }]
  }, {
    header: { typ: 'JWT', x5t: 'thumbprint' },
    claims: { ...entra, iss: `https://sts.windows.net/${tenant}/`, aud: application, appid: 'client', ver: '1.0' },
    principal: entraPrincipal,
    refused: []
  }, {
    header: { typ: 'JWT' },
    claims: {
      iss: `https://login.microsoftonline.com/${tenant}/v2.0`,
      aud: application,
      oid: 'service-1',
      sub: 'service-1',
      azp: 'client',
      roles: ['Orders.Read.All'],
      idtyp: 'app'
    },
    principal: { id: 'service-1', scopes: [], roles: ['Orders.Read.All'] },
    refused: []
  }],
  Keycloak: [{
    header: { typ: 'JWT' },
    claims: {
      iss: 'https://sso.example.com/realms/acme',
      aud: ['orders', 'account'],
      sub: '36fa0f91-f94d-4a0c-afed-6b7d952e47da',
      typ: 'Bearer',
      azp: 'shop',
      sid: '2a88c258-f73a-4103-b862-e1fbd8f4e04e',
      acr: '1',
      'allowed-origins': ['https://shop.example.com'],
      realm_access: { roles: ['clerk', 'offline_access', 'uma_authorization'] },
      resource_access: { account: { roles: ['manage-account'] } },
      scope: 'email profile',
      preferred_username: 'ann'
    },
    principal: {
      id: '36fa0f91-f94d-4a0c-afed-6b7d952e47da',
      scopes: ['email', 'profile'],
      roles: ['clerk', 'offline_access', 'uma_authorization']
    },
    refused: [{ aud: 'account' }, { typ: 'ID' }, { typ: undefined }]
  }],
  'Amazon Cognito': [{
    header: { typ: undefined },
    claims: {
      iss: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12Cd34E',
      aud: undefined,
      sub: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee',
      client_id: '1h57kf5cpq17m0eml12EXAMPLE',
      token_use: 'access',
      'cognito:groups': ['clerks'],
      scope: 'openid orders/read',
      auth_time: now - 60,
      origin_jti: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeef',
      version: 2,
      username: 'ann'
    },
    principal: {
      id: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee', scopes: ['openid', 'orders/read'], roles: ['clerks']
    },
    refused: [{ client_id: 'of-another-application' }, {
      token_use: 'id', aud: '1h57kf5cpq17m0eml12EXAMPLE', client_id: undefined
    }]
  }],
  Google: [{
    header: { typ: 'JWT' },
    claims: {
      iss: 'https://accounts.google.com',
      azp: '407408718192.apps.googleusercontent.com',
      aud: '407408718192.apps.googleusercontent.com',
      sub: '110169484474386276334',
      hd: 'example.com',
      email: 'ann@example.com',
      email_verified: true
    },
    principal: { id: '110169484474386276334', scopes: [], roles: [] },
    refused: [{ hd: undefined }, { hd: 'evil.example' }, { aud: 'another.apps.googleusercontent.com' }]
  }],
  Okta: [{
    header: { typ: undefined },
    claims: {
      ver: 1,
      iss: 'https://example.okta.com/oauth2/default',
      aud: 'api://default',
      sub: 'ann@example.com',
      cid: '0oa1b2c3d4e5f6g7h8i9',
      uid: '00u1b2c3d4e5f6g7h8i9',
      scp: ['openid', 'orders:read'],
      groups: ['Clerks'],
      auth_time: now - 60
    },
    principal: { id: '00u1b2c3d4e5f6g7h8i9', scopes: ['openid', 'orders:read'], roles: ['Clerks'] },
    refused: [{ iss: 'https://example.okta.com' }, { uid: undefined }]
  }],
  Clerk: [{
    header: { typ: 'JWT', cat: 'cl_B7d4PD111AAA' },
    claims: {
      iss: 'https://clerk.example.com',
      aud: undefined,
      azp: 'https://app.example.com',
      sub: 'user_2abcDEFghiJKLmno',
      sid: 'sess_2abcDEFghiJKLmno',
      fva: [7, -1],
      nbf: now - 10,
      sts: 'active',
      v: 2,
      o: { id: 'org_2abcDEFghiJKLmno', slg: 'acme', rol: 'admin' }
    },
    principal: { id: 'user_2abcDEFghiJKLmno', roles: ['admin'] },
    refused: [{ azp: 'https://evil.example' }, { azp: undefined }, { sts: 'pending' }, { sts: undefined }]
  }],
  Supabase: [{
    algorithm: 'ES256',
    header: { typ: 'JWT' },
    claims: {
      iss: 'https://abcdefghijklmnopqrst.supabase.co/auth/v1',
      aud: 'authenticated',
      sub: '123e4567-e89b-12d3-a456-426614174000',
      role: 'authenticated',
      aal: 'aal1',
      session_id: '123e4567-e89b-12d3-a456-426614174001',
      email: 'ann@example.com',
      phone: '',
      is_anonymous: false,
      app_metadata: { provider: 'email', roles: ['clerk'] },
      user_metadata: { roles: ['admin'] },
      amr: [{ method: 'password', timestamp: now }]
    },
    principal: { id: '123e4567-e89b-12d3-a456-426614174000', roles: ['clerk'] },
    refused: [{ is_anonymous: true }, { role: 'service_role' }, { aud: 'anon' }]
  }],
  Firebase: [{
    header: { typ: 'JWT' },
    claims: {
      iss: 'https://securetoken.google.com/example-orders',
      aud: 'example-orders',
      auth_time: now - 60,
      user_id: 'jD3f4g5h6',
      sub: 'jD3f4g5h6',
      roles: ['admin'],
      firebase: { identities: { email: ['ann@example.com'] }, sign_in_provider: 'password' }
    },
    principal: { id: 'jD3f4g5h6', scopes: [], roles: ['admin'] },
    refused: [{ aud: 'another-project' }, { iss: 'https://securetoken.google.com/another-project' }]
  }]
}

/** Returns the options of `jwt` in a section of the page. */
async function shownOptions (section: string, code: string): Promise<JwtOptions> {
  const module = new URL(`${section.replace(/\W/g, '-')}.ts`, folder)
  const [imports = '', ...rest] = code.split('\n')
  t.equal(imports, "import { jwt } from 'fastify-gatehouse'", `${section} defines a scheme`)
  writeFileSync(module, `const jwt = (options: object) => options\n${rest.join('\n')}\nexport default user\n`)
  const { default: options } = await import(module.href) as { default: JwtOptions }
  return options
}

/** Returns the options with the keys of the fake provider. */
function withKeysOf ({ jwksUri }: FakeIssuer, options: JwtOptions): JwtOptions {
  const issuers = Array.isArray(options.issuers) ? options.issuers.map(each => ({ ...each, keys: jwksUri })) : null
  return (issuers === null ? { ...options, keys: jwksUri } : { ...options, issuers }) as JwtOptions
}

const sections = [
  ...readFileSync(new URL('docs/providers.md', root), 'utf8').matchAll(/^## ([^\n]+)\n\n```ts\n(.*?)^```/gms)
].map(([, section = '', code = '']) => [section, code] as const)

t.same(sections.map(([section]) => section).sort(), Object.keys(shapes).sort(), 'every provider is tried')

/** One issuer for all, because keys of RSA take long to generate. */
const provider = await fakeIssuer({ algorithms: ['RS256', 'ES256'] })
t.after(async () => { await provider.close() })

for (const [section, code] of sections) {
  t.test(`accepts tokens of ${section} with the options of docs/providers.md`, async t => {
    const shown = await shownOptions(section, code)
    const remote = Fastify()
    await remote.register(gatehouse, { schemes: { user: jwt(shown) } })
    await remote.close()
    for (const { algorithm = 'RS256', header = {}, claims, principal, refused } of shapes[section] ?? []) {
      await using app = Fastify()
      await app.register(gatehouse, { schemes: { user: jwt(withKeysOf(provider, shown)) } })
      app.get('/', async request => request.principal)
      const ask = async (changed: Claims = {}) => await app.inject({
        url: '/',
        headers: { authorization: `Bearer ${provider.token({ ...claims, ...changed }, { algorithm, header })}` }
      })
      const answer = await ask()
      t.equal(answer.statusCode, 200)
      t.match(answer.json(), { realm: claims['iss'], ...principal })
      for (const change of refused) t.equal((await ask(change)).statusCode, 401, JSON.stringify(change))
    }
  })
}
