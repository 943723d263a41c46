import { runParts } from './parts.js'

/*
 * Everything that .ci/run checks once the packages are installed: the tests as in a fresh clone, the soak tests with
 * the public vectors, the tests on newer versions of Node, and that the benchmarks compile with the packages that only
 * they need. Coverage is that of the first: no line of lib depends on the vectors for it.
 */

const program = '.ci/test.js'

function on (version) {
  return {
    name: `tests on Node ${version}`,
    command: ['npx', '--yes', '--package', `node@${version}`, '--', 'node', program, '--tests'],
    env: { GATEHOUSE_BROWSER: 'none' },
    tests: true
  }
}

await runParts([
  { name: 'npm test', command: ['npm', 'test', '--silent'], env: { GATEHOUSE_VECTORS: undefined }, tests: true },
  { name: 'npm run test:soak', command: ['npm', 'run', '--silent', 'test:soak'], env: { SOAK: 'short' }, tests: true },
  on(22),
  on(24),
  { name: 'benchmarks compile', command: ['npm', 'run', '--silent', 'bench', '--', '--compile'] }
])
