import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg } from 'node:os'
import { basename, dirname } from 'node:path'
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

/** The maximum number of files that share a process. Each process costs two seconds of a core before its first test. */
const largestGroup = 24
/**
 * Files with a process of their own: they measure the heap, watch for unhandled rejections, wait for servers, or must
 * not have the test kit in their process.
 */
const alone = /\/(?:[\w-]*outages|growth|interleaved|races|doctor)\.test\.ts$/
const folder = '.tap/groups'

if (soak) {
  await runParts([testPart(soakFiles(), { jobs: 1, env: { SOAK: process.env.SOAK || 'full' } })])
} else if (positionals.length > 0) {
  await runParts([testPart(positionals)])
} else if (tests) {
  await runParts([testPart(testFiles())])
} else {
  const checks = ['lint', 'types', 'types:test'].map(name => ({ name, command: ['npm', 'run', '--silent', name] }))
  await runParts([testPart(testFiles(), { coverage: true }), ...checks], 2)
}

function testFiles () {
  return readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.test.ts'))
    .map(name => `test/${name.replaceAll('\\', '/')}`)
    .sort()
}

/** Returns the files that have a full size, and those that need the public vectors. */
function soakFiles () {
  const isSoak = file => file.startsWith('test/vectors/') || readFileSync(file, 'utf8').includes('/fixtures/size.js')
  return testFiles().filter(isSoak)
}

/**
 * Returns the part that runs test files. Tests that wait leave a core to others, hence one job more than there are
 * cores.
 */
function testPart (files, { coverage = false, jobs = availableParallelism() + 1, env = {} } = {}) {
  const options = [
    `--jobs=${jobs}`, `--timeout=${timeout()}`, ...coverage ? [] : ['--disable-coverage', '--allow-empty-coverage']
  ]
  return {
    name: 'tests',
    command: [process.execPath, 'node_modules/tap/dist/esm/run.mjs', ...options, ...writeGroups(files)],
    env,
    tests: true
  }
}

/** Returns the seconds that a process of tests may take: ten minutes of a quiet machine, and more of a busy one. */
function timeout () {
  return Math.ceil(600 * (1 + loadavg()[0] / availableParallelism()))
}

/**
 * Writes a program for each group of files, and returns their names. tap runs them in the order of these: those that
 * wait most come first.
 */
function writeGroups (files) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  return groupsOf(files).map(({ name, files }, rank) => {
    const program = `${folder}/${String(rank).padStart(2, '0')}-${name}.js`
    writeFileSync(
      program, `import { runGroup } from '../../.ci/group.js'\n\nrunGroup(${JSON.stringify(files, null, 2)})\n`
    )
    return program
  })
}

/** Divides files into groups: some alone, small folders together, and large ones in parts. */
function groupsOf (files) {
  const groups = files.filter(file => alone.test(file)).map(
    file => ({ name: basename(file, '.test.ts'), files: [file] })
  )
  const folders = new Map()
  for (const file of files.filter(file => !alone.test(file))) {
    folders.set(dirname(file), [...folders.get(dirname(file)) ?? [], file])
  }
  let open = { name: '', files: [] }
  for (const [path, inFolder] of folders) {
    for (const part of parts(inFolder)) {
      if (open.files.length === 0 || open.files.length + part.length > largestGroup) {
        groups.push(open = { name: basename(path), files: [] })
      }
      open.files.push(...part)
    }
  }
  return groups
}

function parts (files) {
  const count = Math.ceil(files.length / largestGroup)
  return Array.from({ length: count }, (_, n) => files.filter((_file, index) => index % count === n))
}
