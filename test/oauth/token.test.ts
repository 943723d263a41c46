import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import cors from '@fastify/cors'
import formbody from '@fastify/formbody'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { memoryStore } from '../../lib/index.js'
import { recordEvents } from '../fixtures/events.js'
import {
  authorizePath, basic, call, clients, codeFor, origin, partnerSecret, people, post, redeem, serverApp, spaUri,
  verifier, visit, webSecret
} from './app.js'

const secretText = 'correct horse battery'
const own = { grant_type: 'client_credentials' }

t.test('client credentials give a token of the client, by Basic and by the form', async t => {
  const app = await serverApp(t)
  const first = await post(app, '/oauth/token', own, basic('partner', partnerSecret))
  t.match(first, { status: 200, body: { token_type: 'Bearer', expires_in: 600, scope: /^orders:read$/ } })
  t.notOk('refresh_token' in first.body)
  t.match(first.headers, { 'cache-control': 'no-store', pragma: 'no-cache', 'access-control-allow-origin': '*' })
  t.match(await call(app, first.body.access_token), { status: 200, body: { id: 'client:partner', realm: origin } })
  const second = await post(app, '/oauth/token', { ...own, client_id: 'partner', client_secret: partnerSecret })
  t.equal(second.status, 200)
  const both = await post(app, '/oauth/token', { ...own, client_id: 'partner' }, basic('partner', partnerSecret))
  t.equal(both.status, 200, 'Basic with an equal client_id is one method')
})

t.test('refuses clients that do not authenticate, with RFC 6749 errors', async t => {
  const app = await serverApp(t)
  const refused = async (fields: object, headers = {}) => {
    const { status, body, headers: answer } = await post(app, '/oauth/token', { ...own, ...fields }, headers)
    return [status, body.error, answer['www-authenticate']] as const
  }
  const challenge = 'Basic realm="oauth", charset="UTF-8"'
  t.same(await refused({}, basic('partner', 'wrong')), [401, 'invalid_client', challenge])
  t.same(await refused({}, basic('nobody', partnerSecret)), [401, 'invalid_client', challenge])
  t.same(await refused({}, { authorization: 'Basic !' }), [401, 'invalid_client', challenge])
  t.same(await refused({ client_id: 'partner' }, { authorization: 'Basic !' }), [401, 'invalid_client', challenge])
  t.same(await refused({}, { authorization: 'Basic YQ==' }), [401, 'invalid_client', challenge], 'without a colon')
  t.same(await refused({}, { authorization: 'Basic' }), [401, 'invalid_client', challenge], 'an empty credential')
  t.same(await refused({ client_id: 'spa' }, { authorization: 'Basic' }), [401, 'invalid_client', challenge])
  t.same(await refused({ client_id: 'partner' }, { authorization: 'Bearer x' }), [401, 'invalid_client', challenge])
  t.same(await refused({ client_id: 'partner', client_secret: 'wrong' }), [400, 'invalid_client', undefined])
  t.same(await refused({ client_id: 'partner' }), [400, 'invalid_client', undefined])
  t.same(await refused({ client_id: 'spa', client_secret: 'x' }), [400, 'invalid_client', undefined])
  t.same(await refused({}), [400, 'invalid_client', undefined])
  const two = { client_id: 'partner', client_secret: partnerSecret }
  t.same(await refused(two, basic('partner', partnerSecret)), [400, 'invalid_request', undefined])
  t.same(await refused({ client_id: 'web' }, basic('partner', partnerSecret)), [400, 'invalid_request', undefined])
  const public_ = { grant_type: 'client_credentials', client_id: 'spa' }
  t.same(await refused(public_), [400, 'unauthorized_client', undefined])
})

t.test('wrong secrets are counted for the address, never for the client, and are an event', async t => {
  const events = recordEvents(t, 'client-refused')
  const app = await serverApp(t, { plugin: { limits: { guesses: { perAddress: 3 } } } })
  const guess = async (id: string) => await post(app, '/oauth/token', own, basic(id, 'wrong'))
  for (const id of ['partner', 'web', 'nobody']) t.equal((await guess(id)).status, 401)
  t.equal((await post(app, '/oauth/token', { ...own, client_id: 'nobody' })).status, 400, 'no secret, no guess')
  const limited = await guess('partner')
  t.match(limited, { status: 429, body: { error: 'temporarily_unavailable' } })
  t.match(limited.headers['retry-after'], /^\d+$/)
  t.equal((await post(app, '/oauth/token', own, basic('partner', partnerSecret))).status, 200, 'it is not locked')
  t.same(events.slice(1, 3), [{ client: 'web', address: '127.0.0.1' }, { client: null, address: '127.0.0.1' }])
  const unlimited = await serverApp(t, { plugin: { limits: { guesses: false } } })
  for (let i = 0; i < 40; i++) await post(unlimited, '/oauth/token', own, basic('partner', 'wrong'))
  t.equal((await post(unlimited, '/oauth/token', own, basic('partner', 'wrong'))).status, 401)
})

t.test('accepts only forms of at most 16 KiB without repeated or nameless parameters', async t => {
  const app = await serverApp(t, { before: async app => { await app.register(formbody) } })
  const json = await app.inject({ method: 'POST', url: '/oauth/token', payload: own })
  t.match(json, { statusCode: 415 })
  t.match(json.json(), { error: 'invalid_request' })
  t.match((await app.inject({ method: 'POST', url: '/oauth/token' })).statusCode, 415, 'no body at all')
  const large = await post(app, '/oauth/token', `a=${'b'.repeat(16_383)}`)
  t.match(large, { status: 413, body: { error: 'invalid_request' } })
  const error = async (form: string) => {
    const { status, body } = await post(app, '/oauth/token', form, basic('partner', partnerSecret))
    return [status, body.error]
  }
  const grant = 'grant_type=client_credentials'
  t.same(await error(`${grant}&${grant}`), [400, 'invalid_request'])
  t.same(await error(`${grant}&=x`), [400, 'invalid_request'])
  t.same(await error(`${grant}&resource=a&resource=b`), [400, 'invalid_target'])
  t.same(await error(`&${grant}&&more=%ff&x`), [200, undefined], 'unknown parameters are ignored')
  t.same(await error('scope=a'), [400, 'invalid_request'], 'no grant_type')
  t.same(await error('grant_type=password'), [400, 'unsupported_grant_type'])
  t.same(await error('grant_type=authorization_code'), [400, 'unauthorized_client'])
})

t.test('scopes are those of the client, and a resource is one of the server', async t => {
  const app = await serverApp(t)
  const ask = async (fields: object) => {
    const { body } = await post(app, '/oauth/token', { ...own, ...fields }, basic('partner', partnerSecret))
    if (body.error !== undefined) return body.error
    const claims = JSON.parse(Buffer.from(body.access_token.split('.')[1], 'base64url').toString())
    return [body.scope, claims.aud]
  }
  t.same(await ask({ scope: 'orders:read orders:write' }), ['orders:read', origin])
  t.same(await ask({ scope: 'offline_access' }), ['orders:read', origin])
  t.equal(await ask({ scope: 'orders:write' }), 'invalid_scope')
  t.equal(await ask({ scope: 'a  b' }), 'invalid_scope')
  t.same(await ask({ resource: `${origin}/` }), ['orders:read', origin], 'a bare origin matches with a slash')
  t.same(await ask({ resource: `${origin}/mcp` }), ['orders:read', `${origin}/mcp`])
  t.equal(await ask({ resource: `${origin}/mcp/` }), 'invalid_target')
  t.equal(await ask({ resource: 'https://other.example.com' }), 'invalid_target')
})

t.test('without scope, a token has the scopes of the client that the resource lists', async t => {
  const idle = { secrets: [webSecret], scopes: ['orders:write'], grants: ['client_credentials'] }
  const options = { oauth: { clients: { ...clients, idle } }, jwt: { resource: { scopes: ['orders:read'] } } }
  const app = await serverApp(t, options as Parameters<typeof serverApp>[1])
  t.equal((await redeem(app, await codeFor(app))).body.scope, 'orders:read')
  t.equal((await redeem(app, await codeFor(app, { scope: 'orders:write' }))).body.scope, 'orders:write')
  const ask = async (scope?: string) =>
    (await post(app, '/oauth/token', { ...own, scope }, basic('idle', webSecret))).body
  t.equal((await ask('orders:write')).scope, 'orders:write')
  t.equal((await ask()).error, 'invalid_scope', 'none of the requested scopes is left')
})

t.test('a code is bound to client, verifier, redirect URI and resource, and stays good after a wrong try', async t => {
  const app = await serverApp(t)
  const code = await codeFor(app)
  const wrong = async (fields: object) => (await redeem(app, code, fields as Record<string, string>)).body.error
  t.equal(await wrong({ code_verifier: 'a'.repeat(43) }), 'invalid_grant')
  t.equal(await wrong({ code_verifier: undefined as unknown as string }), 'invalid_grant')
  t.equal(await wrong({ redirect_uri: 'https://evil.example.com/cb' }), 'invalid_grant')
  t.equal(await wrong({ resource: `${origin}/mcp` }), 'invalid_target')
  t.equal(await wrong({ code: 'a'.repeat(43) }), 'invalid_grant')
  t.equal(await wrong({ code: 'short' }), 'invalid_grant')
  t.equal(await wrong({ code: '' }), 'invalid_request')
  const other = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: spaUri }
  const foreign = async () => await post(app, '/oauth/token', other, basic('web', webSecret))
  t.match(await foreign(), { status: 400, body: { error: 'invalid_grant' } })
  t.equal((await redeem(app, code, { redirect_uri: undefined, resource: origin })).status, 200)
  t.match(await foreign(), { status: 400, body: { error: 'invalid_grant' } })
})

t.test('a code is good for one minute', async t => {
  const app = await serverApp(t)
  const realNow = Date.now
  t.teardown(() => { Date.now = realNow })
  const [first, second] = [await codeFor(app), await codeFor(app)]
  Date.now = () => realNow() + 55_000
  t.equal((await redeem(app, first)).status, 200)
  Date.now = () => realNow() + 60_001
  t.match(await redeem(app, second), { status: 400, body: { error: 'invalid_grant' } })
})

t.test('the vector of RFC 7636, B works', async t => {
  const app = await serverApp(t)
  const code = await codeFor(app, { code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM' })
  t.equal((await redeem(app, code, { code_verifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk' })).status, 200)
})

t.test('a verifier has 43 to 128 characters (RFC 7636, 4.1)', async t => {
  const app = await serverApp(t)
  for (const [length, status] of [[42, 400], [43, 200], [128, 200], [129, 400]] as const) {
    const text = 'v'.repeat(length)
    const code = await codeFor(app, { code_challenge: createHash('sha256').update(text).digest('base64url') })
    t.equal((await redeem(app, code, { code_verifier: text })).status, status, String(length))
  }
})

t.test('a code gives no token to a disabled person, and no scope that the person has lost', async t => {
  const app = await serverApp(t)
  const { ann } = people
  t.teardown(() => { Object.assign(people, { ann }) })
  const first = await codeFor(app)
  Object.assign(people, { ann: { ...ann, scopes: ['orders:read'] } })
  t.match(await redeem(app, first), { status: 200, body: { scope: /^orders:read$/ } })
  Object.assign(people, { ann })
  const second = await codeFor(app)
  Reflect.deleteProperty(people, 'ann')
  t.match(await redeem(app, second), { status: 400, body: { error: 'invalid_grant' } })
})

t.test('refreshes within the scopes of the grant, only for its client', async t => {
  const app = await serverApp(t)
  const { body: { refresh_token: first } } = await redeem(app, await codeFor(app))
  const refresh = async (token: string | undefined, fields: Record<string, string> = {}) =>
    await post(app, '/oauth/token', { grant_type: 'refresh_token', client_id: 'spa', refresh_token: token, ...fields })
  t.match((await refresh(undefined)).body.error, 'invalid_request')
  t.match((await refresh('garbage')).body.error, 'invalid_grant')
  t.match((await refresh(first, { client_id: 'native' })).body.error, 'invalid_grant')
  t.match((await refresh(first, { resource: 'https://other.example.com' })).body.error, 'invalid_target')
  t.equal((await refresh(first, { resource: `${origin}/mcp` })).body.error, 'invalid_target')
  t.equal((await refresh('garbage', { resource: `${origin}/mcp` })).body.error, 'invalid_grant')
  t.equal((await refresh(first, { resource: `${origin}/mcp`, client_id: 'native' })).body.error, 'invalid_grant')
  t.match((await refresh(first, { scope: 'orders:delete' })).body.error, 'invalid_scope', 'and the token stays valid')
  const second = await refresh(first, { scope: 'orders:read', resource: origin })
  t.match(second, { status: 200, body: { scope: /^orders:read$/ } })
  const third = await refresh(second.body.refresh_token)
  t.match(third, { status: 200, body: { scope: /^orders:read orders:write$/ } }, 'the grant keeps its scopes')
  t.match((await refresh(first)).body.error, 'invalid_grant')
  t.match((await refresh(third.body.refresh_token)).body.error, 'invalid_grant', 'a token used again ended the grant')
  t.equal(
    (await refresh(first, { resource: `${origin}/mcp` })).body.error, 'invalid_grant',
    'a used token is refused at any resource'
  )
  const { body } = await redeem(app, await codeFor(app, { resource: `${origin}/mcp` }))
  const named = await refresh(body.refresh_token)
  t.equal((await call(app, named.body.access_token, '/tools')).status, 200, 'the token names its resource itself')
})

t.test('refuses a refresh for scopes of the client of which the grant or the person has none', async t => {
  const app = await serverApp(t)
  const { body } = await redeem(app, await codeFor(app, { scope: 'orders:read' }))
  const refresh = async (scope?: string) => await post(app, '/oauth/token', {
    grant_type: 'refresh_token', client_id: 'spa', refresh_token: body.refresh_token, scope
  })
  t.match(await refresh('orders:write'), { status: 400, body: { error: 'invalid_scope' } })
  const ann = people['ann']
  t.teardown(() => Object.assign(people, { ann }))
  Object.assign(people, { ann: { ...ann, scopes: [] } })
  t.match(await refresh('orders:read'), { status: 400, body: { error: 'invalid_scope' } })
  Object.assign(people, { ann })
  t.match(
    await refresh('orders:read orders:write'), { status: 200, body: { scope: /^orders:read$/ } }, 'it was not used'
  )
})

t.test('a grant without refresh tokens still ends when its code is used again', async t => {
  const app = await serverApp(t, {
    oauth: { clients: { once: { redirectUris: [spaUri], scopes: ['orders:read'], grants: ['authorization_code'] } } }
  })
  const code = await codeFor(app, { client_id: 'once' })
  const { body } = await redeem(app, code, { client_id: 'once' })
  t.notOk('refresh_token' in body)
  t.equal((await call(app, body.access_token)).status, 200)
  await redeem(app, code, { client_id: 'once' })
  t.equal((await call(app, body.access_token)).status, 401)
})

t.test('scripts of every origin may call the token endpoint, beside @fastify/cors', async t => {
  const other = { origin: 'https://other.example.com', credentials: true }
  for (const before of [undefined, other]) {
    const app = await serverApp(t, {
      before: async app => { if (before !== undefined) await app.register(cors, before) }
    })
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/oauth/token',
      headers: {
        origin: 'https://spa.example.com',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'x-own, authorization'
      }
    })
    t.equal(preflight.statusCode, 204)
    t.match(preflight.headers, {
      'access-control-allow-origin': '*',
      'access-control-allow-headers': 'x-own, authorization',
      'access-control-allow-methods': 'GET, POST',
      'access-control-max-age': '86400',
      vary: 'Access-Control-Request-Headers'
    })
    t.notOk('access-control-allow-credentials' in preflight.headers)
    for (const headers of [{}, { 'access-control-request-headers': '' }]) {
      const bare = await app.inject({ method: 'OPTIONS', url: '/.well-known/jwks.json', headers })
      t.notOk('access-control-allow-headers' in bare.headers)
    }
    const headers = { ...basic('partner', 'wrong'), origin: 'https://spa.example.com' }
    const answer = await post(app, '/oauth/token', own, headers)
    t.match(answer.headers, {
      'access-control-allow-origin': '*', 'access-control-expose-headers': 'WWW-Authenticate, Retry-After'
    })
    t.notOk('access-control-allow-credentials' in answer.headers)
    const introspection = await post(app, '/oauth/introspect', { token: 'x' })
    t.not(introspection.headers['access-control-allow-origin'], '*', 'introspection is not for scripts')
  }
})

t.test('answers a malformed request with invalid_request', async t => {
  const app = await serverApp(t)
  const malformed = await post(app, '/oauth/token', 'a=b', { 'content-length': '9' })
  t.match(malformed, { status: 400, body: { error: 'invalid_request' } })
})

t.test('answers an error of the application with server_error, without details', async t => {
  const lines: string[] = []
  let fails = false
  const app = await serverApp(t, {
    plugin: {
      load: principal => {
        if (fails) throw new Error(`the secret ${secretText}`)
        return { ...principal, scopes: ['orders:read'] }
      }
    },
    fastify: { logger: { level: 'error', stream: { write: line => { lines.push(line) } } } }
  })
  const code = await codeFor(app)
  fails = true
  const answer = await redeem(app, code)
  t.match(answer, { status: 500, body: { error: 'server_error', error_description: 'The request cannot be answered' } })
  t.match(lines.join(''), /authorization server fault/)
  t.notMatch(lines.join(''), secretText)
  fails = false
  t.equal((await redeem(app, code)).status, 200, 'the code was not used up')
})

t.test('answers an error of a hook of the application with server_error, and does not log its text', async t => {
  const lines: string[] = []
  const app = await serverApp(t, {
    before: async app => { app.addHook('preHandler', async () => { throw new Error(`the secret ${secretText}`) }) },
    fastify: { logger: { level: 'error', stream: { write: line => { lines.push(line) } } } }
  })
  const answer = await post(app, '/oauth/token', own, basic('partner', partnerSecret))
  t.match(answer, { status: 500, body: { error: 'server_error', error_description: 'The request cannot be answered' } })
  t.match(lines.join(''), /authorization server fault/)
  t.notMatch(lines.join(''), secretText)
})

t.test('an application that is too busy is temporarily_unavailable, for clients and for people', async t => {
  for (const [statusCode, retryAfter] of [[503, undefined], [503, '7'], [429, '60']] as const) {
    const app = await serverApp(t, {
      before: async app => {
        app.addHook('onRequest', async (request, reply) => {
          if (!request.url.startsWith('/oauth')) return
          if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
          throw Object.assign(new Error('too busy'), { statusCode })
        })
      }
    })
    const answer = await post(app, '/oauth/token', own, basic('partner', partnerSecret))
    t.match(answer, { status: statusCode, body: { error: 'temporarily_unavailable' } })
    const page = await visit(app, authorizePath())
    t.equal(page.status, statusCode)
    for (const { headers } of [answer, page.answer]) t.equal(headers['retry-after'], retryAfter ?? '5')
  }
})

t.test('a handler that takes longer than Fastify allows is temporarily_unavailable', async t => {
  const store = { ...memoryStore(), get: async () => await setTimeout(200, null) }
  const app = await serverApp(t, { store, fastify: { handlerTimeout: 50 } })
  const form = { grant_type: 'authorization_code', client_id: 'spa', code: 'a'.repeat(43), code_verifier: verifier }
  t.match(await post(app, '/oauth/token', form), { status: 503, body: { error: 'temporarily_unavailable' } })
})

t.test('a client without scopes gets a token without scopes', async t => {
  const app = await serverApp(t, {
    oauth: { clients: { ...clients, idle: { secrets: [webSecret], grants: ['client_credentials'] } } }
  })
  const { status, body } = await post(app, '/oauth/token', own, basic('idle', webSecret))
  t.match({ status, body }, { status: 200, body: { scope: '' } })
  const about = await post(app, '/oauth/introspect', { token: body.access_token }, basic('partner', partnerSecret))
  t.match(about.body, { active: true, scope: '' })
})

t.test('every answer is RFC 6749 JSON, whatever the option errors says', async t => {
  for (const errors of ['problem', 'oauth', () => ({ mine: true })] as const) {
    const app = await serverApp(t, { plugin: { errors } })
    const { body } = await post(app, '/oauth/token', own, basic('partner', 'wrong'))
    t.same(Object.keys(body), ['error', 'error_description'])
  }
})

t.test('every answer is the protocol\'s own JSON, whatever envelope the application has', async t => {
  const envelopes: ReadonlyArray<(app: FastifyInstance) => unknown> = [
    app => app.addHook('preSerialization', async (_request, _reply, data) => ({ data })),
    app => app.setReplySerializer(data => JSON.stringify({ data }))
  ]
  for (const wrap of envelopes) {
    const options = { before: async (app: FastifyInstance) => { await wrap(app) }, jwt: { resource: true } }
    const app = await serverApp(t, options as Parameters<typeof serverApp>[1])
    const { body } = await post(app, '/oauth/token', own, basic('partner', partnerSecret))
    t.match(body, { access_token: /./, token_type: 'Bearer' })
    t.match(
      (await call(app, body.access_token)).body, { data: { id: 'client:partner' } },
      'without a change, the request succeeds'
    )
    const about = await post(app, '/oauth/introspect', { token: body.access_token }, basic('partner', partnerSecret))
    t.match(about.body, { active: true })
    const document = async (path: string) => (await app.inject(`/.well-known/${path}`)).json()
    t.match(await document('oauth-authorization-server'), { issuer: origin })
    t.match(await document('jwks.json'), { keys: [{ kty: 'EC' }] })
    t.match(await document('oauth-protected-resource/mcp'), { resource: `${origin}/mcp` })
  }
})
