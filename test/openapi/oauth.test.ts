import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { jwt, session, type JwtOptions } from '../../lib/index.js'
import { oauthServer } from '../../lib/oauth/index.js'
import { bootError, route } from '../fixtures/policies.js'
import { pair, secretOf } from '../fixtures/tokens.js'
import { describe, versions } from './document.js'

const issuer = 'https://api.example.com'
const { privateKey: keys } = pair('ec')
const refresh = { secret: secretOf() }
const scopes = { 'orders:read': 'Read orders', 'orders:write': '' }

/** Creates a scheme that signs tokens for the people of the scheme `web`. */
function signing (more: object = {}, sign: object = { refresh }) {
  return jwt({ issuer, audience: issuer, keys, sign: { realm: 'web', ...sign }, ...more } as JwtOptions)
}

/** Returns the schemes of a document for an authorization server with these resources. */
async function described (
  t: import('tap').Test, resources: Record<string, ReturnType<typeof signing>>, version: string, more: object = {}
) {
  const names = Object.keys(resources)
  const { document } = await describe(t, async (app: FastifyInstance) => {
    await app.register(oauthServer, { session: 'web', resources: names as never[], ...more })
    for (const name of names) route(app, [], `/${name}`, { schemes: name, scopes: 'orders:read' })
    route(app, [], '/web', 'web')
  }, {
    version,
    options: {
      schemes: { web: session({ secret: secretOf(), loginPath: '/login' }), ...resources }, default: 'web', scopes
    }
  })
  t.strictSame(Object.keys(document.paths).sort(), [...names, 'web'].map(name => `/${name}`).sort(),
    'the routes of the server are hidden')
  t.notOk(Object.values(document.paths).some(item => 'options' in item), 'preflights are hidden')
  const { web, ...described } = document.components.securitySchemes ?? {}
  t.match(web, { type: 'apiKey', in: 'cookie' })
  for (const name of names) {
    const needed = document.paths[`/${name}`]?.get?.security
    const hasScopes = version !== '3.0.3' || described[name]?.type === 'oauth2'
    t.strictSame(needed, [{ [name]: hasScopes ? ['orders:read'] : [] }])
  }
  return described
}

const tokenUrl = `${issuer}/oauth/token`
const authorizationCode = { authorizationUrl: `${issuer}/oauth/authorize`, tokenUrl, refreshUrl: tokenUrl, scopes }
const oauth2MetadataUrl = `${issuer}/.well-known/oauth-authorization-server`

t.test('The OpenAPI description of a scheme with an authorization server', async t => {
  await t.test('has the flows of the server, its URLs and the texts of the scopes', async t => {
    for (const version of versions) {
      t.strictSame(await described(t, { api: signing() }, version), {
        api: {
          type: 'oauth2',
          flows: { authorizationCode, clientCredentials: { tokenUrl, scopes } },
          ...version === '3.2.0' ? { oauth2MetadataUrl } : {}
        }
      })
    }
  })

  await t.test('has the paths of the server, its issuer, and no URL to refresh without refresh tokens', async t => {
    const tenant = `${issuer}/tenant`
    const token = `${issuer}/auth/token`
    t.strictSame(await described(t, { api: signing({ issuer: tenant }, {}) }, '3.2.0', { prefix: '/auth' }), {
      api: {
        type: 'oauth2',
        flows: {
          authorizationCode: { authorizationUrl: `${issuer}/auth/authorize`, tokenUrl: token, scopes },
          clientCredentials: { tokenUrl: token, scopes }
        },
        oauth2MetadataUrl: `${oauth2MetadataUrl}/tenant`
      }
    })
  })

  await t.test('names a resource that is not the first one', async t => {
    const { mcp } = await described(t, { api: signing(), mcp: signing({ audience: `${issuer}/mcp` }) }, '3.1.1')
    const authorizationUrl = `${authorizationCode.authorizationUrl}?resource=https%3A%2F%2Fapi.example.com%2Fmcp`
    t.strictSame(mcp, { type: 'oauth2', flows: { authorizationCode: { ...authorizationCode, authorizationUrl } } })
  })

  await t.test('keeps the fields and the flows of the scheme, and the source of its token', async t => {
    const flows = { clientCredentials: { tokenUrl: 'https://id.example.com/token', scopes: { 'orders:read': 'Read' } } }
    const resources = {
      described: signing({ openapi: { type: 'http', scheme: 'bearer', description: 'Ask us', deprecated: true } }),
      own: signing({ audience: 'https://own.example.com', openapi: { type: 'oauth2', flows } }),
      cookie: signing({ audience: 'https://cookie.example.com', from: 'cookie:token' }),
      word: signing({ audience: 'https://word.example.com', from: 'authorization:Token' })
    }
    const common = { description: 'Ask us', deprecated: true, oauth2MetadataUrl }
    t.strictSame(await described(t, resources, '3.2.0'), {
      described: { type: 'oauth2', flows: { authorizationCode, clientCredentials: { tokenUrl, scopes } }, ...common },
      own: { type: 'oauth2', flows },
      cookie: { type: 'apiKey', in: 'cookie', name: 'token' },
      word: { type: 'http', scheme: 'Token' }
    })
  })
})

t.test('The option openapi of jwt', async t => {
  const base = { issuer: 'https://id.example.com', audience: issuer, keys: secretOf() }
  const url = 'https://id.example.com/token'
  const withFlows = (flows: unknown) => ({ type: 'oauth2', flows })

  await t.test('describes the flows of an identity provider, with what the version knows', async t => {
    const openapi = {
      type: 'oauth2',
      description: 'Log in with Example ID',
      oauth2MetadataUrl: 'https://id.example.com/.well-known/oauth-authorization-server',
      deprecated: false,
      flows: {
        implicit: { authorizationUrl: 'https://id.example.com/authorize', scopes: {} },
        password: { tokenUrl: url, refreshUrl: url, scopes: { email: 'See your address' } },
        deviceAuthorization: { deviceAuthorizationUrl: 'https://id.example.com/device', tokenUrl: url, scopes: {} }
      }
    } as const
    for (const version of versions) {
      const { document } = await describe(t, app => { route(app, [], '/a') }, {
        version, options: { schemes: { user: jwt({ ...base, openapi }) } }
      })
      const { implicit, password } = openapi.flows
      t.strictSame(document.components.securitySchemes?.user, version === '3.2.0'
        ? openapi
        : { type: 'oauth2', description: openapi.description, flows: { implicit, password } })
    }
  })

  await t.test('names the configuration of OpenID Connect, and changes no request', async t => {
    const openIdConnectUrl = 'https://id.example.com/.well-known/openid-configuration'
    const user = jwt({ ...base, openapi: { type: 'openIdConnect', openIdConnectUrl } })
    const { app, document } = await describe(t, app => { route(app, [], '/a') }, { options: { schemes: { user } } })
    t.strictSame(document.components.securitySchemes, { user: { type: 'openIdConnect', openIdConnectUrl } })
    const answer = await app.inject('/a')
    t.equal(answer.statusCode, 401)
    t.equal(answer.headers['www-authenticate'], 'Bearer realm="user"')
  })

  await t.test('is copied, so that a later change does not reach documents', async t => {
    const flows = { clientCredentials: { tokenUrl: url, scopes: {} } }
    const { document } = await describe(t, app => {
      Object.assign(flows, { password: { tokenUrl: 'https://evil.example.com', scopes: {} } })
      route(app, [], '/a')
    }, { options: { schemes: { user: jwt({ ...base, openapi: { type: 'oauth2', flows } }) } } })
    const { user } = document.components.securitySchemes ?? {}
    t.strictSame(user, { type: 'oauth2', flows: { clientCredentials: { tokenUrl: url, scopes: {} } } })
  })

  await t.test('stops the boot if it is wrong', async t => {
    for (const [openapi, message] of [
      ['oauth2', /schemes\.user\.openapi must be an object with the type 'http', 'oauth2' or .* Got 'oauth2'\./],
      [{ type: 'apiKey' }, /schemes\.user\.openapi must be an object with the type .* Got the type 'apiKey'\./],
      [Object.create({ type: 'http', scheme: 'bearer' }), /schemes\.user\.openapi must be an object with the type/],
      [{ type: 'http', scheme: 'basic' }, /schemes\.user\.openapi\.scheme must be 'bearer'\. Got 'basic'/],
      [{ type: 'http', scheme: 'bearer', flows: {} }, /schemes\.user\.openapi has an unknown key 'flows'/],
      [{ type: 'openIdConnect' }, /schemes\.user\.openapi\.openIdConnectUrl must be a non-empty string/],
      [{ type: 'oauth2' }, /schemes\.user\.openapi\.flows must be an object/],
      [withFlows({}), /schemes\.user\.openapi\.flows is empty\. Describe one of the flows/],
      [withFlows({ code: {} }), /schemes\.user\.openapi\.flows has an unknown key 'code'/],
      [withFlows({ authorizationCode: { tokenUrl: url, scopes: {} } }), /authorizationCode\.authorizationUrl must be/],
      [withFlows({ password: { tokenUrl: '/token', scopes: {} } }), /password\.tokenUrl must be a URL\. Got '\/token'/],
      [withFlows({ password: { tokenUrl: url } }), /password\.scopes must be an object with a description for each/],
      [withFlows({ password: { tokenUrl: url, scopes: { a: 1 } } }), /password\.scopes must be an object/]
    ] as const) {
      const options = { schemes: { user: jwt({ ...base, openapi } as unknown as JwtOptions) } }
      t.match(String(await bootError(() => {}, { options } as never)), message, String(message))
    }
  })
})
