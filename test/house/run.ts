import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { root } from './source.js'

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  /** Both streams, for a person. */
  readonly output: string
}

/** The environment of a person's shell: nothing of the script, the coverage and the test runner around this process. */
export function cleanEnvironment (): NodeJS.ProcessEnv {
  const inherited = /^(?:npm_package_|npm_lifecycle_|npm_config_local_prefix$|npm_command$|NODE_V8_COVERAGE$|TAP)/i
  const kept = Object.entries(process.env).filter(([name]) => !inherited.test(name))
  const path = [join(root, 'node_modules/.bin'), process.env['PATH'] ?? ''].join(delimiter)
  return { ...Object.fromEntries(kept), PATH: path, _TAPJS_PROCESSINFO_COVERAGE_: '0', NO_COLOR: '1' }
}

/** Runs a command of the PATH or of this package's tools to its end. Never rejects for what the command says. */
export function run (command: string, args: readonly string[], cwd: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    // without the hooks that the test runner adds to every process of Node
    const child = spawn(
      'env',
      ['-u', 'NODE_OPTIONS', command, ...args],
      { cwd, env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] }
    )
    let stdout = ''
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => { stdout += String(chunk); output += String(chunk) })
    child.stderr.on('data', (chunk: Buffer) => { output += String(chunk) })
    child.once('error', reject)
    child.once('close', code => { resolve({ code, stdout, output }) })
  })
}
