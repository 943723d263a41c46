import Fastify from 'fastify'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import gatehouse, {
  absent,
  invalid,
  jwt,
  type GatehouseOptions,
  type JwtOptions,
  type Scheme
} from '../../../lib/index.js'
import { readChallenges } from '../../fixtures/challenges.js'
import { pair, secretOf, token } from '../../fixtures/tokens.js'

const key = secretOf()
const issuer = 'https://id.example.com'
const audience = 'https://api.example.com/mcp'
const base: JwtOptions = { keys: key, issuer, audience, resource: true }
const metadata = 'https://api.example.com/.well-known/oauth-protected-resource/mcp'

async function appWith (options: GatehouseOptions, prefix = ''): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(
    async child => {
      await child.register(gatehouse, options)
      child.post(
        '/tools',
        { config: { auth: { scopes: { all: ['mcp:tools', 'mcp:read'], any: ['a', 'b'] } } } },
        async () => 'done'
      )
      child.get('/roles', { config: { auth: { roles: 'admin' } } }, async () => 'done')
      child.get('/', async () => 'done')
    },
    { prefix }
  )
  return app
}

function challengesOf ({
  headers
}: {
  readonly headers: Readonly<Record<string, unknown>>
}): ReturnType<typeof readChallenges> {
  return readChallenges(String(headers['www-authenticate']))
}

function bearer (scope: string, more: Readonly<Record<string, unknown>> = {}): { readonly authorization: string } {
  const exp = Math.floor(Date.now() / 1000) + 300
  const claims = { iss: issuer, aud: audience, sub: 'ann', exp, scope, ...more }
  return { authorization: `Bearer ${token(claims, { alg: 'HS256', key })}` }
}

async function bootError (options: unknown, prefix = ''): Promise<string> {
  const app = await appWith({ schemes: { mcp: jwt(options as JwtOptions) } }, prefix).catch((error: unknown) => error)
  return app instanceof Error
    ? app.message
    : await (app as FastifyInstance).ready().then(
        () => 'booted',
        (error: Error) => error.message
      )
}

t.test('serves the metadata of the resource, public and cacheable', async t => {
  await using app = await appWith({
    schemes: {
      mcp: jwt({
        ...base,
        resource: { name: 'Orders', documentation: 'https://example.com/docs', scopes: ['mcp:tools'] }
      })
    },
    requireReason: true
  })
  const { statusCode, headers, body } = await app.inject('/.well-known/oauth-protected-resource/mcp')
  t.match(
    { statusCode, headers },
    { statusCode: 200, headers: { 'cache-control': 'public, max-age=3600', 'content-type': /^application\/json/ } }
  )
  t.same(JSON.parse(body), {
    resource: audience,
    authorization_servers: [issuer],
    scopes_supported: ['mcp:tools'],
    bearer_methods_supported: ['header'],
    resource_name: 'Orders',
    resource_documentation: 'https://example.com/docs'
  })
})

t.test('the shortest option gives a document with the required members only', async t => {
  const issuers = [
    { issuer, audience: 'https://api.example.com', keys: key },
    { issuer: 'https://other.example.com', audience: ['https://api.example.com', 'x'], keys: pair('ec').publicKey }
  ]
  for (const resource of [true, { scopes: [] }] as const) {
    await using app = await appWith({
      schemes: { mcp: jwt({ issuers, from: ['query:access_token', 'cookie:token'], resource }) }
    })
    const answer = await app.inject('/.well-known/oauth-protected-resource')
    t.same(answer.json(), {
      resource: 'https://api.example.com',
      authorization_servers: issuers.map(each => each.issuer),
      bearer_methods_supported: ['query']
    })
  }
})

t.test('a default of the application may be set after the plugin declared its route', async t => {
  const app = Fastify()
  await app.register(gatehouse, { schemes: { mcp: jwt(base) } })
  app.gatehouse.default({ scopes: 'mcp:tools' })
  app.get('/', async () => 'done')
  t.equal((await app.inject({ url: '/', headers: bearer('other') })).statusCode, 403)
  t.equal((await app.inject('/.well-known/oauth-protected-resource/mcp')).statusCode, 200)
  t.match(
    app.gatehouse.audit().find(row => row.url.startsWith('/.well-known')),
    { access: 'public', reason: /RFC 9728/ }
  )
})

t.test('every challenge of the scheme names the metadata, and the scopes of the route', async t => {
  await using app = await appWith({ schemes: { mcp: jwt(base) } })
  const scope = 'mcp:tools mcp:read a'
  const ask = async (headers: Record<string, string>, url: '/tools' | '/roles' = '/tools') => {
    const answer = await app.inject({ method: url === '/tools' ? 'POST' : 'GET', url, headers })
    return [answer.statusCode, challengesOf(answer)[0]?.params]
  }
  t.same(await ask({}), [401, { realm: 'mcp', scope, resource_metadata: metadata }])
  t.same(await ask({}, '/roles'), [401, { realm: 'mcp', resource_metadata: metadata }])
  t.same(await ask({ authorization: 'Bearer a.b.c' }), [
    401,
    {
      realm: 'mcp',
      error: 'invalid_token',
      error_description: 'The token is invalid',
      scope,
      resource_metadata: metadata
    }
  ])
  t.match(await ask(bearer('', { exp: 1 })), [
    401,
    { error: 'invalid_token', error_description: 'The token expired', scope, resource_metadata: metadata }
  ])
  t.same(
    await ask(bearer('mcp:tools')),
    [403, { realm: 'mcp', error: 'insufficient_scope', scope, resource_metadata: metadata }],
    'the satisfied scopes included'
  )
  t.same(
    await ask(bearer('mcp:tools'), '/roles'),
    [403, { realm: 'mcp', error: 'insufficient_scope', resource_metadata: metadata }],
    'roles were the reason'
  )
})

t.test('without the option, a 401 names no scope', async t => {
  const { resource, ...rest } = base
  await using app = await appWith({ schemes: { mcp: jwt(rest as JwtOptions) } })
  const answer = await app.inject({ method: 'POST', url: '/tools' })
  t.same([resource, challengesOf(answer)[0]?.params], [true, { realm: 'mcp' }])
  t.equal((await app.inject('/.well-known/oauth-protected-resource/mcp')).statusCode, 404)
})

t.test('serves the document below a prefix, or leaves it to others, as the option metadata says', async t => {
  const below = 'https://api.example.com/v1/.well-known/oauth-protected-resource'
  await using app = await appWith({ schemes: { mcp: jwt({ ...base, resource: { metadata: below } }) } }, '/v1')
  t.match((await app.inject('/v1/.well-known/oauth-protected-resource')).json(), { resource: audience })
  t.match(challengesOf(await app.inject('/v1/roles'))[0]?.params, { resource_metadata: below })
  await using other = await appWith({ schemes: { mcp: jwt({ ...base, resource: { metadata } }) } }, '/v1')
  t.equal((await other.inject('/.well-known/oauth-protected-resource/mcp')).statusCode, 404)
  t.match(challengesOf(await other.inject('/v1/roles'))[0]?.params, { resource_metadata: metadata })
})

t.test('keeps the query of the audience in the URL of the document', async t => {
  await using app = await appWith({ schemes: { mcp: jwt({ ...base, audience: `${audience}?tenant=1` }) } })
  const [challenge] = challengesOf(await app.inject('/roles'))
  t.equal(challenge?.params['resource_metadata'], `${metadata}?tenant=1`)
  t.equal((await app.inject('/.well-known/oauth-protected-resource/mcp?tenant=1')).statusCode, 200)
})

t.test('boots for loopback hosts without TLS', async t => {
  t.equal(await bootError({ ...base, issuer: 'http://127.0.0.1:4000', audience: 'http://localhost:3000' }), 'booted')
})

t.test('stops the boot where the document would be wrong, or could not be served', async t => {
  for (const [options, message, prefix] of [
    [
      { ...base, audience: 'orders' },
      /schemes\.mcp\.resource needs the URL .* first audience.*\. 'orders' must be an https URL\.$/
    ],
    [{ ...base, audience: false }, /\. It is missing\.$/],
    [{ ...base, audience: 'http://api.example.com' }, /plain http is for loopback hosts/],
    [{ ...base, audience: `${audience}#a` }, /must not have a fragment/],
    [{ ...base, issuer: false }, /schemes\.mcp\.issuer must be named/],
    [{ ...base, issuer: 'orders' }, /schemes\.mcp\.issuer must be an https URL/],
    [{ ...base, issuer: 'https://id.example.com?a' }, /schemes\.mcp\.issuer must not have a query or fragment/],
    [{ issuers: () => null, resource: true }, /needs the issuers as a list/],
    [
      {
        issuers: [
          { issuer, audience, keys: key },
          { issuer: 'https://b.example.com', audience: 'b', keys: key }
        ],
        resource: true
      },
      /schemes\.mcp\.issuers\[1\]\.audience lacks the first audience/
    ],
    [base, /outside of the context of the plugin with the prefix \/v1.*metadata: 'https/, '/v1'],
    [{ ...base, audience: 'https://api.example.com/:id' }, /no route can serve/],
    [{ ...base, resource: false }, /schemes\.mcp\.resource must be true or an object\. Got false\./],
    [{ ...base, resource: { scopes: ['offline_access'] } }, /resource\.scopes\[0\] is offline_access/],
    [{ ...base, resource: { scopes: ['a b'] } }, /resource\.scopes\[0\] has characters/],
    [{ ...base, resource: { documentation: 'docs' } }, /resource\.documentation must be an https URL/]
  ] as const) { t.match(await bootError(options, prefix ?? ''), message, String(message)) }
  const twice = await appWith({ schemes: { a: jwt(base), b: jwt(base) }, default: ['a', 'b'] }).catch(
    (error: Error) => error.message
  )
  t.match(twice, /schemes\.b\.resource has its document at .*, where another route is declared/)
})

t.test('a scheme of the application gets the reason of its outcome, and its headers reach the client', async t => {
  const failures: unknown[] = []
  const scheme: Scheme = {
    openapi: { type: 'http', scheme: 'dpop' },
    authenticate: request => {
      const word = request.headers['x-word']
      if (word === undefined) return absent
      return invalid(
        'no proof',
        word === 'nonce'
          ? { reason: 'use_dpop_nonce', headers: { 'dpop-nonce': 'n1' } }
          : word === 'headers'
            ? { headers: { 'dpop-nonce': 'n2' } }
            : { reason: String(word) }
      )
    },
    challenge: ({ code, reason, scopes }) => {
      failures.push([code, reason, scopes])
      return [{ scheme: 'DPoP', params: { error: reason } }, { scheme: 'Bearer', params: {} }]
    }
  }
  await using app = await appWith({ schemes: { own: scheme } })
  const nonce = await app.inject({ url: '/roles', headers: { 'x-word': 'nonce' } })
  t.match(nonce.headers, { 'dpop-nonce': 'n1', 'www-authenticate': 'DPoP error="use_dpop_nonce", Bearer' })
  const other = await app.inject({ method: 'POST', url: '/tools', headers: { 'x-word': 'other' } })
  t.match([other.headers['dpop-nonce'], other.headers['www-authenticate']], [undefined, 'DPoP error="other", Bearer'])
  t.same(failures.at(-1), ['AUTH_INVALID_CREDENTIALS', 'other', ['mcp:tools', 'mcp:read', 'a']])
  const headers = await app.inject({ url: '/roles', headers: { 'x-word': 'headers' } })
  t.match([headers.headers['dpop-nonce'], headers.headers['www-authenticate']], ['n2', 'DPoP, Bearer'])
  await app.inject('/roles')
  t.same(failures.at(-1), ['AUTH_REQUIRED', undefined, []])
})

t.test('the headers of a refusal go when another guard lets the caller in', async t => {
  const own: Scheme = {
    openapi: { type: 'http', scheme: 'dpop' },
    authenticate: () => invalid('no proof', { headers: { 'dpop-nonce': 'n1', 'x-before': 'scheme' } })
  }
  const app = Fastify()
  await app.register(gatehouse, { schemes: { own, mcp: jwt(base) }, default: 'mcp' })
  const first = app.gatehouse.guard('own')
  app.get('/', {
    config: { auth: { public: 'has guards of its own' } },
    preHandler: [
      async (request, reply) => {
        reply.header('x-before', 'application')
        await first.call(app, request, reply).catch(() => {})
      },
      app.gatehouse.guard('mcp')
    ]
  }, async () => 'done')
  const answer = await app.inject({ url: '/', headers: bearer('a') })
  t.match(
    [answer.statusCode, answer.headers['dpop-nonce'], answer.headers['x-before'], answer.headers['cache-control']],
    [200, undefined, 'application', undefined]
  )
})

t.test('challenges with many different reasons are sent, and not kept', async t => {
  let n = 0
  const own: Scheme = {
    openapi: { type: 'http', scheme: 'dpop' },
    authenticate: () => invalid('no proof', { reason: `r${n++}` }),
    challenge: ({ reason }) => ({ scheme: 'DPoP', params: { error: reason } })
  }
  await using app = await appWith({ schemes: { own } })
  for (let i = 0; i < 1_005; i++) await app.inject('/roles')
  t.equal((await app.inject('/roles')).headers['www-authenticate'], 'DPoP error="r1005"')
})

t.test('scripts of every origin may read the document', async t => {
  const app = await appWith({ schemes: { mcp: jwt(base) } })
  t.teardown(() => app.close())
  const url = '/.well-known/oauth-protected-resource/mcp'
  const headers = { origin: 'https://client.example.com', 'access-control-request-headers': 'mcp-protocol-version' }
  t.match((await app.inject({ url, headers })).headers, {
    'access-control-allow-origin': '*', 'access-control-expose-headers': 'WWW-Authenticate, Retry-After'
  })
  t.match(await app.inject({ method: 'OPTIONS', url, headers }), {
    statusCode: 204,
    headers: { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'mcp-protocol-version' }
  })
})
