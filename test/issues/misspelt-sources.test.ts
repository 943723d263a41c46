import Fastify from 'fastify'
import t from 'tap'
import gatehouse, { authenticated, type Scheme } from '../../lib/index.js'
import { createApplication, handler } from '../fixtures/schemes.js'

const xKey: Scheme['openapi'] = { type: 'apiKey', in: 'header', name: 'x-key' }

/** Creates a scheme with these members that accepts every request. */
function own (members: object): Scheme {
  return { openapi: xKey, authenticate: () => authenticated({ id: 'ann' }), ...members }
}

/** Returns the error that stops the boot with a scheme of these members. */
async function bootError (members: object): Promise<string> {
  const app = Fastify()
  try {
    await app.register(gatehouse, { schemes: { mine: own(members) } })
    return 'it booted'
  } catch (error) {
    t.match(error, { code: 'AUTH_MISCONFIGURED' })
    return (error as Error).message
  } finally {
    await app.close()
  }
}

t.test('stops the boot for a source that nobody understands, naming its place and the fix', async t => {
  const all = "must be 'bearer', 'basic:username', 'authorization:<word>', 'header:<name>', 'query:<name>' or " +
    "'cookie:<name>'."
  const wrong: ReadonlyArray<readonly [source: unknown, end: string]> = [
    ['Cookie:t', "Got 'Cookie:t'. Did you mean 'cookie'?"],
    ['cookies:t', "Got 'cookies:t'. Did you mean 'cookie'?"],
    ['headr:x', "Got 'headr:x'. Did you mean 'header'?"],
    ['Bearer', "Got 'Bearer'. Did you mean 'bearer'?"],
    ['querry:key', "Got 'querry:key'. Did you mean 'query'?"],
    ['cookie:', "Got 'cookie:'. Did you mean 'cookie'?"],
    ['cookie', "Got 'cookie'. Did you mean 'cookie'?"],
    ['cookie:a b', "Got 'cookie:a b'. Did you mean 'cookie'?"],
    ['cookie:t\n', "Got 'cookie:t\\n'. Did you mean 'cookie'?"],
    ['authorization:', 'Got a text of 14 characters. Did you mean \'authorization\'?'],
    ['basic:ann', "Got 'basic:ann'. Did you mean 'basic'?"],
    ['x-key', "Got 'x-key'."],
    ['', "Got ''."],
    [['cookie:t'], 'Got a list.'],
    [null, 'Got null.'],
    [undefined, 'Got undefined.'],
    [7, 'Got 7.']
  ]
  for (const [source, end] of wrong) {
    t.equal(await bootError({ sources: [source] }), `The option schemes.mine.sources[0] ${all} ${end}`)
    t.match(await bootError({ sources: ['header:x-key', source] }), 'schemes.mine.sources[1] must be')
  }
  // eslint-disable-next-line no-sparse-arrays
  t.match(await bootError({ sources: ['bearer', , 'cookie:t'] }), 'schemes.mine.sources[1] must be')
  for (const list of ['cookie:t', null, { 0: 'cookie:t' }, new Set(['cookie:t']), Promise.resolve(['cookie:t'])]) {
    t.match(await bootError({ sources: list }), /schemes\.mine\.sources must be a list\. Got /)
  }
})

t.test('stops the boot for a description from which no source follows', async t => {
  const wrong: ReadonlyArray<readonly [openapi: object, bootError: RegExp]> = [
    [{}, /openapi\.type must be 'http', 'apiKey', 'oauth2', 'openIdConnect' or 'mutualTLS'\. Got undefined\.$/],
    [{ type: 'apikey', in: 'cookie', name: 't' }, /openapi\.type must be 'http', 'apiKey', .* Got 'apikey'\.$/],
    [{ type: 'apiKey', in: 'Cookie', name: 't' }, /openapi\.in must be 'header', .* or 'cookie'\. Got 'Cookie'\.$/],
    [{ type: 'apiKey', name: 't' }, /openapi\.in must be .* Got undefined\.$/],
    [{ type: 'apiKey', in: 'cookie' }, /openapi\.name must be the name of a cookie, .*\. Got undefined\.$/],
    [{ type: 'apiKey', in: 'cookie', name: '' }, /openapi\.name must be the name of a cookie, .*\. Got ''\.$/],
    [{ type: 'apiKey', in: 'query', name: 'a b' }, /openapi\.name must be the name of a query parameter, .* Got 'a b'/],
    [{ type: 'apiKey', in: 'header', name: 'x:y' }, /openapi\.name must be .* a header, such as 'x-key'\. Got/],
    [{ type: 'http', scheme: 'a b' }, /openapi\.scheme must be the name of an HTTP authentication scheme .* Got 'a b'/],
    [{ type: 'http' }, /openapi\.scheme must be the name of an HTTP authentication scheme .* Got undefined\.$/],
    [{ type: 'oauth2' }, /openapi\.flows must be an object of flows, .* Got undefined\.$/],
    [{ type: 'oauth2', flows: { implicit: {} } }, /openapi\.flows must be an object of flows, each with its scopes/],
    [{ type: 'oauth2', flows: { implicit: null } }, /openapi\.flows must be an object of flows, each with its scopes/],
    [{ type: 'openIdConnect' }, /openapi\.openIdConnectUrl must be a non-empty string\. Got undefined\.$/]
  ]
  for (const [openapi, message] of wrong) {
    const found = await bootError({ openapi })
    t.match(found, message)
    t.match(found, /^The option schemes\.mine\.openapi\./)
  }
})

t.test('accepts every source that is understood, also headers that no other scheme may read', async t => {
  const sources = [
    'bearer', 'basic:username', 'authorization:DPoP', 'authorization:basic', 'header:X-Key', 'header:authorization',
    'header:cookie', 'header:host', 'query:key', 'cookie:__Host-t'
  ]
  t.equal(await bootError({ sources }), 'it booted')
  t.equal(await bootError({ sources: [] }), 'it booted')
  for (const openapi of [
    { type: 'oauth2', flows: {} },
    { type: 'oauth2', flows: { implicit: { authorizationUrl: 'https://a', scopes: {} } } },
    { type: 'openIdConnect', openIdConnectUrl: 'https://id.example.com' }, { type: 'mutualTLS' }
  ]) t.equal(await bootError({ openapi }), 'it booted')
})

t.test('checks requests from other sites for the headers that browsers fill', async t => {
  const basic = { openapi: { type: 'http', scheme: 'Negotiate' } }
  const bearer = { openapi: { type: 'http', scheme: 'Bearer' } }
  const whole = { sources: ['header:Authorization'] }
  const cases: ReadonlyArray<readonly [members: object, status: number]> = [
    [{ sources: ['header:cookie'] }, 403],
    [{ sources: ['header:x-key', 'header:Cookie'] }, 403],
    [{ sources: ['header:cookie'], ambient: false }, 200],
    [{ sources: ['header:x-cookie'] }, 200],
    [{ sources: ['header:cookie-key'] }, 200],
    [{ openapi: { type: 'apiKey', in: 'header', name: 'Cookie' } }, 403],
    [{ openapi: { type: 'apiKey', in: 'header', name: 'Authorization' } }, 403],
    [{ openapi: { type: 'apiKey', in: 'header', name: 'Authorization' }, ambient: false }, 200],
    [whole, 403],
    [{ ...whole, ...basic }, 403],
    [{ ...whole, ...basic, ambient: false }, 200],
    [{ ...whole, ...bearer }, 200],
    [{ ...whole, ...bearer, ambient: true }, 403],
    [{ ...whole, openapi: { type: 'oauth2', flows: {} } }, 200],
    [{ ...whole, openapi: { type: 'openIdConnect', openIdConnectUrl: 'https://id.example.com' } }, 200],
    [{ ...whole, openapi: { type: 'mutualTLS' } }, 403],
    [{ sources: ['authorization:basic'] }, 403],
    [{ sources: ['authorization:DPoP'] }, 200]
  ]
  for (const [members, status] of cases) {
    const { app } = await createApplication({ schemes: { mine: own(members) } })
    app.post('/', handler().handler)
    const headers = { host: 'gate.test', origin: 'https://evil.test', 'sec-fetch-site': 'cross-site' }
    t.equal((await app.inject({ method: 'POST', url: '/', headers })).statusCode, status, JSON.stringify(members))
    await app.close()
  }
})

t.test('carries a credential in a message to a whole Authorization that no browser fills', async t => {
  const headersSeen: unknown[] = []
  const scheme = (openapi: object, more: object = {}) => own({
    openapi,
    sources: ['header:authorization'],
    authenticate ({ headers }: { headers: Record<string, unknown> }) {
      headersSeen.push(headers.authorization)
      return authenticated({ id: 'ann' })
    },
    ...more
  })
  const { app } = await createApplication({
    schemes: {
      bearer: scheme({ type: 'http', scheme: 'bearer' }),
      own: scheme({ type: 'apiKey', in: 'header', name: 'authorization' }, { ambient: false }),
      any: scheme({ type: 'apiKey', in: 'header', name: 'authorization' }),
      basic: scheme({ type: 'http', scheme: 'basic' })
    },
    default: 'bearer'
  })
  const outcomes: string[] = []
  app.get('/', async request => {
    for (const name of ['bearer', 'own', 'any', 'basic']) {
      const outcome = await app.gatehouse.authenticate(name, 'Token mine', { request })
        .then(({ kind }) => kind, ({ code }: { code: string }) => code)
      outcomes.push(outcome)
    }
    return {}
  })
  headersSeen.length = 0
  await app.inject({ url: '/', headers: { authorization: 'Basic other' } })
  t.strictSame(outcomes, ['authenticated', 'authenticated', 'AUTH_FAULT', 'AUTH_FAULT'])
  t.strictSame(headersSeen, ['Basic other', 'Token mine', 'Token mine'])
  await app.close()
})
