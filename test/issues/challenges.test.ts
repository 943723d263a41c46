import { randomBytes } from 'node:crypto'
import t from 'tap'
import {
  apiKey,
  AuthError,
  basic,
  invalid,
  jwt,
  session,
  type ApiKeyOptions,
  type GatehouseOptions,
  type Scheme
} from '../../lib/index.js'
import { stopsTheBoot } from '../fixtures/routes.js'
import { createApplication, handler, createScheme, scripted } from '../fixtures/schemes.js'

const key = randomBytes(24).toString('base64url')
const keys = { [key]: { id: 'billing' } }
const secret = randomBytes(32).toString('base64url')

/** Requests a protected route of an application with one scheme. */
async function ask (scheme: GatehouseOptions['schemes'][string], headers: Record<string, string> = {}, url = '/') {
  const { app } = await createApplication({ schemes: { it: scheme } })
  app.get('/', handler().handler)
  app.get('/denied', { config: { auth: { roles: 'nobody' } } }, handler().handler)
  const answer = await app.inject({ url, headers })
  await app.close()
  return [answer.statusCode, answer.headers['www-authenticate']]
}

t.test('sends the challenge APIKey on a 401 for an API key in a header, query or cookie', async t => {
  for (const from of ['header:x-api-key', 'query:key', 'cookie:key', ['header:x-api-key', 'query:key']] as const) {
    t.same(await ask(apiKey({ from, keys })), [401, 'APIKey realm="it"'], `${from.toString()}: nothing was sent`)
  }
  t.same(await ask(apiKey({ keys }), { 'x-api-key': 'unknown' }), [401, 'APIKey realm="it"'], 'a wrong key')
  t.same(await ask(apiKey({ keys, realm: 'the "desk"' })), [401, 'APIKey realm="the \\"desk\\""'])
  t.same(
    await ask(apiKey({ managed: { prefix: 'acme' } }), { 'x-api-key': 'acme_x' }),
    [401, 'APIKey realm="it"'],
    'managed keys'
  )
  t.same(await ask(apiKey({ keys }), { 'x-api-key': key }, '/denied'), [403, undefined], 'no other key would help')
})

t.test('names the HTTP authentication scheme of the challenge by the option challenge', async t => {
  t.same(await ask(apiKey({ keys, challenge: 'X-API-Key' })), [401, 'X-API-Key'])
  t.same(await ask(apiKey({ keys, challenge: 'X-API-Key', realm: 'desk' })), [401, 'X-API-Key realm="desk"'])
  t.same(await ask(apiKey({ managed: { prefix: 'acme' }, challenge: 'X-API-Key' })), [401, 'X-API-Key'])
})

t.test('stops the boot for a challenge that cannot be written, or conflicts with Bearer', async t => {
  const boot = (more: Record<string, unknown>) => async () =>
    await createApplication({ schemes: { it: apiKey({ keys, ...more } as ApiKeyOptions) } })
  for (const challenge of ['', 'two words', 'X-API-Key\r\n', 7, null, { scheme: 'X-API-Key' }]) {
    await stopsTheBoot(
      t,
      boot({ challenge }),
      'The option schemes.it.challenge must be the name of an HTTP authentication scheme'
    )
  }
  await stopsTheBoot(t, boot({ challenge: 'APIKey realm="x"' }), 'Write the realm as the option realm.')
  await stopsTheBoot(
    t,
    boot({ challenge: 'X-API-Key', from: ['bearer', 'header:x-api-key'] }),
    /Leave challenge out, or 'bearer' out of the option from/
  )
  await stopsTheBoot(t, boot({ realm: 7 }), 'The option schemes.it.realm must be a string. Got 7.')
})

t.test('sends the error of RFC 6750 for an expired API key, as for a wrong one', async t => {
  const { scheme: { challenge } } = await createScheme(apiKey({ from: 'bearer', keys }), {} as never, 'it')
  for (const code of ['AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED'] as const) {
    t.same(challenge?.({ code, scheme: 'it', detail: '', scopes: [], maxAge: null, retryAfter: null }), {
      scheme: 'Bearer',
      params: { realm: 'it', error: 'invalid_token' }
    })
  }
})

t.test('sends a challenge on every 401 of a session', async t => {
  const { app } = await createApplication({
    schemes: {
      web: session({ secret, secure: false }),
      user: jwt({ keys: randomBytes(32), issuer: false, audience: false })
    },
    default: 'web'
  })
  const open = { config: { auth: { public: 'logs in' } } } as const
  app.get('/', handler().handler)
  app.get('/recent', { config: { auth: { maxAge: 0.001 } } }, handler().handler)
  app.get('/both', { config: { auth: ['web', 'user'] } }, handler().handler)
  app.get('/asks', open, async (_request, reply) => reply.challenge())
  app.get('/renew', open, async (_request, reply) => {
    await reply.login({ id: 'ann' }, { renew: true })
  })
  app.get('/throws', { config: { auth: { mode: 'try' } } }, async request => {
    throw request.auth.error ?? new Error('none')
  })
  app.get(
    '/guess',
    open,
    async (_request, reply) =>
      await app.gatehouse.guesses.attempt(reply, { toString: () => 'ann' } as unknown as string, () => true)
  )
  app.get('/login', open, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return {}
  })
  const forged = `web=${'A'.repeat(120)}.${'B'.repeat(32)}`
  const challenge = async (url: string, cookie?: string) => {
    const answer = await app.inject({ url, headers: cookie === undefined ? {} : { cookie } })
    return [answer.statusCode, answer.headers['www-authenticate']]
  }
  t.same(await challenge('/'), [401, 'Cookie realm="web"'])
  t.same(await challenge('/', forged), [401, 'Cookie realm="web"'])
  t.same(await challenge('/both', forged), [401, 'Cookie realm="web"'], 'of the scheme that saw the credential')
  t.same(
    await challenge('/both'),
    [401, 'Bearer realm="user"'],
    'where another scheme has a challenge, none is made up'
  )
  t.same(await challenge('/asks'), [401, 'Cookie realm="web"'])
  t.same(await challenge('/renew'), [401, 'Cookie realm="web"'], 'an error of reply.login')
  t.same(await challenge('/throws', forged), [401, 'Cookie realm="web"'], 'an error of a handler')
  t.same(await challenge('/guess'), [401, 'Cookie realm="web"'], 'an error of guesses.attempt')
  const cookie = String((await app.inject('/login')).headers['set-cookie']).split(';')[0] ?? ''
  await new Promise(resolve => {
    setTimeout(resolve, 20)
  })
  t.same(await challenge('/recent', cookie), [
    401,
    'Cookie realm="web", error="insufficient_user_authentication", max_age=0.001'
  ])
})

t.test('falls back to the OpenAPI description for a custom scheme without a challenge', async t => {
  const described: ReadonlyArray<readonly [Scheme['openapi'], string]> = [
    [{ type: 'apiKey', in: 'header', name: 'x-device' }, 'APIKey realm="it"'],
    [{ type: 'apiKey', in: 'query', name: 'device' }, 'APIKey realm="it"'],
    [{ type: 'apiKey', in: 'cookie', name: 'device' }, 'Cookie realm="it"'],
    [{ type: 'http', scheme: 'negotiate' }, 'negotiate realm="it"'],
    [{ type: 'oauth2', flows: {} }, 'Bearer realm="it"'],
    [{ type: 'openIdConnect', openIdConnectUrl: 'https://id.test' }, 'Bearer realm="it"'],
    [{ type: 'mutualTLS' }, 'ClientCertificate realm="it"']
  ]
  for (const [openapi, expected] of described) {
    const mute: Scheme = { openapi, authenticate: () => invalid('always') }
    t.same(await ask(mute), [401, expected], expected)
    t.same(await ask({ ...mute, challenge: () => null }), [401, expected], `${expected}, where the scheme says null`)
  }
})

t.test('keeps the challenge when a handler throws, and still answers when a scheme throws', async t => {
  const throws = (): never => {
    throw new Error('secret cause')
  }
  const { app, log } = await createApplication({
    schemes: { it: scripted('it', { challenge: throws }), ops: basic({ verify: () => null }) },
    default: 'it'
  })
  const refused = (): never => {
    throw new AuthError('AUTH_REQUIRED', 'the handler says so')
  }
  app.get('/own', { config: { auth: 'ops' } }, handler().handler)
  app.get('/kept', { config: { auth: false } }, async (_request, reply) => {
    reply.header('www-authenticate', 'Mine')
    refused()
  })
  app.get('/broken', { config: { auth: false } }, refused)
  t.equal((await app.inject('/own')).headers['www-authenticate'], 'Basic realm="ops", charset="UTF-8"')
  t.equal((await app.inject('/kept')).headers['www-authenticate'], 'Mine')
  const broken = await app.inject('/broken')
  t.same([broken.statusCode, broken.headers['www-authenticate']], [401, undefined])
  t.ok(log.some(line => line.msg === 'a scheme threw while its challenge was written'))
})
