import { spawn } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { root } from '../fixtures/root.js'

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  /** Stdout and stderr together. */
  readonly output: string
}

/** Returns the environment of a user's shell, without variables of npm scripts, coverage and the test runner. */
export function cleanEnvironment (): NodeJS.ProcessEnv {
  const inherited = /^(?:npm_(?:package_|lifecycle_|config_local_prefix$|command$)|NODE_OPTIONS$|COVERAGE_FOLDER$|TAP)/i
  const kept = Object.entries(process.env).filter(([name]) => !inherited.test(name))
  const path = [join(root, 'node_modules/.bin'), process.env['PATH'] ?? ''].join(delimiter)
  return { ...Object.fromEntries(kept), PATH: path, NO_COLOR: '1' }
}

/** Runs a command of the PATH or of this package's tools to its end. Never rejects because of its exit code. */
export function run (command: string, args: readonly string[], cwd: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => { stdout += String(chunk); output += String(chunk) })
    child.stderr.on('data', (chunk: Buffer) => { output += String(chunk) })
    child.once('error', reject)
    child.once('close', code => { resolve({ code, stdout, output }) })
  })
}
