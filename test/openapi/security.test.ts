import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { group, route } from '../fixtures/policies.js'
import { describe, schemeOf, versions, type Document } from './document.js'

/** Returns the `security` of every GET, by path. */
function security ({ paths }: Document) {
  return Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, item.get?.security]))
}

function rules ({ paths }: Document) {
  return Object.fromEntries(Object.entries(paths).flatMap(([path, item]) => {
    const rules = item.get?.['x-auth']
    return rules === undefined ? [] : [[path, rules]]
  }))
}

const flow = { authorizationUrl: 'https://id.example.com/authorize', tokenUrl: 'https://id.example.com/token' }

t.test('The security of an operation', async t => {
  await t.test('describes who has access, in every version', async t => {
    for (const version of versions) {
      const { document } = await describe(t, app => {
        route(app, [], '/default')
        route(app, [], '/any', ['user', 'web'])
        route(app, [], '/all', { schemes: ['service', { all: ['web', 'user'] }] })
        route(app, [], '/optional', { mode: 'optional' })
        route(app, [], '/try', { schemes: ['user', 'web'], mode: 'try' })
        route(app, [], '/public', false)
        app.register(async admin => {
          group(admin, { schemes: 'web', roles: 'admin' })
          route(admin, [], '/', true)
        }, { prefix: '/admin' })
      }, { version })
      t.equal(document.openapi, version)
      t.strictSame(security(document), {
        '/default': [{ user: [] }],
        '/any': [{ user: [] }, { web: [] }],
        '/all': [{ service: [] }, { web: [], user: [] }],
        '/optional': [{ user: [] }, {}],
        '/try': [{ user: [] }, { web: [] }, {}],
        '/public': [],
        '/admin/': [{ web: [] }]
      })
      t.strictSame(rules(document), { '/admin/': ['role admin'] })
    }
  })

  const scoped = (app: FastifyInstance) => {
    route(app, [], '/one', { scopes: 'orders:read' })
    route(
      app,
      [],
      '/all',
      { schemes: { all: ['user', 'web'] }, scopes: { all: ['orders:read', 'orders:write'], none: ['blocked'] } }
    )
    route(app, [], '/any', { scopes: { any: ['orders:read', 'orders:write'] } })
    route(app, [], '/function', { scopes: () => 'orders:read' })
    route(app, [], '/entries', { anyOf: [{ scopes: 'orders:read' }, { roles: 'clerk' }] })
  }
  const unsaid = {
    '/any': ['scope orders:read or orders:write'],
    '/function': ['scopes that a function names'],
    '/entries': ['(scope orders:read) or (role clerk)']
  }

  await t.test('lists the scopes of keys and tokens from 3.1 on, and in x-auth before', async t => {
    const { document } = await describe(t, scoped, { version: '3.1.1' })
    t.strictSame(security(document), {
      '/one': [{ user: ['orders:read'] }],
      '/all': [{ user: ['orders:read', 'orders:write'], web: [] }],
      '/any': [{ user: [] }],
      '/function': [{ user: [] }],
      '/entries': [{ user: [] }]
    })
    t.strictSame(rules(document), { '/all': ['not scope blocked'], ...unsaid })

    const { document: older } = await describe(t, scoped, { version: '3.0.3' })
    t.strictSame(
      security(older),
      {
        '/one': [{ user: [] }],
        '/all': [{ user: [], web: [] }],
        '/any': [{ user: [] }],
        '/function': [{ user: [] }],
        '/entries': [{ user: [] }]
      }
    )
    t.strictSame(
      rules(older),
      { '/one': ['scope orders:read'], '/all': ['scope orders:read and orders:write', 'not scope blocked'], ...unsaid }
    )
  })

  await t.test('lists scopes of OAuth and OpenID Connect in every version, and declares them in the flows', async t => {
    const schemes = () => ({
      user: schemeOf(
        'user',
        {
          type: 'oauth2',
          flows: {
            authorizationCode: { ...flow, scopes: { openid: 'Who you are' } },
            clientCredentials: { tokenUrl: flow.tokenUrl, scopes: {} }
          }
        }
      ),
      web: schemeOf(
        'web', { type: 'openIdConnect', openIdConnectUrl: 'https://id.example.com/.well-known/openid-configuration' }
      )
    })
    for (const version of versions) {
      const declared = schemes()
      const scopes = { 'orders:read': 'Read orders', 'orders:write': 'Change orders' }
      const { document } = await describe(t, app => {
        route(app, [], '/user', { scopes: 'orders:read' })
        route(app, [], '/web', { schemes: ['web', 'user'], scopes: 'orders:write' })
      }, { version, options: { schemes: declared, default: 'user', scopes } })
      t.strictSame(
        security(document),
        { '/user': [{ user: ['orders:read'] }], '/web': [{ web: ['orders:write'] }, { user: ['orders:write'] }] }
      )
      t.strictSame(rules(document), {})
      t.strictSame(document.components.securitySchemes?.user, {
        type: 'oauth2',
        flows: {
          authorizationCode: { ...flow, scopes: { openid: 'Who you are', ...scopes } },
          clientCredentials: { tokenUrl: flow.tokenUrl, scopes }
        }
      })
      t.strictSame(declared.user.openapi, schemes().user.openapi, 'the description of the scheme is as it was')
    }
    const { document } = await describe(
      t, app => { route(app, [], '/a', { scopes: 'undescribed' }) }, { options: { schemes: { user: schemes().user } } }
    )
    t.match(
      document.components.securitySchemes?.user, { flows: { clientCredentials: { scopes: { undescribed: '' } } } }
    )
  })

  await t.test('lists scopes in x-auth too if one of several schemes cannot', async t => {
    const schemes = {
      user: schemeOf('user', { type: 'oauth2', flows: { clientCredentials: { tokenUrl: flow.tokenUrl, scopes: {} } } }),
      key: schemeOf('key', { type: 'apiKey', in: 'header', name: 'x-key' })
    }
    const { document } = await describe(t, app => {
      route(app, [], '/a', { schemes: ['user', 'key'], scopes: 'orders:read' })
      route(app, [], '/b', { schemes: 'user', scopes: 'orders:read' })
    }, { options: { schemes, default: 'user' } })
    t.strictSame(security(document), {
      '/a': [{ user: ['orders:read'] }, { key: [] }], '/b': [{ user: ['orders:read'] }]
    })
    t.strictSame(rules(document), { '/a': ['scope orders:read'] })
  })

  await t.test('describes in x-auth what it cannot express, in the words of the audit', async t => {
    const isOwner = () => true
    const { app, document } = await describe(t, app => {
      route(app, [], '/rules', { roles: 'clerk', when: isOwner, maxAge: '5m', rateLimit: { max: 5, window: '1m' } })
    })
    const words = ['role clerk', 'when isOwner', 'authenticated within 300 s', 'at most 5 requests in 60 s']
    t.strictSame(rules(document), { '/rules': words })
    t.same(app.gatehouse.audit()[0]?.rules, words)
  })

  await t.test('is a separate object, even if routes share a policy', async t => {
    const auth = { schemes: ['user', 'web'], scopes: 'a', roles: 'clerk' }
    const { app, document } = await describe(t, app => {
      route(app, [], '/a', auth)
      route(app, [], '/b', auth)
    }, { version: '3.1.1' })
    const [one, other] = [document.paths['/a']?.get, document.paths['/b']?.get]
    t.strictSame(one?.security, [{ user: ['a'] }, { web: ['a'] }])
    for (const field of ['security', 'x-auth', 'responses']) {
      t.strictSame(one?.[field], other?.[field])
      t.not(one?.[field], other?.[field])
    }
    t.notMatch(app.swagger({ yaml: true }), /[&*]a\d/, 'without anchors, which YAML has for what appears twice')
  })

  await t.test('leaves out client certificates in 3.0, which cannot describe them, with a warning', async t => {
    const declare = (app: FastifyInstance) => {
      route(app, [], '/both', ['mtls', 'user'])
      route(app, [], '/only', { schemes: 'mtls', scopes: 'a' })
      route(app, [], '/together', { schemes: { all: ['user', 'mtls'] } })
    }
    const options = {
      schemes: {
        user: schemeOf('user', { type: 'http', scheme: 'bearer' }), mtls: schemeOf('mtls', { type: 'mutualTLS' })
      },
      default: 'user'
    }
    const { document } = await describe(t, declare, { options })
    t.strictSame(security(document), { '/both': [{ user: [] }], '/only': undefined, '/together': undefined })
    t.strictSame(
      rules(document), { '/both': ['mtls or user'], '/only': ['mtls', 'scope a'], '/together': ['user and mtls'] }
    )
    t.same(Object.keys(document.components.securitySchemes ?? {}), ['user'])
    const { document: newer } = await describe(t, declare, { version: '3.1.1', options })
    t.strictSame(security(newer), {
      '/both': [{ mtls: [] }, { user: [] }], '/only': [{ mtls: ['a'] }], '/together': [{ user: [], mtls: [] }]
    })
    t.strictSame(
      newer.components.securitySchemes, { mtls: { type: 'mutualTLS' }, user: { type: 'http', scheme: 'bearer' } }
    )
  })
})

t.test('The security schemes of a document', async t => {
  await t.test('are those that a visible operation uses', async t => {
    const { document } = await describe(t, app => {
      route(app, [], '/a', 'web')
      app.get('/hidden', { config: { auth: 'service' }, schema: { hide: true } }, async () => '')
    })
    t.strictSame(document.components.securitySchemes, { web: { type: 'apiKey', in: 'header', name: 'x-web' } })
    const { document: open } = await describe(t, app => { route(app, [], '/a', false) })
    t.strictSame(open.components.securitySchemes, {})
  })

  await t.test('have only the fields that the version of OpenAPI has', async t => {
    const deviceAuthorization = {
      deviceAuthorizationUrl: 'https://id.example.com/device', tokenUrl: flow.tokenUrl, scopes: {}
    }
    const user = {
      type: 'oauth2',
      oauth2MetadataUrl: 'https://id.example.com/.well-known/oauth-authorization-server',
      deprecated: true,
      flows: { authorizationCode: { ...flow, scopes: {} }, deviceAuthorization }
    } as const
    const web = { type: 'http', scheme: 'basic', deprecated: true, description: 'For tools' } as const
    const declare = (app: FastifyInstance) => { route(app, [], '/a', ['user', 'web']) }
    for (const version of versions) {
      const { document } = await describe(
        t,
        declare,
        { version, options: { schemes: { user: schemeOf('user', user), web: schemeOf('web', web) }, default: 'user' } }
      )
      t.strictSame(document.components.securitySchemes, version === '3.2.0'
        ? { user, web }
        : {
            user: { type: 'oauth2', flows: { authorizationCode: user.flows.authorizationCode } },
            web: { type: 'http', scheme: 'basic', description: 'For tools' }
          })
    }
  })
})

t.test('Descriptions of the application take precedence', async t => {
  await t.test('security of an operation, even with a scheme of the plugin', async t => {
    const { document } = await describe(t, app => {
      app.get(
        '/own',
        {
          schema: { security: [{ web: [] }], 'x-auth': ['ask first'] } as object, config: { auth: { roles: 'clerk' } }
        },
        async () => ''
      )
      app.get('/none', { schema: { security: [] } }, async () => '')
      route(app, [], '/ours')
    })
    t.strictSame(security(document), { '/own': [{ web: [] }], '/none': [], '/ours': [{ user: [] }] })
    t.strictSame(rules(document), { '/own': ['ask first'] })
    t.same(Object.keys(document.components.securitySchemes ?? {}), ['web', 'user'])
  })

  await t.test('security of the document, to which the schemes are added', async t => {
    const { document } = await describe(
      t, app => { route(app, [], '/a', false) }, { swagger: { openapi: { security: [{ service: [] }] } } }
    )
    t.strictSame(security(document), { '/a': [] })
    t.same(Object.keys(document.components.securitySchemes ?? {}), ['service'])
  })

  await t.test('a security scheme of the same name, with a warning if its type differs', async t => {
    const own = {
      user: { type: 'http', scheme: 'bearer', description: 'Ours' },
      web: { type: 'apiKey', in: 'header', name: 'x-web', description: 'Theirs' },
      other: { type: 'http', scheme: 'basic' }
    }
    const { app, document, log } = await describe(
      t,
      app => { route(app, [], '/a', ['user', 'web']) },
      { swagger: { openapi: { components: { securitySchemes: own } } } }
    )
    t.strictSame(document.components.securitySchemes, own)
    app.swagger({ yaml: true })
    t.same(
      log.map(line => line.msg),
      [
        "fastify-gatehouse: the document's own security scheme 'user' is of the type http, " +
        'and schemes.user is of the type apiKey. Correct it, or remove it to have it described'
      ]
    )
    t.notOk('service' in own || 'x' in own, 'the options are as they were')
  })

  await t.test('an OAuth scheme, of which only declared scopes are listed', async t => {
    const own = {
      type: 'oauth2',
      flows: {
        authorizationCode: { ...flow, scopes: { a: 'A' } }, clientCredentials: { tokenUrl: flow.tokenUrl, scopes: {} }
      }
    }
    const { document } = await describe(t, app => { route(app, [], '/a', { scopes: { all: ['a', 'b'] } }) }, {
      options: { schemes: { user: schemeOf('user', { type: 'oauth2', flows: {} }) } },
      swagger: {
        openapi: { components: { securitySchemes: { user: own, odd: { $ref: '#/components/securitySchemes/user' } } } }
      }
    })
    t.strictSame(security(document), { '/a': [{ user: ['a'] }] })
    t.strictSame(rules(document), { '/a': ['scope a and b'] })
    t.strictSame(document.components.securitySchemes?.user, own)
  })
})
