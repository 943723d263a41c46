import t from 'tap'
import { checkSecret } from '../../lib/secrets/check-secret.js'
import { readWords, withoutVectors } from '../fixtures/vectors.js'

const rule = { minBytes: 32, path: 'the secret of the test' }

t.test('refuses all 2,000 published secrets, also padded, encoded and decoded', {
  skip: withoutVectors
}, async t => {
  const lines = readWords('wordlists/jwt-secrets-top2000.txt')
  const accepted: string[] = []
  for (const line of lines) {
    const forms: ReadonlyArray<string | Uint8Array> = [
      line, `${line}\n`, `  ${line} `, Buffer.from(line), Buffer.from(line).toString('base64'),
      Buffer.from(line).toString('base64url'), Buffer.from(line).toString('hex'),
      Buffer.from(line, 'base64'), Buffer.from(line, 'hex')
    ]
    for (const form of forms) {
      try {
        checkSecret(form, rule)
        // decoding stops at the first invalid character, so a text is the secret only if all of it is decoded
        const decoded = form instanceof Uint8Array && ![
          Buffer.from(form).toString('base64').replace(/=+$/, ''), Buffer.from(form).toString('hex')
        ].includes(line.replace(/=+$/, ''))
        if (!decoded) accepted.push(`${typeof form}: ${line}`)
      } catch {}
    }
  }
  t.ok(lines.length >= 1999, 'the list has 2,000 lines, one of them empty')
  t.same(accepted, [])
})
