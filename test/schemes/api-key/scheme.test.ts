import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { apiKey, basic, type ApiKeyOptions, type PrincipalInput, type Scheme } from '../../../lib/index.js'
import { readChallenges } from '../../fixtures/challenges.js'
import { createApplication, handler, createScheme } from '../../fixtures/schemes.js'

const hex = () => randomBytes(24).toString('hex')

async function made (options: unknown, name = 'service'): Promise<Scheme> {
  return (await createScheme(apiKey(options as ApiKeyOptions), Fastify() as unknown as FastifyInstance, name)).scheme
}

t.test('accepts a key of 16 random bytes, in hex, in base64url and with a prefix', async t => {
  for (let i = 0; i < 150; i++) {
    const keys = [
      hex(),
      hex().toUpperCase(),
      randomBytes(16).toString('base64url'),
      randomBytes(24).toString('base64url'),
      randomBytes(32).toString('base64')
    ]
    await t.resolves(made({ keys: Object.fromEntries(keys.map(key => [key, { id: 'ann' }])) }))
    await t.resolves(
      made({
        prefix: 'sk_live_',
        keys: {
          [`sk_live_${hex()}`]: { id: 'ann' },
          [`sk_live_${randomBytes(16).toString('base64url')}`]: { id: 'bob' }
        }
      })
    )
  }
})

t.test('stops the boot for a key that is guessable, too short or not sendable, without showing it', async t => {
  const strong = hex()
  const weak: ReadonlyArray<readonly [unknown, RegExp]> = [
    [
      { keys: { 'my-secret-api-key-for-everybody': { id: 'a' } } },
      /^Key 1 of schemes\.service\.keys is too easy to guess/
    ],
    [
      { keys: { [strong]: { id: 'a' }, aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: { id: 'b' } } },
      /^Key 2 of schemes\.service\.keys is too easy/
    ],
    [{ keys: { [randomBytes(8).toString('hex')]: { id: 'a' } } }, /is too easy/],
    [{ keys: { [randomBytes(11).toString('base64url')]: { id: 'a' } } }, /is too short/],
    [{ prefix: `${strong}_`, keys: { [`${strong}_${randomBytes(8).toString('hex')}`]: { id: 'a' } } }, /is too easy/],
    [{ prefix: strong, keys: { [strong]: { id: 'a' } } }, /is too short: it has 0 bytes/],
    [
      { prefix: 'acme_', keys: { [strong]: { id: 'a' } } },
      /^Key 1 of schemes\.service\.keys does not begin with schemes\.service\.prefix\. Put 'acme_' in front of the key/
    ],
    [
      { keys: { [`${strong},${strong}`]: { id: 'a' } } },
      /^Key 1 of .* cannot be sent in header:x-api-key\. Use up to 1024 characters of visible ASCII/
    ],
    [{ keys: { [`${strong};${strong}`]: { id: 'a' } } }, /cannot be sent/],
    [{ keys: { [`${strong} ${strong}`]: { id: 'a' } } }, /cannot be sent/],
    [{ keys: { [`${strong}é`]: { id: 'a' } } }, /cannot be sent/],
    [{ keys: { [randomBytes(600).toString('hex')]: { id: 'a' } } }, /cannot be sent/],
    [
      { from: ['cookie:key', 'bearer'], keys: { [`${strong}!`]: { id: 'a' } } },
      /cannot be sent in cookie:key and bearer\. Use up to 1024 characters of letters, digits and -\._~\+\//
    ],
    [{ keys: { undefined: { id: 'a' } } }, /^Key 1 of .* is 'undefined', so its environment variable is not set/],
    [{ keys: new Map([[undefined, { id: 'a' }]]) }, /is not a string/],
    [{ keys: new Map([[7, { id: 'a' }]]) }, /is not a string/]
  ]
  for (const [options, message] of weak) {
    const error = await made(options).then(() => null, (error: unknown) => error)
    t.match(error, { code: 'AUTH_MISCONFIGURED', message })
    const [key = ''] = Object.keys((options as { keys: object }).keys)
    if (key !== 'undefined' && key !== '') {
      t.notOk(inspect(error, { depth: 9, showHidden: true }).includes(key), 'the sentence does not show it')
    }
  }
  await t.resolves(made({ keys: { [`${strong}!$%&'*+:`]: { id: 'a' } } }), 'in a header, what is visible travels')
  await t.resolves(made({ keys: { [randomBytes(512).toString('hex')]: { id: 'a' } } }), 'the longest key')
})

t.test('stops the boot for a wrong option, and names it', async t => {
  const key = hex()
  const keys = { [key]: { id: 'ann' } }
  const verify = () => null
  const wrong: ReadonlyArray<readonly [unknown, RegExp]> = [
    [undefined, /^The options of schemes\.service must be an object/],
    [{}, /must have exactly one of keys, verify and managed/],
    [{ keys, verify }, /must have exactly one of keys, verify and managed/],
    [{ key: keys }, /have an unknown key 'key'\. Did you mean 'keys'/],
    [{ keys: undefined }, /'keys' set to undefined/],
    [{ keys: {} }, /^The option schemes\.service\.keys is empty/],
    [{ keys: new Map() }, /^The option schemes\.service\.keys is empty/],
    [{ keys: [key] }, /^The option schemes\.service\.keys must be an object or a Map/],
    [{ keys: key }, /^The option schemes\.service\.keys must be an object or a Map/],
    [{ verify: true }, /^The option schemes\.service\.verify must be a function/],
    [{ verify, from: 'x-api-key' }, /^The option schemes\.service\.from must be 'bearer', 'header:<name>'/],
    [{ verify, from: [] }, /at least one source/],
    [{ verify, prefix: 7 }, /^The option schemes\.service\.prefix must be a string\. Got 7\./],
    [{ verify, realm: 'a\nb' }, /^The option schemes\.service\.realm has a character that no header can carry\./],
    [{ verify, realm: null }, /^The option schemes\.service\.realm must be a string\. Got null\./],
    [{ verify, load: {} }, /^The option schemes\.service\.load must be a function/],
    [
      { keys: { [key]: { scopes: ['a'] } } },
      /^The principal of key 1 of schemes\.service\.keys is wrong: a principal must be .* a non-empty string id\. Got /
    ],
    [{ keys: { [key]: null } }, /non-empty string id/],
    [{ keys: { [key]: 'ann' } }, /non-empty string id/],
    [{ keys: { [key]: { id: 'ann', scopes: 'a' } } }, /scopes of a principal must be a list of strings\. Got a text/],
    [{ keys: { [key]: { id: 'ann', get roles () { throw new Error('no') } } } }, /it cannot be read/]
  ]
  for (const [options, message] of wrong) {
    await t.rejects(async () => made(options), { code: 'AUTH_MISCONFIGURED', message }, String(message))
  }
  await t.rejects(
    createApplication({ schemes: { service: apiKey({ keys: {} }) } }),
    { code: 'AUTH_MISCONFIGURED' },
    'and the plugin with it'
  )
})

t.test('stops the boot for a limit or an expiry in a table, which would have no effect', async t => {
  const key = randomBytes(32).toString('base64url')
  const tables = (fields: object) => [
    ['key 1 of schemes\\.one\\.keys', apiKey({ keys: { [key]: { id: 'a', ...fields } } })],
    ["user 'a' of schemes\\.one", basic({ users: { a: { password: key, ...fields } as never } })]
  ] as const
  for (const [fields, message] of [
    [{ rateLimit: { max: 60, window: '1m' } }, 'has a rateLimit, which would limit nothing\\. .*managed API keys'],
    [{ rateLimit: [{ max: 60, window: '1m' }] }, 'has a rateLimit, which would limit nothing\\. .*config\\.auth'],
    [{ expiresAt: new Date(0) }, 'has expiresAt, but no entry of a table expires\\. Use managed API keys'],
    [{ expiresAt: '2020-01-01' }, 'has expiresAt, but no entry of a table expires\\. .* another name']
  ] as const) {
    for (const [which, one] of tables(fields)) {
      await t.rejects(createApplication({ schemes: { one } }), {
        code: 'AUTH_MISCONFIGURED', message: new RegExp(`^The principal of ${which} ${message}`)
      })
    }
  }
  for (const [, one] of tables({ rateLimit: 'free', expiresAt: null })) await createApplication({ schemes: { one } })
})

t.test('does not keep the plaintext of a key', async t => {
  const key = hex()
  const scheme = await made({ keys: { [key]: { id: 'ann' } } })
  t.notOk(inspect(scheme, { depth: 9, showHidden: true }).includes(key))
  const given = { [key]: { id: 'ann' } as PrincipalInput }
  const { app } = await createApplication({ schemes: { service: apiKey({ keys: given }) } })
  app.get('/', handler().handler)
  given[key] = { id: 'root' }
  delete given[key]
  t.match(
    (await app.inject({ url: '/', headers: { 'x-api-key': key } })).json(),
    { id: 'ann' },
    'and later changes of the table do not count'
  )
})

t.test('maps each of thousands of keys to its own principal', async t => {
  const people = Array.from({ length: 3000 }, (_, i) => [hex(), { id: `user ${i}`, scopes: [`own:${i}`] }] as const)
  const { app } = await createApplication(
    { schemes: { service: apiKey({ keys: new Map(people) }) } }, { logger: false }
  )
  app.get('/', async request => request.principal)
  for (let i = 0; i < people.length; i += 37) {
    const [key, { id, scopes }] = people[i] as (typeof people)[number]
    t.same((await app.inject({ url: '/', headers: { 'x-api-key': key } })).json(), {
      id,
      scopes,
      roles: [],
      realm: 'service'
    })
  }
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': hex() } })).statusCode, 401)
})

t.test('calls verify with the key and the request, and answers 500 if it throws', async t => {
  const calls: unknown[] = []
  const answers: Record<string, () => unknown> = {
    ann: () => ({ id: 'ann', realm: 'https://id.test', team: 7 }),
    later: async () => ({ id: 'later' }),
    query: () => ({ then: (done: (value: unknown) => void) => { done({ id: 'query' }) } }),
    null: () => null,
    nobody: async () => null,
    undefined: () => undefined,
    false: () => false,
    notValid: () => ({ valid: false }),
    noId: () => ({ scopes: [] }),
    throws: () => { throw new Error('secret cause') },
    rejects: async () => { throw new Error('secret cause') }
  }
  const { app, log } = await createApplication({
    schemes: {
      service: apiKey({
        verify: (key, request) => {
          calls.push([key, request.url])
          return answers[key]?.() as null
        }
      })
    }
  })
  app.get('/', async request => request.principal)
  const ask = async (key: string) => {
    const { statusCode, body } = await app.inject({ url: '/', headers: { 'x-api-key': key } })
    return [statusCode, JSON.parse(body)]
  }
  t.same(await ask('ann'), [200, { id: 'ann', realm: 'https://id.test', scopes: [], roles: [], team: 7 }])
  t.match(await ask('later'), [200, { id: 'later', realm: 'service' }])
  t.match(await ask('query'), [200, { id: 'query' }], 'a thenable of a query builder is awaited')
  for (const key of ['null', 'nobody', 'undefined', 'false', 'notValid']) {
    t.match(await ask(key), [401, { code: 'AUTH_INVALID_CREDENTIALS' }])
  }
  for (const key of ['noId', 'throws', 'rejects']) {
    t.match(await ask(key), [500, { code: 'AUTH_FAULT', message: 'Internal Server Error' }], key)
  }
  t.equal(log.filter(line => line.msg === 'authentication fault').length, 3)
  t.same(calls[0], ['ann', '/'])
  calls.length = 0
  for (const key of ['a'.repeat(1025), 'ann, ann']) {
    t.match(await ask(key), [401, { code: 'AUTH_INVALID_CREDENTIALS' }])
  }
  t.same(calls, [], 'a text that is not a key of anybody is not looked up')
  await ask('a'.repeat(1024))
  t.equal(calls.length, 1)
})

t.test('lets two schemes with prefixes share a source, in either order', async t => {
  const [one, two] = [`one_${hex()}`, `two_${hex()}`]
  const schemes = {
    one: apiKey({ prefix: 'one_', keys: { [one]: { id: '1' } } }),
    two: apiKey({ prefix: 'two_', verify: async key => (key === two ? { id: '2' } : null) })
  }
  const { app } = await createApplication({ schemes, default: ['one', 'two'] })
  app.get('/', handler().handler)
  app.get('/turned', { config: { auth: ['two', 'one'] } }, handler().handler)
  for (const url of ['/', '/turned']) {
    const ask = async (key: string) => (await app.inject({ url, headers: { 'x-api-key': key } })).json()
    t.match(await ask(one), { scheme: 'one', id: '1' })
    t.match(await ask(two), { scheme: 'two', id: '2' })
    for (const key of [`one_${hex()}`, `two_${hex()}`, `six_${hex()}`, 'one_']) {
      t.match(await ask(key), { statusCode: 401, code: 'AUTH_INVALID_CREDENTIALS' })
    }
  }
})

t.test('as Bearer, sends a challenge with realm, error and the missing scopes', async t => {
  const key = hex()
  const { app } = await createApplication({
    schemes: {
      service: apiKey({ from: ['bearer', 'header:x-api-key'], realm: 'the "desk"', keys: { [key]: { id: 'ann' } } })
    }
  })
  app.get('/', handler().handler)
  app.get('/scopes', { config: { auth: { scopes: { all: ['a', 'b'] } } } }, handler().handler)
  app.get('/roles', { config: { auth: { roles: 'a' } } }, handler().handler)
  const challenge = async (url: string, headers: Record<string, string> = {}) =>
    readChallenges((await app.inject({ url, headers })).headers['www-authenticate'] as string)
  const realm = 'the "desk"'
  t.same(await challenge('/'), [{ scheme: 'bearer', params: { realm } }])
  t.same(await challenge('/', { 'x-api-key': hex() }), [
    { scheme: 'bearer', params: { realm, error: 'invalid_token' } }
  ])
  t.same(await challenge('/scopes', { 'x-api-key': key }), [
    { scheme: 'bearer', params: { realm, error: 'insufficient_scope', scope: 'a b' } }
  ])
  t.same(await challenge('/roles', { authorization: `Bearer ${key}` }), [
    { scheme: 'bearer', params: { realm, error: 'insufficient_scope' } }
  ])
})

t.test('derives the OpenAPI description, ambience and caching from the source', async t => {
  const of = async (from: ApiKeyOptions['from']) => {
    const { openapi, ambient, cacheControl } = await made({ verify: () => null, from })
    return { openapi, ambient, cacheControl }
  }
  t.match(await made({ verify: () => null }), { openapi: { type: 'apiKey', in: 'header', name: 'x-api-key' } })
  t.same(await of('header:x-key'), {
    openapi: { type: 'apiKey', in: 'header', name: 'x-key' },
    ambient: false,
    cacheControl: 'private'
  })
  t.same(await of('query:key'), {
    openapi: { type: 'apiKey', in: 'query', name: 'key' },
    ambient: false,
    cacheControl: 'private, no-store'
  })
  t.same(await of('cookie:key'), {
    openapi: { type: 'apiKey', in: 'cookie', name: 'key' },
    ambient: true,
    cacheControl: 'private'
  })
  t.same(await of('bearer'), { openapi: { type: 'http', scheme: 'bearer' }, ambient: false, cacheControl: undefined })
  t.match(await of(['bearer', 'cookie:key']), { openapi: { type: 'http' }, ambient: true, cacheControl: 'private' })
})

t.test('calls the load of the plugin if it has none of its own', async t => {
  const key = hex()
  const { app } = await createApplication({
    schemes: { service: apiKey({ keys: { [key]: { id: 'ann' } } }) },
    load: principal => ({ ...principal, roles: ['clerk'] })
  })
  app.get('/', async request => request.principal)
  t.match((await app.inject({ url: '/', headers: { 'x-api-key': key } })).json(), { id: 'ann', roles: ['clerk'] })
})

t.test('calls its own load, and leaves the principal in the table unchanged', async t => {
  const key = hex()
  const entry = { id: 'ann', scopes: ['a'] }
  let enabled = true
  const { app } = await createApplication({
    schemes: {
      service: apiKey({
        keys: { [key]: entry },
        load: principal => (enabled ? { ...principal, roles: ['clerk'] } : null)
      })
    }
  })
  app.get('/', async request => request.principal)
  const ask = async () => app.inject({ url: '/', headers: { 'x-api-key': key } })
  t.same((await ask()).json(), { id: 'ann', realm: 'service', scopes: ['a'], roles: ['clerk'] })
  enabled = false
  t.equal((await ask()).statusCode, 401)
  t.same(entry, { id: 'ann', scopes: ['a'] })
  t.notOk(Object.isFrozen(entry) || Object.isFrozen(entry.scopes))
})
