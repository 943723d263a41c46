import t from 'tap'
import { readAuthorization } from '../../lib/kit/read-credential.js'
import { parseUserPass } from '../../lib/schemes/basic/scheme.js'
import { readChallenges } from '../fixtures/challenges.js'
import { readVectors, withoutVectors } from '../fixtures/vectors.js'

interface Case { readonly header: string, readonly expect: readonly [string, string] | null }

t.test('reads credentials as the third-party cases expect', { skip: withoutVectors }, async t => {
  const cases = readVectors<readonly Case[]>('http-auth/basic-credentials.json')
  t.equal(cases.length, 11)
  for (const { header, expect } of cases) {
    const text = readAuthorization(
      { raw: { headers: { authorization: header }, rawHeaders: ['authorization', header] } } as never, 'basic'
    )
    const sent = typeof text === 'string' ? parseUserPass(text) : null
    t.same(sent, expect === null ? null : { username: expect[0], password: expect[1] }, header)
  }
})

t.test('the test parser of challenges passes the third-party cases', { skip: withoutVectors }, async t => {
  const cases = readVectors<ReadonlyArray<{ header: string, valid: boolean }>>('http-auth/challenges.json')
  t.equal(cases.length, 27)
  for (const { header, valid } of cases) {
    let read = true
    try {
      readChallenges(header)
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      read = false
    }
    t.equal(read, valid, header)
  }
})
