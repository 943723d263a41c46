import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { buildSync } from 'esbuild'
import { cleanEnvironment } from '../house/run.js'
import { root } from '../house/source.js'

const built = new Map<string, string>()

/** Makes one file of a program in TypeScript, so that Node starts it in half the time. Returns its path, which is good for as long as this process runs. */
export function bundle (entry: string): string {
  const known = built.get(entry)
  if (known !== undefined) return known
  mkdirSync(join(root, '.tap'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tap/program-'))
  process.once('exit', () => { rmSync(folder, { recursive: true, force: true }) })
  const outfile = join(folder, 'routes/program.js')
  // packages are found from below the repository
  buildSync({ entryPoints: [join(root, entry)], outfile, bundle: true, packages: 'external', platform: 'node', format: 'esm', target: 'node20', logLevel: 'error' })
  // the one file that the example reads beside its own
  cpSync(join(root, 'examples/views'), join(folder, 'views'), { recursive: true })
  built.set(entry, outfile)
  return outfile
}

/** Starts a program of Node without what the test runner adds to every process: its hooks take longer to load than the program. */
export function spawnNode (args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, ...args], { env: cleanEnvironment(), ...options })
}

/** Starts a bundled program that speaks with this process by messages. */
export function forkProgram (entry: string): ChildProcess {
  return spawnNode([bundle(entry)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}
