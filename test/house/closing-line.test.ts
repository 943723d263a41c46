import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { run } from './run.js'
import { root } from '../fixtures/root.js'

interface Part {
  readonly name: string
  readonly command: readonly string[]
  readonly tests?: boolean
  readonly env?: Readonly<Record<string, string>>
}

/** Returns a part that runs a shell script as a run of tests. */
const tests = (script: string): Part => ({ name: 'tests', command: ['sh', '-c', script], tests: true })
/** Returns a part without a closing line of its own, such as lint. */
const check = (script: string): Part => ({ name: 'check', command: ['sh', '-c', script] })

/** Runs parts, and returns the exit code and the lines that were printed. */
async function runParts (t: Test, parts: readonly Part[], jobs: number) {
  const program = join(t.testdir(), 'parts.js')
  writeFileSync(
    program,
    `import { runParts } from ${JSON.stringify(join(root, '.ci/parts.js'))}\n` +
    `await runParts(${JSON.stringify(parts)}, ${jobs})\n`
  )
  const { code, output } = await run(process.execPath, [program], root)
  return { code, lines: output.trimEnd().split('\n') }
}

const good = "echo fine; echo '12 passed, 0 failed'"

const table: ReadonlyArray<readonly [title: string, parts: readonly Part[], closing: string]> = [
  ['sums up parts', [tests(good), tests("echo '3 passed, 0 failed'"), check('true')], '16 passed, 0 failed'],
  ['counts failed tests', [tests(good), tests("echo '3 passed, 2 failed'; exit 1")], '15 passed, 2 failed'],
  ['counts failed tests of a part that ends well', [tests("echo '3 passed, 2 failed'")], '3 passed, 2 failed'],
  ['counts a part that ends badly with nothing failed', [tests(`${good}; exit 3`)], '12 passed, 1 failed'],
  ['counts a part without a closing line', [tests(good), tests('echo broken')], '12 passed, 1 failed'],
  ['counts a part that goes on after its closing line', [tests(`${good}; echo and more`)], '0 passed, 1 failed'],
  ['counts a part that is killed', [tests(`${good}; kill -9 $$`), tests(good)], '24 passed, 1 failed'],
  ['counts a failed check', [check('echo wrong; exit 2'), tests(good)], '12 passed, 1 failed'],
  [
    'counts a program that does not exist', [{ name: 'none', command: ['no-such-program'] }, tests(good)],
    '12 passed, 1 failed'
  ],
  ['takes no closing line from a check', [check("echo '5 passed, 0 failed'")], '1 passed, 0 failed'],
  ['does not take a warning for the closing line', [tests(`${good}; echo warning >&2`)], '12 passed, 0 failed']
]

for (const [index, [title, parts, closing]] of table.entries()) {
  t.test(`${title}: prints '${closing}' as the last line`, async t => {
    const { code, lines } = await runParts(t, parts, index % 2 + 1)
    t.equal(lines.at(-1), closing)
    t.equal(code, closing.endsWith(' 0 failed') ? 0 : 1)
  })
}

t.test('prints the output of the parts, run with the requested environment', async t => {
  const env = { WORD: 'hello' }
  const { lines } = await runParts(
    t, [{ ...tests('echo $WORD; echo; echo there >&2; echo; ' + good), env }, { ...check('echo $WORD again'), env }], 2
  )
  for (const line of ['hello', 'there', 'fine', 'hello again', 'ok      tests', 'ok      check']) {
    t.ok(lines.includes(line), line)
  }
})

/** Output of tap for the reporter: one file with a group of two tests. */
const tapOutput = `TAP version 14
# Subtest: test/a.test.ts
    # Subtest: outer
        # Subtest: one
            ok 1 - fine
            1..1
        ok 1 - one # time=1ms
        # Subtest: two
            not ok 1 - should be equal
            1..1
        not ok 2 - two # time=1ms
        1..2
    not ok 1 - outer # time=3ms
    1..1
not ok 1 - test/a.test.ts # time=9ms
# Subtest: group 2: guard
    # Subtest: test/guard/b.test.ts
        ok 1 - skipped # SKIP not today
        # Subtest: three
            ok 1 - fine
            1..1
        ok 2 - three # time=1ms
        1..2
    ok 1 - test/guard/b.test.ts # time=2ms
    # Subtest: test/guard/c.test.ts
        # Subtest: four
            ok 1 - fine
            1..1
        ok 1 - four # time=1ms
        1..1
    ok 2 - test/guard/c.test.ts # time=2ms
    1..2
not ok 2 - group 2: guard # time=9ms
  ---
  exitCode: 1
  ...
1..2
`

t.test('counts leaf tests and every failure in the reporter', async t => {
  const folder = t.testdir({ 'output.tap': tapOutput })
  const program = join(folder, 'report.js')
  const reporter = JSON.stringify(join(root, '.ci/reporter.js'))
  writeFileSync(program, `
    import { createReadStream } from 'node:fs'
    import Reporter from ${reporter}
    createReadStream(${JSON.stringify(join(folder, 'output.tap'))}).pipe(new Reporter()).pipe(process.stdout)`)
  const { output } = await run(process.execPath, [program], root)
  const lines = output.trimEnd().split('\n')
  t.equal(lines.at(-1), '3 passed, 2 failed')
  t.equal(lines.at(-2), '1 skipped')
  t.match(output, /skip {4}test\/guard\/b\.test\.ts > skipped: not today/)
  t.match(output, /not ok {2}test\/a\.test\.ts > outer > two > should be equal/)
  t.match(output, /\nok {6}test\/guard\/c\.test\.ts {2}\(1 test,/)
  t.match(output, /not ok {2}group 2: guard\n.*exitCode: 1/)
})

t.test('counts a process of tests that ends badly after tests that passed', async t => {
  const folder = t.testdir({
    'good.test.js': "import t from 'tap'\nt.pass('fine')\n",
    'bad.test.js': "import t from 'tap'\nt.pass('fine')\nprocess.on('exit', () => { process.exitCode = 3 })\n"
  })
  const runTests = (name: string) => run(process.execPath, ['.ci/tests.js', join(folder, name)], root)
  const [good, bad] = [await runTests('good.test.js'), await runTests('bad.test.js')]
  t.match(good.output, /\n\d passed, 0 failed\s*$/)
  t.match(bad.output, /exitCode: 3/)
  t.match(bad.output, /\n\d passed, 1 failed\s*$/)
})

t.test('gives an error that nobody caught to the test that caused it', async t => {
  const lost = `
      import t from 'tap'
      const wait = () => new Promise(resolve => { setTimeout(resolve, 50) })
      t.test('timer', async t => { setTimeout(() => { throw new Error('of a timer') }, 10); await wait(); t.pass() })
      t.test('outer', async t => {
        await t.test('inner', async t => { Promise.reject(new Error('of a promise')); await wait(); t.pass() })
      })
      t.test('innocent', async t => { await wait(); t.pass() })
      t.test('listener', async t => {
        const heard = new Promise(resolve => { process.once('uncaughtException', resolve) })
        setTimeout(() => { throw new Error('expected') })
        await heard
        t.pass()
      })
    `
  const folder = t.testdir({ test: { 'lost.test.ts': lost } })
  const { output } = await run(process.execPath, ['.ci/tests.js', join(folder, 'test/lost.test.ts')], root)
  t.match(output, /\nnot ok {2}.*lost\.test\.ts > timer > of a timer\n/)
  t.match(output, /\nnot ok {2}.*lost\.test\.ts > outer > inner > of a promise\n/)
  t.notMatch(output, /innocent > |listener > /)
  t.match(output, /\n\d passed, [1-9] failed\s*$/)
})
