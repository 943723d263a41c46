import { randomBytes } from 'node:crypto'
import { session } from '../../lib/index.js'
import type { Question } from './question.js'
import { stage } from './stage.js'

/** Bytes of the authentication code, which stands first in a seal. */
const code = 16

/**
 * A cookie whose seal has one byte changed: of its code the first or the last, or the last of the text that the code is
 * for.
 */
function forged (cookie: string, place: (length: number) => number): string {
  const [name = '', text = '', nonce = ''] = cookie.split(/[=.]/)
  const bytes = Buffer.from(text, 'base64url')
  const at = place(bytes.length)
  bytes[at] = (bytes[at] ?? 0) ^ (1 << randomBytes(1).readUInt8() % 8)
  return Buffer.from(`${name}=${bytes.toString('base64url')}.${nonce}`).toString('latin1')
}

export async function sessionQuestions (): Promise<readonly Question[]> {
  const { app, send, call } = await stage(session({ secret: randomBytes(32).toString('base64url') }))
  app.post('/login', async (_request, reply) => { await reply.login({ id: 'alice', roles: ['clerk'] }) })
  const { headers } = await app.inject({ method: 'POST', url: '/login' })
  const cookie = [headers['set-cookie']].flat()[0]?.split(';')[0] ?? ''
  // what is remembered of the good one is there to be compared with
  call({ cookie }, 'authenticated')()
  const pairs = {
    'its code': { first: () => 0, last: () => code - 1 },
    // not the very last, of whose digit the spelling is checked first: the text's own form is not a secret
    'the whole': { first: () => 0, last: (length: number) => length - 4 }
  }
  return Object.entries(pairs).flatMap(([of, { first, last }]) => [send, call].map((way): Question => ({
    name: `session cookie forged in the first or the last byte of ${of}, ${way === send ? 'inject' : 'scheme'}`,
    pace: 'fast',
    kinds: { first: () => way({ cookie: forged(cookie, first) }), last: () => way({ cookie: forged(cookie, last) }) }
  })))
}
