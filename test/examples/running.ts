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

/** The example in a process of its own. */
export interface Running {
  /** `http://localhost:<port>`, as printed. */
  readonly address: string
  /** The text that it printed when it was ready. */
  readonly printed: string
  /** Returns everything on stdout so far: the log and the guide. */
  output (): string
  errors (): string
  /** @returns the exit code, `null` after SIGKILL. */
  stop (signal?: 'SIGTERM' | 'SIGKILL'): Promise<number | null>
}

/** A folder for DATA_DIR of one test, which removes it. */
export function folder (): { readonly path: string, remove (): void } {
  const path = mkdtempSync(join(tmpdir(), 'order-desk-'))
  return { path, remove: () => { rmSync(path, { recursive: true, force: true }) } }
}

/**
 * Nothing of the test runner around it, and no `.env` of whoever runs the tests: what is not named here is empty, which
 * counts as not set.
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

/** Starts the example, with a temporary folder for its data unless it is given one. */
function launch (given: Given, args: readonly string[]) {
  const own = folder()
  const child = spawnNode(
    args, { cwd: root, env: environment({ DATA_DIR: own.path, ...given }), stdio: ['ignore', 'pipe', 'pipe'] }
  )
  const heard = { output: '', errors: '' }
  child.stdout?.on('data', (chunk: Buffer) => { heard.output += String(chunk) })
  child.stderr?.on('data', (chunk: Buffer) => { heard.errors += String(chunk) })
  const ended = new Promise<number | null>(resolve => child.once('close', code => {
    own.remove()
    resolve(code)
  }))
  return { child, heard, ended }
}

/** The guide, when it is there to its end: a line of the log may stand behind it. */
function guideIn (output: string): string | null {
  return /Order desk [^]*ROUTES, and who may call them[^]*\n\n(?=(?:\{.*\n)*$)/.exec(output)?.[0] ?? null
}

/** Starts it and waits until it has printed how to try it. */
export async function start (
  given: Given = {}, args: readonly string[] = [bundle('examples/server.ts', 'bundle')]
): Promise<Running> {
  const { child, heard, ended } = launch(given, args)
  const printed = new Promise<void>(resolve => {
    child.stdout?.on('data', () => { if (guideIn(heard.output) !== null) resolve() })
  })
  const early = ended.then(
    code => { throw new Error(`the example ended with ${code}:\n${heard.output}${heard.errors}`) }
  )
  await Promise.race([printed, early])
  early.catch(() => {})
  const guide = guideIn(heard.output) ?? ''
  return {
    address: /http:\/\/[^\s"]+/.exec(guide)?.[0] ?? '',
    printed: guide,
    output: () => heard.output,
    errors: () => heard.errors,
    stop: (signal = 'SIGTERM') => { child.kill(signal); return ended }
  }
}

/** Starts it where it must not start: what it says, and its exit code. */
export async function startRefused (given: Given = {}) {
  const { child, heard, ended } = launch(given, [bundle('examples/server.ts', 'bundle')])
  child.stdout?.on('data', () => { if (heard.output.includes('ROUTES, and who may call them')) child.kill('SIGTERM') })
  return { code: await ended, ...heard }
}

/** The lines that a start printed, to paste into a shell. */
export function curlLines (printed: string): readonly string[] {
  return printed.split('\n').filter(line => line.startsWith('  curl '))
}

/** The file that curl is told to keep cookies in. */
export function jarOf (printed: string): string {
  return /-c (\S+)/.exec(printed)?.[1] ?? ''
}

/** Runs one printed line in a shell, comment and all, and gives the status that curl got. */
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

/** The status that a printed line says curl will get. */
export function promisedBy (line: string): string | undefined {
  return / # (\d{3})(?: |$)/.exec(line)?.[1]
}
