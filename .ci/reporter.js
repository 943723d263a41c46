import { Transform } from 'node:stream'
import { inspect } from 'node:util'
import { Parser } from 'tap-parser'

/**
 * Reads TAP and writes one line a test file, every failure whole, every skip with its reason; the very last line is `N
 * passed, N failed`.
 *
 * Counts the tests that contain no further tests. A test that fails by itself while all within it passed (an
 * exit code, a timeout, a plan) counts as one failure, so that nothing red adds up to `0 failed`.
 */
export default class Reporter extends Transform {
  #parser = new Parser()
  #counts = { passed: 0, failed: 0, skipped: 0 }
  #complete = false

  constructor () {
    super({ decodeStrings: false })
    this.#listen(this.#parser, '')
    this.#parser.on('complete', () => { this.#complete = true })
    // The coverage table is written after the stream has ended: only the end of the process is surely last.
    process.once('exit', code => this.#close(code))
  }

  _transform (chunk, _encoding, done) {
    this.#parser.write(String(chunk))
    done()
  }

  _flush (done) {
    this.#parser.end()
    done()
  }

  /**
   * Follows one parser and those of the tests within it; `seen` counts the tests it held and what failed, in them and
   * beside them.
   */
  #listen (parser, path) {
    const seen = { tests: 0, failed: 0, own: 0, skipped: 0, asserted: 0 }
    let child = seen
    parser.on('child', inner => { child = this.#listen(inner, join(path, inner.name)) })
    parser.on('assert', result => {
      const within = result.closingTestPoint ? child : null
      const failed = this.#judge(result, within, path === '' ? result.name : join(path, result.name))
      if (result.skip !== false || result.todo !== false) seen.skipped++
      else if (within === null) seen.asserted++
      if (within === null) seen.own += failed
      seen.tests += within === null ? 0 : Math.max(1, within.tests)
      seen.failed += failed + (within?.failed ?? 0)
      if (isFile(path, result.name)) {
        this.#line(`${result.ok ? 'ok    ' : 'not ok'}  ${result.name}${summary(result, within)}`)
      }
    })
    parser.on('comment', line => this.#comment(line))
    parser.on('extra', text => this.push(text))
    parser.on('bailout', reason => this.#bailOut(path, reason))
    return seen
  }

  /** Counts one result; `within` is what the test held, `null` for a plain assertion. Gives the failures it adds. */
  #judge (result, within, title) {
    if (result.skip !== false || result.todo !== false) return this.#skip(title, result.skip || result.todo)
    if (within === null) return result.ok ? 0 : this.#show(title, result.diag)
    if (result.ok) {
      if (within.tests === 0 && (within.asserted > 0 || within.skipped === 0)) this.#counts.passed++
      return 0
    }
    const explained = within.failed > 0
    if (within.tests === 0 || within.own > 0 || !explained) this.#counts.failed++
    return explained ? 0 : this.#show(title, result.diag)
  }

  #skip (title, reason) {
    this.#counts.skipped++
    this.#line(`skip    ${title}${typeof reason === 'string' && reason !== '' ? `: ${reason}` : ''}`)
    return 0
  }

  #show (title, diag) {
    this.#line(`\nnot ok  ${title}\n${describe(diag ?? {})}\n`)
    return 1
  }

  /** Every parser on the way up hears of it: the outermost speaks. */
  #bailOut (path, reason) {
    if (path !== '') return
    this.#counts.failed++
    this.#line(`\nnot ok  bailed out: ${reason || 'no reason given'}`)
  }

  /** Prints the comments of tests, without those of tap itself about counts, times and subtests. */
  #comment (line) {
    const ofTap = /^# (?:Subtest|time=|failed \d|todo: \d|skip: \d|bailout|test count\(|No coverage|\{ total: )/
    if (!ofTap.test(line.trim())) this.push(line)
  }

  #line (text) {
    this.push(`${text}\n`)
  }

  #close (code) {
    const counts = this.#counts
    const write = text => process.stdout.write(`${text}\n`)
    if (!this.#complete) {
      counts.failed++
      write('not ok  the run ended before its tests did')
    } else if (code !== 0 && counts.failed === 0) {
      counts.failed++
      write('not ok  coverage of lib is not complete: the table above says where')
    }
    if (counts.skipped > 0) write(`${counts.skipped} skipped`)
    write(`${counts.passed} passed, ${counts.failed} failed`)
  }
}

/** Files run in groups, see groups.js. */
const group = /^group \d+: /

function isFile (path, name) {
  return path === '' ? !group.test(name) : path === 'group'
}

function join (path, name) {
  if (path === '' && group.test(name)) return 'group'
  return path === '' || path === 'group' ? name : `${path} > ${name}`
}

function summary (result, within) {
  const tests = within === null ? 0 : within.tests
  const time = result.time === null ? '' : `, ${(result.time / 1000).toFixed(1)} s`
  return tests === 0 ? '' : `  (${tests} ${tests === 1 ? 'test' : 'tests'}${time})`
}

function describe (diag) {
  const {
    diff, at, source, stack, found, wanted, compare, stdio, cwd, command, args, externalID, jobId, ...rest
  } = diag
  const parts = []
  if (at?.fileName) parts.push(`at ${at.fileName}:${at.lineNumber ?? '?'}`)
  if (source) parts.push(source.trimEnd())
  if (diff) parts.push(diff.trimEnd())
  else if ('found' in diag || 'wanted' in diag) parts.push(`found: ${inspect(found)}\nwanted: ${inspect(wanted)}`)
  if (stack) parts.push(stack.trimEnd())
  if (Object.keys(rest).length > 0) parts.push(inspect(rest, { depth: 4 }))
  return parts.join('\n').replace(/^/gm, '        ')
}
