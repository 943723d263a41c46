import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundle, spawnNode } from '../fixtures/programs.js'
import { pair } from '../fixtures/tokens.js'
import { root } from '../fixtures/root.js'

export const secretNames = [
  'SESSION_SECRET', 'DEVICE_SECRET', 'REFRESH_SECRET', 'SHOP_KEY', 'WAREHOUSE_KEY', 'PARTNER_SECRET',
  'DASHBOARD_SECRET', 'OPS_PASSWORD', 'PEOPLE_PASSWORD', 'JWT_KEYS'
] as const

/** Returns the variables that production requires: secrets and the public URL. */
export function productionSettings () {
  const secrets = Object.fromEntries(secretNames.map(name => [name, randomBytes(32).toString('base64url')]))
  const key = { ...pair('ec').privateKey.export({ format: 'jwk' }), kid: '1', alg: 'ES256' }
  return {
    ...secrets, JWT_KEYS: JSON.stringify({ keys: [key] }), NODE_ENV: 'production', PUBLIC_URL: 'https://orders.example'
  } as Readonly<Record<(typeof secretNames)[number] | 'NODE_ENV' | 'PUBLIC_URL', string>>
}

type Given = Readonly<Record<string, string>>

/** The example, running in a process of its own. */
export interface Running {
  /** `http://localhost:<port>`, as printed. */
  readonly address: string
  /** The text that it printed when it was ready. */
  readonly printed: string
  /** Returns everything on stdout so far: the log and the guide. */
  output (): string
  errors (): string
  /**
   * Stops the process.
   * @returns the exit code; `null` after SIGKILL.
   */
  stop (signal?: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

/** Creates a folder for the DATA_DIR of one test, which removes it. */
export function folder (): { readonly path: string, remove (): void } {
  const path = mkdtempSync(join(tmpdir(), 'order-desk-'))
  return { path, remove: () => { rmSync(path, { recursive: true, force: true }) } }
}

/**
 * Returns the environment of the example, without variables of the test runner. Variables that are not given are empty,
 * which counts as not set, so that a local `.env` has no effect.
 */
function environment (given: Given): NodeJS.ProcessEnv {
  const unset = [...secretNames, 'PUBLIC_URL', 'CORS_ORIGIN', 'TRUST_PROXY', 'DATABASE_URL', 'REDIS_URL']
  const fixed = { HOST: '127.0.0.1', PORT: '0', NODE_ENV: 'development', COOKIE_SECURE: 'true' }
  return { PATH: process.env['PATH'], ...Object.fromEntries(unset.map(name => [name, ''])), ...fixed, ...given }
}

/** Returns the arguments that `npm start` gives to Node. */
export function npmStart (): readonly string[] {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: { start: string } }
  const [command, ...args] = scripts.start.split(' ')
  if (command !== 'node') throw new Error(`npm start runs ${command}, which this test cannot start`)
  return args
}

/** Starts the example. Its data is in a temporary folder by default. */
function launch (given: Given, args: readonly string[]) {
  const own = folder()
  const child = spawnNode(
    args, { cwd: root, env: environment({ DATA_DIR: own.path, ...given }), stdio: ['ignore', 'pipe', 'pipe'] }
  )
  const streams = { output: '', errors: '' }
  child.stdout?.on('data', (chunk: Buffer) => { streams.output += String(chunk) })
  child.stderr?.on('data', (chunk: Buffer) => { streams.errors += String(chunk) })
  const ended = new Promise<number | null>(resolve => child.once('close', code => {
    own.remove()
    resolve(code)
  }))
  return { child, streams, ended }
}

/** Returns the guide as soon as it was printed completely; log lines may follow it. */
function guideIn (output: string): string | null {
  return /Order desk [^]*ROUTES, and who may call them[^]*\n\n(?=(?:\{.*\n)*$)/.exec(output)?.[0] ?? null
}

/** Starts the example, and waits until it has printed the guide. */
export async function start (
  given: Given = {}, args: readonly string[] = [bundle('examples/server.ts', 'bundle')]
): Promise<Running> {
  const { child, streams, ended } = launch(given, args)
  const printed = new Promise<void>(resolve => {
    child.stdout?.on('data', () => { if (guideIn(streams.output) !== null) resolve() })
  })
  const early = ended.then(
    code => { throw new Error(`the example ended with ${code}:\n${streams.output}${streams.errors}`) }
  )
  await Promise.race([printed, early])
  early.catch(() => {})
  const guide = guideIn(streams.output) ?? ''
  return {
    address: /http:\/\/[^\s"]+/.exec(guide)?.[0] ?? '',
    printed: guide,
    output: () => streams.output,
    errors: () => streams.errors,
    stop: (signal = 'SIGTERM') => { child.kill(signal); return ended }
  }
}

/** Starts the example with settings that it must refuse. Returns its output and exit code. */
export async function startRefused (given: Given = {}) {
  const { child, streams, ended } = launch(given, [bundle('examples/server.ts', 'bundle')])
  child.stdout?.on('data', () => { if (streams.output.includes('ROUTES, and who may')) child.kill('SIGTERM') })
  return { code: await ended, ...streams }
}

/** Returns the printed curl commands. */
export function curlLines (printed: string): readonly string[] {
  return printed.split('\n').filter(line => line.startsWith('  curl '))
}

/** Returns the path of the file in which curl keeps cookies. */
export function jarOf (printed: string): string {
  return /-c (\S+)/.exec(printed)?.[1] ?? ''
}

/** Runs one printed command in a shell, with its comment. Returns the status that curl received. */
export function runLine (line: string): Promise<string> {
  const counted = line.trim().replace(
    /^curl /, "curl --silent --show-error --max-time 20 --output /dev/null --write-out '%{http_code}' "
  )
  return new Promise(resolve => {
    execFile(
      '/bin/sh',
      ['-c', counted],
      (error, stdout, stderr) => { resolve(error === null ? stdout : `${stdout} ${stderr}`.trim()) }
    )
  })
}

/** Returns the status that the comment of a printed command promises. */
export function promisedBy (line: string): string | undefined {
  return / # (\d{3})(?: |$)/.exec(line)?.[1]
}
