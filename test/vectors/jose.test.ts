import { readdirSync } from 'node:fs'
import t from 'tap'
import { AuthError } from '../../lib/errors.js'
import { isAlgorithm } from '../../lib/jose/algorithms.js'
import { verifyCompact } from '../../lib/jose/jws.js'
import { parseKeyring } from '../../lib/jose/keyring.js'
import { readVectors, vectorPath, withoutVectors } from '../fixtures/vectors.js'

interface JwkText { readonly kty: string, readonly alg?: string, readonly k?: string }
interface Vector {
  readonly tcId: number, readonly comment: string, readonly jws: unknown, readonly result: 'valid' | 'invalid'
}
interface Group {
  readonly comment: string, readonly public?: JwkText, readonly private?: JwkText, readonly tests: readonly Vector[]
}

/** Parses the keys, verifies the token and returns the result. A token of a refused key is refused. */
function verdict (keys: unknown, token: unknown): string {
  if (typeof token !== 'string') return 'not a string'
  try {
    const verified = verifyCompact(token, parseKeyring(keys, { algorithms: null, path: 'the key' }))
    return typeof verified === 'string' ? verified : 'valid'
  } catch (error) {
    if (error instanceof AuthError && error.code === 'AUTH_MISCONFIGURED') return `key refused: ${error.message}`
    throw error
  }
}

function judge (group: Group, each: Vector): string {
  return verdict(group.public ?? group.private, each.jws)
}

t.test('the Wycheproof JWS vectors get the labelled verdict, except eight that cannot or should not', {
  skip: withoutVectors
}, async t => {
  const { testGroups } = readVectors<{ testGroups: readonly Group[] }>('wycheproof/json_web_signature_test.json')
  const { disputed } = readVectors<{
    disputed: ReadonlyArray<{ tcId: number, ours: string }>
  }>('wycheproof/adjudication.json')
  const ours = new Map(disputed.map(each => [each.tcId, each.ours]))
  const wrong: string[] = []
  let followed = 0
  for (const group of testGroups) {
    for (const each of group.tests) {
      const expected = ours.get(each.tcId) ?? each.result
      if (expected === 'skip') continue
      const found = judge(group, each)
      if ((found === 'valid') !== (expected === 'valid')) {
        wrong.push(
        `${group.comment} ${each.tcId} ${each.comment}: ${each.result}, found ${found}`
        )
      } else if (!ours.has(each.tcId)) followed++
    }
  }
  t.same(wrong, [])
  t.equal(followed, 393)
})

t.test('the Wycheproof vectors with a mistyped JWK alg verify after correction', {
  skip: withoutVectors
}, async t => {
  const { testGroups } = readVectors<{ testGroups: readonly Group[] }>('wycheproof/json_web_signature_test.json')
  for (const [tcId, alg] of [[346, 'PS384'], [350, 'PS384'], [347, 'ES512'], [351, 'ES512']] as const) {
    const group = testGroups.find(group => group.tests.some(each => each.tcId === tcId))
    const each = group?.tests.find(each => each.tcId === tcId)
    t.equal(verdict({ ...group?.public, alg }, each?.jws), 'valid', String(tcId))
  }
})

t.test('the Wycheproof JWK vectors get the labelled verdict, 26 of 26', { skip: withoutVectors }, async t => {
  const { testGroups } = readVectors<{ testGroups: readonly Group[] }>('wycheproof/json_web_key_test.json')
  const wrong: string[] = []
  let right = 0
  for (const group of testGroups) {
    for (const each of group.tests) {
      const found = judge(group, each)
      if ((found === 'valid') === (each.result === 'valid')) right++
      else wrong.push(`${group.comment} ${each.tcId} ${each.comment}: ${each.result}, found ${found}`)
    }
  }
  t.same(wrong, [])
  t.equal(right, 26)
})

interface Cookbook {
  readonly input: { readonly key?: JwkText, readonly alg?: string }, readonly output: { readonly compact?: string }
}

t.test('verifies the compact JWS of the JOSE cookbook, except the one with detached content', {
  skip: withoutVectors
}, async t => {
  const files = [
    '4_1.rsa_v15_signature', '4_2.rsa-pss_signature', '4_3.ecdsa_signature', '4_4.hmac-sha2_integrity_protection'
  ].map(name => `jose-cookbook/jws/${name}.json`)
  for (const file of [...files, 'jose-cookbook/curve25519/jws.json']) {
    const { input, output } = readVectors<Cookbook>(file)
    t.equal(verdict({ ...input.key, alg: input.alg }, output.compact), 'valid', file)
  }
  const detached = readVectors<Cookbook>('jose-cookbook/jws/4_5.signature_with_detached_content.json')
  t.match(verdict(detached.input.key, detached.output.compact), /does not verify/)
})

t.test('refuses the JSON serialisations and unencoded payloads of the JOSE cookbook', {
  skip: withoutVectors
}, async t => {
  for (const file of [
    'jws/4_6.protecting_specific_header_fields', 'jws/4_7.protecting_content_only', 'jws/4_8.multiple_signatures',
    'rfc7797/4.2.hmac-sha2_b64_false', 'rfc7797/hmac-sha2_b64_false'
  ]) {
    const { input, output } = readVectors<Cookbook & {
      input: { key: JwkText | readonly JwkText[] }
    }>(`jose-cookbook/${file}.json`)
    const key = Array.isArray(input.key) ? input.key[0] : input.key
    for (const text of Object.values(output)) {
      t.not(verdict(key, typeof text === 'string' ? text : JSON.stringify(text)), 'valid', file)
    }
  }
})

t.test('refuses every JWE of the JOSE cookbook', { skip: withoutVectors }, async t => {
  const key = readVectors<Cookbook>('jose-cookbook/jws/4_1.rsa_v15_signature.json').input.key
  const files = readdirSync(vectorPath('jose-cookbook/jwe')).map(name => `jwe/${name}`)
  for (const file of [...files, 'curve25519/ecdh-es.json']) {
    for (const text of Object.values(readVectors<Cookbook>(`jose-cookbook/${file}`).output)) {
      t.equal(
        verdict(key, typeof text === 'string' ? text : JSON.stringify(text)), 'the token is not a compact JWS', file
      )
    }
  }
})

t.test('reads the JWKs of the JOSE cookbook if they are for signatures', { skip: withoutVectors }, async t => {
  const signing = [
    '3_1.ec_public_key', '3_2.ec_private_key', '3_3.rsa_public_key', '3_4.rsa_private_key',
    '3_5.symmetric_key_mac_computation'
  ]
  for (const name of signing) {
    t.equal(
      parseKeyring(readVectors(`jose-cookbook/jwk/${name}.json`), { algorithms: null, path: name }).keys.length, 1, name
    )
  }
  const encryption = readVectors('jose-cookbook/jwk/3_6.symmetric_key_encryption.json')
  t.throws(
    () => parseKeyring(encryption, { algorithms: null, path: 'the key' }),
    { code: 'AUTH_MISCONFIGURED', message: /'use' is not 'sig'/ }
  )
})

t.test('the compact JWS of RFC 7515 and RFC 8037 get the expected verdict', { skip: withoutVectors }, async t => {
  interface Example {
    readonly id: string,
    readonly alg: string,
    readonly jwk?: JwkText,
    readonly jws?: unknown,
    readonly signature?: string
  }
  let verified = 0
  for (const each of readVectors<readonly Example[]>('rfc-examples/jws.json')) {
    const usable = each.jwk !== undefined && isAlgorithm(each.alg)
    const found = usable ? verdict(each.jwk, each.jws) : verdict('0123456789abcdef0123456789abcdef', each.jws)
    const valid = usable && each.signature === 'valid' && typeof each.jws === 'string' &&
      each.jws.split('.').length === 3
    t.equal(found === 'valid', valid, each.id)
    if (valid) verified++
  }
  t.ok(verified >= 5, 'A.1 to A.4 and RFC 8037, A.4')
})
