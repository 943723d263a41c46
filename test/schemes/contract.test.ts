import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import { SignJWT } from 'jose'
import t from 'tap'
import {
  apiKey,
  authenticated,
  basic,
  foreign,
  invalid,
  jwt,
  read,
  session,
  type ApiKeyCredential,
  type ApiKeyInput,
  type ApiKeyOptions,
  type NewApiKey,
  type CredentialSource,
  type Principal,
  type Scheme,
  type SchemeFactory
} from '../../lib/index.js'
import { memoryStore } from '../../lib/stores/memory/index.js'
import { schemeContract, type SchemeContract, type SentCredential as Sent } from '../../lib/testing/index.js'
import { contextOf, createScheme } from '../fixtures/schemes.js'

const key = randomBytes(16).toString('hex')
const other = randomBytes(16).toString('hex')
/** The form of a signed token. */
const jws = 'eyJhbGciOiJub25lIn0.e30.AAAA'
const later = async <T>(value: T): Promise<T> => value

/** Returns a function that puts a text into one source of a request. */
function carrier (place: CredentialSource): (text: string) => Sent {
  const [kind, name = ''] = place.split(':')
  switch (kind) {
    case 'bearer': return text => ({ headers: { authorization: `Bearer ${text}` } })
    case 'cookie': return text => ({ headers: { cookie: `a=b; ${name}=${text}` } })
    case 'query': return text => ({ query: { [name]: text } })
    default: return text => ({ headers: { [name]: text } })
  }
}

type Subject = Omit<SchemeContract, 'test'>

/** Runs the contract as one test with the name of the scheme. */
function testContract (name: string, subject: Subject): void {
  t.test(`${name} keeps the contract of a scheme`, async t => {
    schemeContract({ ...subject, test: (title, run) => t.test(title, run) })
  })
}

function keySubject (
  place: CredentialSource,
  options: Omit<ApiKeyOptions, 'from'>,
  more: Partial<Subject> = {}
): Subject {
  const carry = carrier(place)
  return {
    scheme: apiKey({ from: place, ...options } as ApiKeyOptions),
    good: async () => ({ 'the key': carry(key) }),
    bad: {
      'an unknown key': carry(other),
      'a key without its end': carry(key.slice(0, -1)),
      'a longer key': carry(`${key}0`),
      'a key in capitals': carry(key.toUpperCase()),
      'a long text': carry('a'.repeat(2000)),
      ...place === 'bearer' ? { 'four segments': carry(`${jws}.AAAA`) } : { 'a token': carry(jws) }
    },
    foreign: place === 'bearer' ? { 'a token': carry(jws) } : {},
    sync: true,
    carry,
    challenge: place === 'bearer' ? 'Bearer' : 'APIKey',
    ambient: place.startsWith('cookie:'),
    ...more
  }
}

for (const place of ['header:x-api-key', 'bearer', 'query:api_key', 'cookie:api_key'] as const) {
  testContract(`apiKey from ${place}`, keySubject(place, { keys: { [key]: { id: 'ann' } } }))
}
testContract('apiKey with keys in a Map',
  keySubject('header:x-api-key', { keys: new Map([[key, { id: 'ann' }]]) })
)
testContract('apiKey with verify',
  keySubject('header:x-api-key', { verify: sent => (sent === key ? { id: 'ann' } : null) })
)
testContract('apiKey with an async verify',
  keySubject('bearer', { verify: sent => later(sent === key ? { id: 'ann' } : null) }, { sync: false })
)
testContract('apiKey with a prefix',
  keySubject(
    'bearer',
    { prefix: 'acme_', keys: { [`acme_${key}`]: { id: 'ann' } } },
    {
      good: async () => ({ 'the key': carrier('bearer')(`acme_${key}`) }),
      bad: { 'an unknown key': carrier('bearer')(`acme_${other}`), 'the prefix alone': carrier('bearer')('acme_') },
      foreign: {
        'another prefix': carrier('bearer')(`acne_${key}`),
        'no prefix': carrier('bearer')(key),
        'a token': carrier('bearer')(jws)
      }
    }
  )
)

const store = memoryStore()
const managed =
  (from: CredentialSource): SchemeFactory<Principal, ApiKeyCredential> =>
    (app, name) =>
      apiKey({ from, managed: { prefix: 'acme_live' } })(app, name, contextOf(store))
const issuing = (await createScheme(managed('bearer'), Fastify() as unknown as FastifyInstance, 'issuing')).features
const issued = async (more: Partial<ApiKeyInput> = {}): Promise<NewApiKey> => {
  const made = await issuing.apiKeys?.of({ realm: 'staff', id: 'ann' }).create({ name: 'laptop', ...more })
  if (made === undefined) throw new Error('the scheme manages no keys')
  return made
}
const [current, old, revoked, ended] = [
  await issued(),
  await issued(),
  await issued(),
  await issued({ expiresAt: new Date(Date.now() + 20) })
]
const successor = await issuing.apiKeys?.ofAnyOwner().rotate(old.record.id, { overlap: '1d' })
await issuing.apiKeys?.ofAnyOwner().revoke(revoked.record.id)
await sleep(30)
const flipped = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === 'a' ? 'b' : 'a') + text.slice(at + 1)

for (const place of ['header:x-api-key', 'bearer', 'query:api_key', 'cookie:api_key'] as const) {
  const carry = carrier(place)
  testContract(`managed apiKey from ${place}`, {
    scheme: managed(place),
    good: async () => ({
      'a key': carry(current.key),
      'a key that was rotated': carry(old.key),
      'its successor': carry(successor?.key ?? '')
    }),
    bad: {
      'a revoked key': carry(revoked.key),
      'a typo': carry(flipped(current.key, 20)),
      'a wrong checksum': carry(flipped(current.key, current.key.length - 1)),
      'a key without its end': carry(current.key.slice(0, -1)),
      'a longer key': carry(`${current.key}0`),
      'its start': carry(current.record.start),
      'its id behind the prefix': carry(`acme_live_${current.record.id.replaceAll(/[_-]/g, 'x')}`),
      'the prefix alone': carry('acme_live_')
    },
    foreign: {
      'another prefix': carry(current.key.replace('acme_live', 'acme')),
      'its id': carry(current.record.id.replaceAll('_', '-')),
      'in capitals': carry(current.key.toUpperCase()),
      'no key': carry(key),
      ...(place === 'bearer' ? { 'a token': carry(jws) } : {})
    },
    expired: { 'a key that ended': carry(ended.key) },
    sync: false,
    carry,
    challenge: place === 'bearer' ? 'Bearer' : 'APIKey',
    ambient: place.startsWith('cookie:')
  })
}

const password = 'pässwörd: with "colon"'
const userPass = (name: string, word: string): Sent => ({
  headers: { authorization: `Basic ${Buffer.from(`${name}:${word}`).toString('base64')}` }
})
const basicSubject: Omit<Subject, 'scheme' | 'sync'> = {
  good: async () => ({
    'name and password': userPass('ann', password),
    'as a decomposed text': userPass('ann', password.normalize('NFD'))
  }),
  bad: {
    'a wrong password': userPass('ann', `${password}!`),
    'an unknown user': userPass('bob', password),
    'no password': userPass('ann', ''),
    'no name': userPass('', password),
    'no colon': { headers: { authorization: `Basic ${Buffer.from('ann').toString('base64')}` } },
    'no credential': { headers: { authorization: 'Basic' } }
  },
  foreign: {},
  carry: text => ({ headers: { authorization: `Basic ${text}` } }),
  challenge: 'Basic',
  ambient: true
}
testContract('basic with a table of users', {
  ...basicSubject,
  scheme: basic({ users: { ann: { password }, eve: { password: 'a word of her own' } } }),
  sync: false
})
testContract('basic with verify', {
  ...basicSubject,
  scheme: basic({
    verify: (name, word) => (name === 'ann' && word === password.normalize('NFC') ? { id: 'ann' } : null)
  }),
  sync: false
})
testContract('basic with an async verify', {
  ...basicSubject,
  scheme: basic({
    verify: (name, word) => later(name === 'ann' && word === password.normalize('NFC') ? { id: 'ann' } : null)
  }),
  sync: false
})

const secret = randomBytes(32)
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const token = (
  claims: Record<string, unknown> = {},
  signer: Parameters<SignJWT['sign']>[0] = secret,
  alg = 'HS256'
) =>
  new SignJWT({ iss: 'https://id.test', aud: 'api', sub: 'ann', exp: Math.floor(Date.now() / 1000) + 300, ...claims })
    .setProtectedHeader({ alg, typ: 'JWT' })
    .sign(signer)

async function tokenSubject (place: CredentialSource, more: Partial<Subject> = {}): Promise<Subject> {
  const carry = carrier(place)
  const valid = await token()
  return {
    scheme: jwt({ from: place, keys: secret, issuer: 'https://id.test', audience: 'api' }),
    good: async () => ({ 'a token': carry(valid) }),
    bad: {
      'a forged token': carry(`${valid.slice(0, -5)}AAAAA`),
      'for another audience': carry(await token({ aud: 'other' })),
      'of another key': carry(await token({}, randomBytes(32))),
      unsigned: carry(`${valid.split('.').slice(0, 2).join('.')}.`)
    },
    foreign: { 'of another issuer': carry(await token({ iss: 'https://other.test' })), 'no token at all': carry(key) },
    expired: { 'a token of yesterday': carry(await token({ exp: Math.floor(Date.now() / 1000) - 86_400 })) },
    sync: true,
    carry,
    challenge: 'Bearer',
    ambient: place.startsWith('cookie:'),
    ...more
  }
}
testContract('jwt as Bearer', await tokenSubject('bearer'))
testContract('jwt in a cookie', await tokenSubject('cookie:token'))
const edToken = await token({}, privateKey, 'EdDSA')
testContract('jwt with a key that is found and a mapping, both later',
  await tokenSubject('bearer', {
    scheme: jwt({
      keys: () => later(publicKey),
      issuer: 'https://id.test',
      audience: 'api',
      algorithms: ['EdDSA'],
      principal: claims => later({ id: String(claims.sub) })
    }),
    good: async () => ({ 'a token': carrier('bearer')(edToken) }),
    bad: {
      'a forged token': carrier('bearer')(`${edToken.slice(0, -5)}AAAAA`),
      'of another algorithm': carrier('bearer')(await token())
    },
    expired: {
      'a token of yesterday': carrier('bearer')(
        await token({ exp: Math.floor(Date.now() / 1000) - 86_400 }, privateKey, 'EdDSA')
      )
    },
    sync: false
  })
)

testContract('session', {
  scheme: session({ secret: secret.toString('base64url'), secure: false, cookieName: 'sid' }),
  good: async login => ({ 'the cookie of a login': { headers: { cookie: await login() } } }),
  bad: {
    'a forged cookie': {
      headers: { cookie: `sid=${randomBytes(120).toString('base64url')}.${randomBytes(24).toString('base64url')}` }
    }
  },
  foreign: {},
  sync: true,
  carry: text => ({ headers: { cookie: `sid=${text}` } }),
  challenge: 'Cookie',
  ambient: true
})

const plain: Scheme = {
  openapi: { type: 'http', scheme: 'bearer' },
  challenge: ({ code }) => ({
    scheme: 'Bearer',
    params: { realm: 'mine', ...(code === 'AUTH_REQUIRED' ? {} : { error: 'invalid_token' }) }
  }),
  authenticate (request) {
    const sent = read(request, 'bearer')
    if (typeof sent !== 'string') return sent
    if (!sent.startsWith('mine-')) return foreign
    return sent === `mine-${key}`
      ? authenticated(
          Object.freeze({ id: 'ann', realm: 'mine', scopes: Object.freeze([]), roles: Object.freeze([]) })
        )
      : invalid('unknown')
  }
}
testContract('a plain scheme of the application', {
  scheme: plain,
  good: async () => ({ 'its own': carrier('bearer')(`mine-${key}`) }),
  bad: { 'its own, unknown': carrier('bearer')('mine-x') },
  foreign: { another: carrier('bearer')(key) },
  sync: true,
  carry: carrier('bearer'),
  challenge: 'Bearer',
  ambient: false
})
