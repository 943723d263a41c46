import { StringDecoder } from 'node:string_decoder'
import { passwords, type PasswordProblem } from '../passwords/passwords.js'
import type { HashOptions } from '../passwords/recipe.js'
import { Failure, optionOf, type Terminal, UsageError } from './terminal.js'

const algorithms: ReadonlyMap<string, HashOptions> = new Map([
  ['argon2id', { algorithm: 'argon2id' }],
  ['scrypt', { algorithm: 'scrypt' }],
  ['bcrypt', { algorithm: 'bcrypt' }]
])

/** The minimum of NIST SP 800-63B, 3.1.1.2. */
const minCharacters = 8

/** The number of bytes that are read: more than any password has, so that an endless input ends. */
const maxInputBytes = 65_536

const reasons: Readonly<Record<PasswordProblem, string>> = {
  'not-text': 'is not a text',
  empty: 'is empty',
  'too-long': 'is too long: at most 1,024 bytes, and 72 for bcrypt',
  nul: 'has a NUL character',
  'ill-formed': 'is not valid Unicode'
}

/** Hashes a password that is typed, or piped in as one line. */
export async function hash (args: readonly string[], terminal: Terminal): Promise<string> {
  const algorithm = optionOf(
    'algorithm',
    args,
    'hash never reads a password from its arguments. Choose another password: this one may be in the history of your ' +
    'shell.'
  ) ?? 'argon2id'
  const options = algorithms.get(algorithm)
  if (options === undefined) throw new UsageError('--algorithm must be argon2id, scrypt or bcrypt.')
  const hasher = passwords({ hash: options })
  const password = terminal.stdin.isTTY ? await typed(terminal) : await piped(terminal.stdin)
  const problem = hasher.problem(password)
  if (problem !== null) throw new Failure(`The password ${reasons[problem]}.`)
  if (password.length < minCharacters) throw new Failure(`The password has fewer than ${minCharacters} characters.`)
  return hasher.hash(password)
}

async function typed (terminal: Terminal): Promise<string> {
  const [once = '', again] = await askHidden(['Password: ', 'Again: '], terminal)
  if (once.includes('\ufffd')) throw new Failure('The input is not UTF-8.')
  if (once !== again) throw new Failure('The two passwords differ.')
  return once
}

async function piped (stdin: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk as Uint8Array)
    chunks.push(bytes)
    size += bytes.length
    if (size > maxInputBytes) break
  }
  const line = decode(Buffer.concat(chunks)).replace(/\r?\n$/, '')
  if (/[\r\n]/.test(line)) throw new Failure('The input has more than one line. A password must be a single line.')
  return line
}

function decode (bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Failure('The input is not UTF-8.')
  }
}

const interrupt = '\u0003'
const endOfInput = '\u0004'
const eraseLine = '\u0015'

/**
 * Asks several questions at a terminal without echoing the answers. Echo is off before the first question is written
 * and until the last one is answered.
 * @throws {Failure} if the person interrupts it, with exit code 130, as shells do.
 */
async function askHidden (
  questions: readonly [string, ...string[]], { stdin, stderr }: Pick<Terminal, 'stdin' | 'stderr'>
): Promise<readonly string[]> {
  const typed = new TypedAnswers(questions, stderr)
  stdin.setRawMode(true)
  stderr.write(questions[0])
  return await new Promise((resolve, reject) => {
    const finish = (result: readonly string[] | Failure): void => {
      stdin.off('data', take)
      stdin.off('end', breakOff)
      stdin.setRawMode(false)
      stdin.pause()
      stderr.write('\n')
      if (result instanceof Failure) reject(result); else resolve(result)
    }
    const take = (chunk: Buffer): void => {
      const result = typed.take(chunk)
      if (result !== null) finish(result)
    }
    const breakOff = (): void => { finish(interrupted()) }
    stdin.on('data', take)
    stdin.on('end', breakOff)
    stdin.resume()
  })
}

function interrupted (): Failure {
  return new Failure('Nothing was hashed.', 130)
}

/** Collects typed answers. The caller has written the first question; the others are written here. */
class TypedAnswers {
  readonly #questions: readonly string[]
  readonly #stderr: Terminal['stderr']
  readonly #decoder = new StringDecoder('utf8')
  readonly #answers: string[] = []
  #line = ''

  constructor (questions: readonly string[], stderr: Terminal['stderr']) {
    this.#questions = questions
    this.#stderr = stderr
  }

  /**
   * Takes typed characters. Returns all answers when the last one is complete, a failure after an interrupt, and
   * otherwise `null`.
   */
  take (chunk: Buffer): readonly string[] | Failure | null {
    for (const character of this.#decoder.write(chunk).replaceAll('\r\n', '\n')) {
      if (character === interrupt || (character === endOfInput && this.#line === '')) return interrupted()
      if (character === '\r' || character === '\n' || character === endOfInput) {
        this.#answers.push(this.#line)
        this.#line = ''
        if (this.#answers.length === this.#questions.length) return this.#answers
        this.#stderr.write(`\n${this.#questions[this.#answers.length]}`)
      } else this.#line = editLine(this.#line, character)
    }
    return null
  }
}

function editLine (line: string, character: string): string {
  if (character === eraseLine) return ''
  if (character === '\u007f' || character === '\b') return [...line].slice(0, -1).join('')
  return line + character
}
