import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/*
 * Runs a benchmark, in JavaScript that it compiles first. The packages that only benchmarks need are installed when the
 * first one runs.
 *
 *   npm run bench                      requests per second, beside other packages
 *   npm run bench hooks -- --quick     another benchmark, with its options
 *   npm run bench -- --compile         compiles all of them, and runs none
 */

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const [first = 'requests', ...options] = process.argv.slice(2)
/** The files of this folder that run on their own. */
const names = [
  'requests', 'hooks', 'boot', 'events', 'growth', 'instances', 'load', 'logins', 'openapi', 'timing', 'tokens', 'types'
]
if (first !== '--compile' && !names.includes(first)) {
  console.error(`There is no benchmark '${first}' in bench/. There are ${names.join(', ')}.`)
  process.exit(1)
}

if (!existsSync('bench/node_modules')) run('npm', 'ci', '--prefix', 'bench', '--no-audit', '--no-fund')
run(process.execPath, 'node_modules/typescript-7/bin/tsc', '-p', 'bench')
if (first !== '--compile') run(process.execPath, '--expose-gc', `bench/.build/bench/${first}.js`, ...options)

function run (program, ...args) {
  // on Windows npm is a script, which only a shell can start
  const shell = process.platform === 'win32' && program === 'npm'
  const { status } = spawnSync(program, args, { stdio: 'inherit', shell })
  if (status !== 0) process.exit(status ?? 1)
}
