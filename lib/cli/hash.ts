import { passwords } from '../passwords/passwords.js'
import type { HashOptions } from '../passwords/recipe.js'
import type { PasswordProblem } from '../passwords/text.js'
import { askHidden } from './prompt.js'
import { Failure, optionOf, UsageError, type Terminal } from './terminal.js'

const algorithms: ReadonlyMap<string, HashOptions> = new Map([
  ['argon2id', { algorithm: 'argon2id' }],
  ['scrypt', { algorithm: 'scrypt' }],
  ['bcrypt', { algorithm: 'bcrypt' }]
])

/** NIST SP 800-63B, 3.1.1.2, and the least that basic() takes. */
const leastCharacters = 8

/** More than any password may have; the rest of an endless input is not waited for. */
const mostInput = 65_536

const reasons: Readonly<Record<PasswordProblem, string>> = {
  'not-text': 'is no text',
  empty: 'is empty',
  'too-long': 'is too long: the most is 1,024 bytes, and 72 for bcrypt',
  nul: 'has a NUL character',
  'ill-formed': 'is no valid Unicode'
}

/** The hash of a password that was typed, or piped in as one line. */
export async function hash (args: readonly string[], terminal: Terminal): Promise<string> {
  const algorithm = optionOf('algorithm', args, 'hash never takes a password from its arguments: choose another one, as the shell may have kept this one in its history.') ?? 'argon2id'
  const options = algorithms.get(algorithm)
  if (options === undefined) throw new UsageError('--algorithm must be argon2id, scrypt or bcrypt.')
  const hasher = passwords({ hash: options })
  const password = terminal.stdin.isTTY ? await typed(terminal) : await piped(terminal.stdin)
  const problem = hasher.problem(password)
  if (problem !== null) throw new Failure(`The password ${reasons[problem]}.`)
  if (password.length < leastCharacters) throw new Failure(`The password has fewer than ${leastCharacters} characters.`)
  return hasher.hash(password)
}

async function typed (terminal: Terminal): Promise<string> {
  const [once = '', again] = await askHidden(['Password: ', 'Again: '], terminal)
  if (once.includes('\ufffd')) throw new Failure('The input is not UTF-8.')
  if (once !== again) throw new Failure('The two are not the same.')
  return once
}

async function piped (stdin: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk as Uint8Array)
    chunks.push(bytes)
    size += bytes.length
    if (size > mostInput) break
  }
  const line = decode(Buffer.concat(chunks)).replace(/\r?\n$/, '')
  if (/[\r\n]/.test(line)) throw new Failure('The input has more than one line. A password is one line.')
  return line
}

function decode (bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Failure('The input is not UTF-8.')
  }
}
