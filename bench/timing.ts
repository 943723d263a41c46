import { randomBytes } from 'node:crypto'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import Fastify from 'fastify'
import authPlugin, { basic } from '../lib/index.js'
import { hashPassword, passwords, verifyPassword } from '../lib/passwords/index.js'

/**
 * Whether time tells what an answer does not: two kinds of refusal, sampled in random order, and Welch's t of their times. |t| below 4.5 says that this many samples
 * cannot tell them apart. Run with `node .bench/bench/timing.js` after `tsc -p tsconfig.bench.json`; `SAMPLES=5000 ONLY=basic` for more of one.
 */
const samples = Number(process.env.SAMPLES ?? 1000)
const only = new RegExp(process.env.ONLY ?? '', 'i')
/** The slowest of each kind are left out: they measure the machine, not the code. The share is the same for both kinds. */
const kept = 0.95

interface Question {
  readonly name: string
  /** Each is done once a sample; neither may succeed. */
  readonly kinds: Readonly<Record<string, () => Promise<unknown>>>
  readonly done?: () => Promise<unknown>
}

async function milliseconds (work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

function mean (values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

function variance (values: readonly number[]): number {
  const middle = mean(values)
  return values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1)
}

function welch (a: readonly number[], b: readonly number[]): number {
  return (mean(a) - mean(b)) / Math.sqrt(variance(a) / a.length + variance(b) / b.length)
}

function trimmed (values: readonly number[]): readonly number[] {
  return [...values].sort((a, b) => a - b).slice(0, Math.floor(values.length * kept))
}

async function ask ({ name, kinds, done }: Question): Promise<void> {
  const entries = Object.entries(kinds)
  const times = new Map(entries.map(([kind]) => [kind, [] as number[]]))
  for (let i = -20; i < samples; i++) {
    for (const [kind, work] of Math.random() < 0.5 ? entries : [...entries].reverse()) {
      const time = await milliseconds(work)
      if (i >= 0) times.get(kind)?.push(time)
    }
  }
  await done?.()
  const [a = [], b = []] = [...times.values()].map(trimmed)
  const [one, other] = entries.map(([kind]) => kind)
  console.log(`| ${name} | ${one} ${mean(a).toFixed(3)} | ${other} ${mean(b).toFixed(3)} | ${welch(a, b).toFixed(2)} |`)
}

async function basicQuestion (name: string, users: Parameters<typeof basic>[0]['users'], known: string): Promise<Question> {
  const app = Fastify()
  await app.register(authPlugin, { schemes: { ops: basic({ users: users ?? {} }) }, limits: { guesses: false } })
  app.get('/', async () => 'never')
  const refused = (user: string) => async (): Promise<void> => {
    const { statusCode } = await app.inject({ url: '/', headers: { authorization: `Basic ${Buffer.from(`${user}:wrong password`).toString('base64')}` } })
    if (statusCode !== 401) throw new Error(`${name}: ${statusCode} instead of 401`)
  }
  return { name, kinds: { known: refused(known), unknown: refused('n'.repeat(known.length)) }, done: () => app.close() }
}

async function questions (): Promise<readonly Question[]> {
  const argon2 = await hashPassword('correct horse')
  const bcrypt = await hashPassword('correct horse', { algorithm: 'bcrypt', cost: 10 })
  const mixed = passwords({ legacy: [{ algorithm: 'bcrypt', cost: 10 }] })
  const wrong = (stored: string | null) => () => mixed.verify(randomBytes(8).toString('hex'), stored)
  return [
    { name: 'passwords, argon2id', kinds: { known: () => verifyPassword('wrong password', argon2), unknown: () => verifyPassword('wrong password', null) } },
    { name: 'passwords, argon2id beside bcrypt, new hash', kinds: { known: wrong(argon2), unknown: wrong(null) } },
    { name: 'passwords, argon2id beside bcrypt, old hash', kinds: { known: wrong(bcrypt), unknown: wrong(null) } },
    await basicQuestion('basic, argon2id', { operator: { hash: argon2 } }, 'operator'),
    await basicQuestion('basic, given passwords', { operator: { password: 'correct horse battery' } }, 'operator')
  ]
}

/** 200 logins at once: how late the event loop gets, and how long the last of them takes. */
async function logins (): Promise<void> {
  const stored = await hashPassword('correct horse')
  const delay = monitorEventLoopDelay({ resolution: 1 })
  await pause(100)
  delay.enable()
  const start = performance.now()
  const all = await Promise.allSettled(Array.from({ length: 200 }, () => verifyPassword('correct horse', stored)))
  const took = performance.now() - start
  delay.disable()
  const refused = all.filter(({ status }) => status === 'rejected').length
  console.log(`\n200 parallel logins in ${took.toFixed(0)} ms, ${refused} refused; event-loop delay p50 ${(delay.percentile(50) / 1e6).toFixed(1)} ms, p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, most ${(delay.max / 1e6).toFixed(1)} ms`)
}

console.log(`Node ${process.version}, ${samples} samples of each kind, interleaved; the fastest ${kept * 100} % count\n`)
console.log('| question | ms | ms | Welch t |')
console.log('|---|---:|---:|---:|')
for (const question of await questions()) if (only.test(question.name)) await ask(question)
if (only.test('logins')) await logins()
