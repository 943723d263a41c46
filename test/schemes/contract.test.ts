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
import { memoryStore } from '../../lib/stores/memory/memory.js'
import { contextOf, make } from '../fixtures/schemes.js'
import { schemeContract, type Sent, type Subject } from './contract.js'

const key = randomBytes(16).toString('hex')
const other = randomBytes(16).toString('hex')
const later = async <T>(value: T): Promise<T> => value

/** What carries a text in a place. */
function carrier (place: CredentialSource): (text: string) => Sent {
  const [kind, name = ''] = place.split(':')
  switch (kind) {
    case 'bearer': return text => ({ headers: { authorization: `Bearer ${text}` } })
    case 'cookie': return text => ({ headers: { cookie: `a=b; ${name}=${text}` } })
    case 'query': return text => ({ query: { [name]: text } })
    default: return text => ({ headers: { [name]: text } })
  }
}

/** Each header of a credential in two lines and joined in one, equal and different, in both orders. */
function twice ({ headers = {} }: Sent): ReadonlyArray<readonly string[]> {
  return Object.entries(headers).flatMap(([name, value]) => {
    const other = name === 'cookie' ? value : value.slice(0, -1)
    const joined = name === 'cookie' ? `${value}; ${value}` : `${value}, ${value}`
    return [
      [`${name}: ${value}`, `${name.toUpperCase()}: ${value}`],
      [`${name}: ${value}`, `${name}: ${other}`],
      [`${name}: ${other}`, `${name}: ${value}`],
      [`${name}: ${joined}`]
    ]
  })
}

function keySubject (
  place: CredentialSource,
  options: Omit<ApiKeyOptions, 'from'>,
  more: Partial<Subject> = {}
): Subject {
  const carry = carrier(place)
  return {
    definition: apiKey({ from: place, ...options } as ApiKeyOptions),
    good: async () => ({ 'the key': carry(key) }),
    bad: {
      'an unknown key': carry(other),
      'a key less its end': carry(key.slice(0, -1)),
      'a longer key': carry(`${key}0`),
      'a key in capitals': carry(key.toUpperCase()),
      'a long text': carry('a'.repeat(2000))
    },
    foreign: place === 'bearer' ? { 'a token': carry('eyJhbGciOiJub25lIn0.e30.AAAA') } : {},
    sync: true,
    carry,
    twice,
    challenge: place === 'bearer' ? 'Bearer' : 'APIKey',
    ambient: place.startsWith('cookie:'),
    ...more
  }
}

for (const place of ['header:x-api-key', 'bearer', 'query:api_key', 'cookie:api_key'] as const) {
  schemeContract(t, `apiKey from ${place}`, keySubject(place, { keys: { [key]: { id: 'ann' } } }))
}
schemeContract(
  t,
  'apiKey with keys in a Map',
  keySubject('header:x-api-key', { keys: new Map([[key, { id: 'ann' }]]) })
)
schemeContract(
  t,
  'apiKey with verify',
  keySubject('header:x-api-key', { verify: sent => (sent === key ? { id: 'ann' } : null) })
)
schemeContract(
  t,
  'apiKey with an async verify',
  keySubject('bearer', { verify: sent => later(sent === key ? { id: 'ann' } : null) }, { sync: false })
)
schemeContract(
  t,
  'apiKey with a prefix',
  keySubject(
    'bearer',
    { prefix: 'acme_', keys: { [`acme_${key}`]: { id: 'ann' } } },
    {
      good: async () => ({ 'the key': carrier('bearer')(`acme_${key}`) }),
      bad: { 'an unknown key': carrier('bearer')(`acme_${other}`), 'the prefix alone': carrier('bearer')('acme_') },
      foreign: {
        'another prefix': carrier('bearer')(`acne_${key}`),
        'no prefix': carrier('bearer')(key),
        'a token': carrier('bearer')('eyJhbGciOiJub25lIn0.e30.AAAA')
      }
    }
  )
)

const store = memoryStore()
const managed =
  (from: CredentialSource): SchemeFactory<Principal, ApiKeyCredential> =>
    (app, name) =>
      apiKey({ from, managed: { prefix: 'acme_live' } })(app, name, contextOf(store))
const issuing = (await make(managed('bearer'), Fastify() as unknown as FastifyInstance, 'issuing')).features
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
  schemeContract(t, `managed apiKey from ${place}`, {
    definition: managed(place),
    good: async () => ({
      'a key': carry(current.key),
      'a key that was rotated': carry(old.key),
      'its successor': carry(successor?.key ?? '')
    }),
    bad: {
      'a revoked key': carry(revoked.key),
      'a typo': carry(flipped(current.key, 20)),
      'a wrong checksum': carry(flipped(current.key, current.key.length - 1)),
      'a key less its end': carry(current.key.slice(0, -1)),
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
      ...(place === 'bearer' ? { 'a token': carry('eyJhbGciOiJub25lIn0.e30.AAAA') } : {})
    },
    expired: { 'a key that ended': carry(ended.key) },
    sync: false,
    carry,
    twice,
    challenge: place === 'bearer' ? 'Bearer' : 'APIKey',
    ambient: place.startsWith('cookie:')
  })
}

const password = 'pässwörd: with "colon"'
const userPass = (name: string, word: string): Sent => ({
  headers: { authorization: `Basic ${Buffer.from(`${name}:${word}`).toString('base64')}` }
})
const basicSubject: Omit<Subject, 'definition' | 'sync'> = {
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
  twice,
  challenge: 'Basic',
  ambient: true
}
schemeContract(t, 'basic with a table of users', {
  ...basicSubject,
  definition: basic({ users: { ann: { password }, eve: { password: 'a word of her own' } } }),
  sync: false
})
schemeContract(t, 'basic with verify', {
  ...basicSubject,
  definition: basic({
    verify: (name, word) => (name === 'ann' && word === password.normalize('NFC') ? { id: 'ann' } : null)
  }),
  sync: false
})
schemeContract(t, 'basic with an async verify', {
  ...basicSubject,
  definition: basic({
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
    definition: jwt({ from: place, keys: secret, issuer: 'https://id.test', audience: 'api' }),
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
    twice,
    challenge: 'Bearer',
    ambient: place.startsWith('cookie:'),
    ...more
  }
}
schemeContract(t, 'jwt as Bearer', await tokenSubject('bearer'))
schemeContract(t, 'jwt in a cookie', await tokenSubject('cookie:token'))
const edToken = await token({}, privateKey, 'EdDSA')
schemeContract(
  t,
  'jwt with a key that is found and a mapping, both later',
  await tokenSubject('bearer', {
    definition: jwt({
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

schemeContract(t, 'session', {
  definition: session({ secret: secret.toString('base64url'), secure: false, cookieName: 'sid' }),
  good: async login => ({ 'the cookie of a login': { headers: { cookie: await login() } } }),
  bad: {
    'a forged cookie': {
      headers: { cookie: `sid=${randomBytes(120).toString('base64url')}.${randomBytes(24).toString('base64url')}` }
    }
  },
  foreign: {},
  sync: true,
  carry: text => ({ headers: { cookie: `sid=${text}` } }),
  twice,
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
schemeContract(t, 'a plain scheme of the application', {
  definition: plain,
  good: async () => ({ 'its own': carrier('bearer')(`mine-${key}`) }),
  bad: { 'its own, unknown': carrier('bearer')('mine-x') },
  foreign: { another: carrier('bearer')(key) },
  sync: true,
  carry: carrier('bearer'),
  twice,
  challenge: 'Bearer',
  ambient: false
})
