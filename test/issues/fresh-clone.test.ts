import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import Fastify from 'fastify'
import t from 'tap'
import authPlugin, { jwt, type GatehouseOptions } from '../../lib/index.js'
import { root } from '../fixtures/root.js'

/** A fresh clone passes its own tests, and covers `lib`, without the public test vectors. */

async function boot (schemes: GatehouseOptions['schemes']): Promise<void> {
  const app = Fastify()
  await app.register(authPlugin, { schemes })
  await app.ready()
  await app.close()
}

/**
 * Makes an odd modulus of 2,048 bits that is a power of 65537 modulo every small prime, as the keys of CVE-2017-15361
 * are.
 */
function modulusWithRocaFingerprint (): string {
  let product = 1n
  for (let candidate = 2n; candidate <= 167n; candidate++) {
    let prime = true
    for (let divisor = 2n; divisor < candidate; divisor++) prime &&= candidate % divisor !== 0n
    if (prime) product *= candidate
  }
  const rest = 65537n ** 5n % product
  const modulus = (((1n << 2047n) / product) + 1n) * product + rest
  return Buffer.from(modulus.toString(16), 'hex').toString('base64url')
}

t.test('refuses an RSA key with the fingerprint of CVE-2017-15361 at boot', async t => {
  const keys = { kty: 'RSA', alg: 'RS256', e: 'AQAB', n: modulusWithRocaFingerprint() }
  const user = jwt({ issuer: 'https://id.test', audience: 'api', keys })
  await t.rejects(boot({ user }), { code: 'AUTH_MISCONFIGURED', message: /CVE-2017-15361/ })
})

t.test('names no local path except in .ci/run, which sets GATEHOUSE_VECTORS', async t => {
  const pattern = '\\.\\./shared/'
  const found = execFileSync('git', ['grep', '-lE', pattern, '--', '.', ':!test/issues/fresh-clone.test.ts'], {
    cwd: root,
    encoding: 'utf8'
  })
  t.same(found.trim().split('\n'), ['.ci/run'])
  t.match(readFileSync(join(root, '.ci/run'), 'utf8'), /GATEHOUSE_VECTORS=.*\.\.\/shared\/vectors/)
})
