import { once } from 'node:events'
import { start } from './children.js'

/**
 * A command, as one part of a run. One that runs tests ends with a closing line of its own; any other counts as one
 * test.
 *
 * @typedef {object} Part
 * @property {string} name
 * @property {readonly string[]} command
 * @property {Readonly<Record<string, string | undefined>>} [env] Beside the environment of this process; `undefined`
 * removes a variable.
 * @property {boolean} [tests] Whether it ends with a closing line.
 */

const closingLine = /^(\d+) passed, (\d+) failed$/

/**
 * Runs the parts, at most `jobs` at a time, and prints what they print. Ends with the sum of all as the very last line,
 * `N passed, N failed`, and with an exit code other than 0 where anything failed.
 *
 * @param {readonly Part[]} parts
 * @param {number} [jobs]
 */
export async function runParts (parts, jobs = 1) {
  const results = []
  const waiting = [...parts]
  const work = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      results.push(await runPart(part, jobs === 1))
    }
  }
  await Promise.all(Array.from({ length: jobs }, work))
  const sum = name => results.reduce((total, each) => total + each[name], 0)
  if (parts.length > 1) for (const { name, failed } of results) if (failed > 0) console.log(`not ok  ${name}`)
  process.exitCode = sum('failed') === 0 ? 0 : 1
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`)
}

/**
 * Runs one part. Its lines are printed as they come where it is alone or runs tests, and otherwise together at its end.
 */
async function runPart ({ name, command: [program, ...args], env = {}, tests = false }, alone) {
  const environment = Object.fromEntries(
    Object.entries({ ...process.env, ...env }).filter(([, value]) => value !== undefined)
  )
  const child = start(program, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = new Output(alone || tests)
  child.stdout.setEncoding('utf8').on('data', text => { output.write(text) })
  child.stderr.setEncoding('utf8').on('data', text => { output.print(text.trimEnd()) })
  const [code, signal] = await once(child, 'close').catch(error => [error.code, null])
  const result = judge(output.end(tests), code === 0, tests)
  console.log(
    result.failed === 0 ? `ok      ${name}` : `not ok  ${name}${code === 0 ? '' : ` (ended with ${signal ?? code})`}`
  )
  return { name, ...result }
}

/** Counts a part: nothing that ended badly adds up to `0 failed`. */
function judge (counts, ok, tests) {
  if (!tests) return ok ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
  if (counts === null) return { passed: 0, failed: 1 }
  return ok || counts.failed > 0 ? counts : { ...counts, failed: 1 }
}

/** Prints the output of a part. The last line is held back, because it may be the closing line. */
class Output {
  #rest = ''
  #held = []
  #kept = []
  #live

  constructor (live) {
    this.#live = live
  }

  write (text) {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop()
    for (const line of lines) this.#line(line)
  }

  print (...lines) {
    if (this.#live) console.log(lines.join('\n'))
    else this.#kept.push(...lines)
  }

  /** Prints what was held back. Returns the counts of the closing line, `null` without one. */
  end (tests) {
    this.#line(this.#rest)
    const [, passed, failed] = (tests && closingLine.exec(this.#held[0] ?? '')) || []
    if (passed === undefined && this.#held.length > 0) this.print(...this.#held)
    if (this.#kept.length > 0) console.log(this.#kept.join('\n'))
    return passed === undefined ? null : { passed: Number(passed), failed: Number(failed) }
  }

  #line (line) {
    if (line.trim() !== '') {
      if (this.#held.length > 0) this.print(...this.#held)
      this.#held = []
    }
    this.#held.push(line)
  }
}
