import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { run } from '../../lib/cli/run.js'
import type { Terminal } from '../../lib/cli/terminal.js'
import { build, route } from '../fixtures/policies.js'

/** The command distinguishes a damaged snapshot, for example after a merge, from one that differs. */

const application = fileURLToPath(new URL('../cli/apps/factory.ts', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'snapshot-'))
t.teardown(() => { rmSync(folder, { recursive: true }) })

async function audit (...args: readonly string[]) {
  const written = { stdout: '', stderr: '' }
  const into = (name: 'stdout' | 'stderr') => ({ write (text: string) { written[name] += text } })
  const terminal = { stdin: null as unknown as Terminal['stdin'], stdout: into('stdout'), stderr: into('stderr') }
  return { code: await run(['audit', application, ...args], terminal), ...written }
}

const declare = (app: FastifyInstance) => {
  route(app, [], '/orders', {
    scopes: { any: ['a', 'b'] }, maxAge: 60, anyOf: [{ roles: 'clerk' }], rateLimit: { max: 9, window: '1m' }
  })
}

const wrong = [null, undefined, 7, 'x', true, [], {}, [null], [7], [[7]], [{}], { all: ['a'] }]

/** Returns each copy of a value in which one member, at any depth, is replaced. */
function replacements (value: unknown): readonly unknown[] {
  if (typeof value !== 'object' || value === null) return wrong
  const copyWith = (key: string, each: unknown): unknown =>
    Array.isArray(value) ? value.map((old, i) => String(i) === key ? each : old) : { ...value, [key]: each }
  return Object.entries(value).flatMap(([key, member]) =>
    [...wrong, ...replacements(member)].map(each => copyWith(key, each)))
}

t.test('a damaged line is exit code 2, or a difference that is shown, and never an exception', async t => {
  Object.assign(globalThis, { audited: async () => await build(declare) })
  const file = join(folder, 'audit.jsonl')
  await audit('--check', file, '--update')
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  const last = JSON.parse(String(lines.pop())) as { readonly policy: object }
  const codes = new Map<number, number>()
  for (const policy of replacements(last.policy)) {
    writeFileSync(file, [...lines, JSON.stringify({ ...last, policy })].join('\n'))
    const { code, stderr } = await audit('--check', file)
    codes.set(code, 1 + (codes.get(code) ?? 0))
    if (code === 1) t.equal(stderr, '', JSON.stringify(policy))
    if (code === 2) t.match(stderr, /It has a line that fastify-gatehouse audit did not write/)
  }
  t.ok(Number(codes.get(2)) > 200, String([...codes]))
  const damaged = [
    ...['requried', null, ['required'], {}].map(access => ({ access })),
    ...['no', null, 0].map(detached => ({ detached })),
    ...['x', '60', [], undefined].map(maxAge => ({ maxAge }))
  ]
  for (const part of damaged) {
    writeFileSync(file, [...lines, JSON.stringify({ ...last, policy: { ...last.policy, ...part } })].join('\n'))
    t.match(await audit('--check', file), { code: 2 }, JSON.stringify(part))
  }
  const damagedLines = [
    { role: 'admin', scopes: [] }, { role: 'admin', roles: 'clerk', scopes: [] }, { role: 'admin', roles: [] },
    { scheme: 'old' }, { scheme: 'old', accepts: 'x' }, { ...last, delegated: 'no' }, { ...last, constraints: 'x' },
    { ...last, constraints: { host: 7 } }
  ]
  for (const line of damagedLines) {
    writeFileSync(file, [...lines, JSON.stringify(last), JSON.stringify(line)].join('\n'))
    t.match(await audit('--check', file), { code: 2 }, JSON.stringify(line))
  }
})
