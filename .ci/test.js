import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runParts } from './parts.js'

/*
 * `npm test` is this program without arguments: lint, types and tests side by side, with the coverage of lib.
 *
 *   node .ci/test.js test/guard/errors.test.ts   these files alone
 *   node .ci/test.js --tests                     all tests, without lint, types and coverage
 *   node .ci/test.js --soak                      the soak tests at full size; with SOAK=short in ten minutes
 */

const { values: { soak = false, tests = false }, positionals } = parseArgs({
  options: { soak: { type: 'boolean' }, tests: { type: 'boolean' } },
  allowPositionals: true
})

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

if (soak) {
  await runParts([testPart(soakFiles(), { options: ['--jobs=1'], env: { SOAK: process.env.SOAK || 'full' } })])
} else if (positionals.length > 0) {
  await runParts([testPart(positionals.map(withSlashes))])
} else if (tests) {
  await runParts([testPart(testFiles())])
} else {
  // the compiler and Oxlint collect garbage less often, which saves a quarter of their work
  const env = { GOGC: '400' }
  const checks = ['lint', 'types'].map(name => ({ name, command: ['npm', 'run', '--silent', name], env }))
  await runParts([testPart(testFiles(), { options: ['--coverage'] }), ...checks], 2)
}

function testFiles () {
  return readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.ts'))
    .map(name => `test/${withSlashes(name)}`)
    .sort()
}

function withSlashes (path) {
  return path.replaceAll('\\', '/')
}

/** Returns the files that have a full size, and those that need the public vectors. */
function soakFiles () {
  const isSoak = file => file.startsWith('test/vectors/') || readFileSync(file, 'utf8').includes('/fixtures/size.js')
  return testFiles().filter(isSoak)
}

function testPart (files, { options = [], env = {} } = {}) {
  return { name: 'tests', command: [process.execPath, '.ci/tests.js', ...options, ...files], env, tests: true }
}
