import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { start } from './children.js'
import { groupsOf } from './groups.js'
import Reporter from './reporter.js'
import { compileSources } from './compile.js'

/*
 * Runs test files, several in a process, and prints their results:
 *
 *   node .ci/tests.js [--coverage] [--jobs=N] test/a.test.ts test/b.test.ts
 *
 * With `--coverage`, the run fails unless the tests cover all of `lib`. The report is that of tap.
 */

const { values: { coverage, jobs }, positionals: files } = parseArgs({
  options: {
    coverage: { type: 'boolean', default: false },
    // tests that wait leave a core to others
    jobs: { type: 'string', default: String(availableParallelism() + 2) }
  },
  allowPositionals: true
})

/**
 * The seconds that a process may take: twenty minutes of a quiet machine, six hours for soak tests at full size, and
 * more on a busy machine.
 */
const timeout = Math.ceil((process.env.SOAK === 'full' ? 21_600 : 1_200) * (1 + loadavg()[0] / availableParallelism()))
/** The milliseconds that a process has to say which of its tests wait, once its time is over. */
const grace = 15_000
const coverageFolder = resolve('.tap/coverage')
mkdirSync('.tap', { recursive: true })
/** The folder of the programs that tests bundle, so that each is bundled once. */
const programs = mkdtempSync(resolve('.tap/programs-'))
process.once('exit', () => { rmSync(programs, { recursive: true, force: true }) })
const environment = {
  ...process.env,
  PROGRAMS_FOLDER: programs,
  TAP_OMIT_VERSION: '1',
  TAP_TIMEOUT: String(timeout),
  ...coverage && { COVERAGE_FOLDER: coverageFolder }
}

if (coverage) {
  rmSync(coverageFolder, { recursive: true, force: true })
  mkdirSync(coverageFolder, { recursive: true })
}
const reporter = new Reporter()
reporter.pipe(process.stdout)
const groups = groupsOf(files)
reporter.write(`TAP version 14\n1..${groups.length}\n`)
if (groups.length > 1) await compileSources()
let started = 0
await Promise.all(Array.from({ length: Number(jobs) }, async () => {
  while (started < groups.length) {
    const number = ++started
    reporter.write(await runGroup(groups[number - 1], number))
  }
}))
reporter.end()
if (coverage) await checkCoverage()

/** Runs a group of files in one process, and returns its results as a test of TAP that holds their tests. */
async function runGroup ({ name, files }, number) {
  const child = start(process.execPath, ['--import=./.ci/typescript.js', '.ci/group.js'], {
    env: { ...environment, TEST_FILES: files.join('\n') }, stdio: ['ignore', 'pipe', 'inherit']
  })
  const timers = [
    setTimeout(() => { child.kill('SIGALRM') }, timeout * 1000),
    setTimeout(() => { child.kill('SIGKILL') }, timeout * 1000 + grace)
  ]
  const [output, [exitCode, signal]] = await Promise.all([text(child.stdout), once(child, 'close')])
  for (const timer of timers) clearTimeout(timer)
  const title = `group ${number}: ${name}`
  const diagnostics = `  ---\n  exitCode: ${exitCode}\n  signal: ${signal}\n  ...\n`
  return `# Subtest: ${title}\n${output.replace(/^(?=.)/gm, '    ')}` +
    (exitCode === 0 ? `ok ${number} - ${title}\n` : `not ok ${number} - ${title}\n${diagnostics}`)
}

/** Prints the table of what is not covered, and sets the exit code. */
async function checkCoverage () {
  const report = start(process.execPath, ['node_modules/tap/dist/esm/run.mjs', 'report', '--no-show-full-coverage'])
  const [exitCode] = await once(report, 'close')
  process.exitCode ||= exitCode
}
