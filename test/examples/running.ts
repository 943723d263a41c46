import { execFile, spawn } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The example as `npm start` runs it. */
export interface Running {
  /** `http://localhost:<port>`, as printed. */
  readonly address: string
  /** Everything on stdout so far, log and guide. */
  output (): string
  errors (): string
  stop (): Promise<number | null>
}

/** Nothing of the test runner around it, and no `.env` of whoever runs the tests: what is not named here is empty, which counts as not set. */
function environment (given: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const secrets = ['SESSION_SECRET', 'JWT_SECRET', 'SHOP_KEY', 'WAREHOUSE_KEY', 'OPS_PASSWORD', 'PEOPLE_PASSWORD']
  const fixed = { HOST: '127.0.0.1', PORT: '0', NODE_ENV: 'development', COOKIE_SECURE: 'true', CORS_ORIGIN: '' }
  return { PATH: process.env['PATH'], ...Object.fromEntries(secrets.map(name => [name, ''])), ...fixed, ...given }
}

function launch (given: Readonly<Record<string, string>>) {
  const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { scripts: { start: string } }
  const [command, ...args] = scripts.start.split(' ')
  if (command !== 'node') throw new Error(`npm start runs ${command}, which this test cannot start`)
  const child = spawn(process.execPath, args, { cwd: root, env: environment(given), stdio: ['ignore', 'pipe', 'pipe'] })
  const heard = { output: '', errors: '' }
  child.stdout.on('data', (chunk: Buffer) => { heard.output += String(chunk) })
  child.stderr.on('data', (chunk: Buffer) => { heard.errors += String(chunk) })
  const ended = new Promise<number | null>(resolve => child.once('close', resolve))
  return { child, heard, ended }
}

/** Starts it and waits until it has printed how to try it. */
export async function start (given: Readonly<Record<string, string>> = {}): Promise<Running> {
  const { child, heard, ended } = launch(given)
  const printed = new Promise<void>(resolve => {
    child.stdout.on('data', () => { if (/WHO MAY ENTER[^]*\n\n$/.test(heard.output)) resolve() })
  })
  const early = ended.then(code => { throw new Error(`the example ended with ${code}:\n${heard.output}${heard.errors}`) })
  await Promise.race([printed, early])
  early.catch(() => {})
  return {
    address: /http:\/\/[^\s"]+/.exec(heard.output.slice(heard.output.indexOf('Order desk ')))?.[0] ?? '',
    output: () => heard.output,
    errors: () => heard.errors,
    stop: () => { child.kill('SIGTERM'); return ended }
  }
}

/** Starts it where it must not start: what it says, and its exit code. */
export async function startRefused (given: Readonly<Record<string, string>>) {
  const { child, heard, ended } = launch(given)
  child.stdout.on('data', () => { if (heard.output.includes('WHO MAY ENTER')) child.kill('SIGTERM') })
  return { code: await ended, ...heard }
}

/** Runs one printed line in a shell, comment and all, and gives the status that curl got. */
export function runLine (line: string): Promise<string> {
  const counted = line.trim().replace(/^curl /, "curl --silent --show-error --max-time 20 --output /dev/null --write-out '%{http_code}' ")
  return new Promise(resolve => {
    execFile('/bin/sh', ['-c', counted], (error, stdout, stderr) => { resolve(error === null ? stdout : `${stdout} ${stderr}`.trim()) })
  })
}

/** Where a browser is on this machine, or `null`. */
export function browserPath (): string | null {
  const known = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  return known.find(path => statSync(path, { throwIfNoEntry: false }) !== undefined) ?? null
}
