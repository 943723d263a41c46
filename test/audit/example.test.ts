import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { run } from '../../lib/cli/run.js'
import type { Terminal } from '../../lib/cli/terminal.js'
import { size } from '../fixtures/size.js'
import { root } from '../fixtures/root.js'

/**
 * Loosens the example application in several ways, and checks that the command reports each. A case is the text of a
 * file before and after; in reverse, it is a tightening.
 */

const folder = join(root, '.tap/audit-example')
rmSync(folder, { recursive: true, force: true })
t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })

/** Replaces a text in a file of the example, which must contain it. */
type Edit = readonly [file: string, text: string, replacement: string]

interface Case {
  readonly title: string
  readonly before?: readonly Edit[]
  readonly after: readonly Edit[]
  /** Matches the output of the command for the change. */
  readonly message: RegExp
}

let copies = 0

/** Returns a module that exports a changed copy of the example, for the command. */
function copyOf (edits: readonly Edit[]): string {
  const here = join(folder, String(copies++))
  mkdirSync(here, { recursive: true })
  cpSync(join(root, 'examples'), join(here, 'examples'), { recursive: true })
  writeFileSync(join(here, 'package.json'), '{ "name": "order-desk", "type": "module" }')
  for (const [file, text, replacement] of edits) {
    const path = join(here, 'examples', file)
    const content = readFileSync(path, 'utf8')
    if (content.split(text).length !== 2) throw new Error(`${file} must have this once: ${text}`)
    writeFileSync(path, content.replace(text, () => replacement))
  }
  const app = pathToFileURL(join(here, 'examples/app.ts')).href
  const environment = JSON.stringify({ DATA_DIR: join(here, 'data') })
  writeFileSync(join(here, 'audit.ts'), `
    import { build } from '${app}'
    export default async () => (await build({ logger: false, environment: ${environment} })).app`)
  return join(here, 'audit.ts')
}

async function audit (...args: readonly string[]) {
  const written = { stdout: '', stderr: '' }
  const into = (name: 'stdout' | 'stderr') => ({ write (text: string) { written[name] += text } })
  const terminal = { stdin: null as unknown as Terminal['stdin'], stdout: into('stdout'), stderr: into('stderr') }
  return { code: await run(['audit', ...args], terminal), ...written }
}

/** Returns a snapshot of a changed copy of the example. */
async function snapshotOf (edits: readonly Edit[]): Promise<string> {
  const file = join(folder, `${copies}.jsonl`)
  const { code, stderr } = await audit(copyOf(edits), '--check', file, '--update')
  if (code !== 0) throw new Error(stderr)
  return file
}

const api = 'routes/api.ts'
const me = "app.get('/me', { "

/** Declares `GET /api/me` with one policy before and another one after. */
function ofMe (before: string, after: string): Pick<Case, 'before' | 'after'> {
  const edit = (auth: string): readonly Edit[] => [[api, me, auth === '' ? me : `${me}config: { auth: ${auth} }, `]]
  return { before: edit(before), after: edit(after) }
}

const nameOfMe = 'GET /api/me (in examples/routes/api.ts)'

const loosenings: readonly Case[] = [
  { title: 'required → optional', ...ofMe("'own'", "{ schemes: 'own', mode: 'optional' }"), message: /access: / },
  { title: 'optional → try', ...ofMe("{ mode: 'optional' }", "{ mode: 'try' }"), message: /access: / },
  { title: 'try → public', ...ofMe("{ mode: 'try' }", 'false'), message: /access: / },
  { title: 'an alternative was added', ...ofMe("'own'", "['own', 'service']"), message: /alternatives: / },
  {
    title: 'a scheme of an { all } was removed',
    ...ofMe("{ schemes: { all: ['own', 'user'] } }", "'own'"),
    message: /alternatives: /
  },
  { title: 'a rule was removed', ...ofMe("{ roles: 'viewer' }", ''), message: /rules: / },
  {
    title: 'a name of an all was removed',
    ...ofMe("{ roles: { all: ['clerk', 'viewer'] } }", "{ roles: { all: ['viewer'] } }"),
    message: /rules: /
  },
  {
    title: 'a name was added to an any',
    ...ofMe("{ roles: { any: ['admin'] } }", "{ roles: { any: ['admin', 'viewer'] } }"),
    message: /rules: /
  },
  {
    title: 'a name of a none was removed',
    ...ofMe("{ roles: { none: ['clerk', 'viewer'] } }", "{ roles: { none: ['viewer'] } }"),
    message: /rules: /
  },
  {
    title: 'a longer maxAge',
    ...ofMe("{ schemes: 'web', maxAge: 60 }", "{ schemes: 'web', maxAge: 61 }"),
    message: /maxAge: /
  },
  { title: 'a missing maxAge', ...ofMe("{ schemes: 'web', maxAge: 60 }", "'web'"), message: /maxAge: / },
  {
    title: 'a higher rateLimit',
    ...ofMe('{ rateLimit: { max: 5, window: 60 } }', '{ rateLimit: { max: 6, window: 60 } }'),
    message: /rateLimit: /
  },
  { title: 'a missing rateLimit', ...ofMe('{ rateLimit: { max: 5, window: 60 } }', ''), message: /rateLimit: / },
  { title: 'inherit: false', ...ofMe("'own'", "{ schemes: 'own', inherit: false }"), message: /inherit/ }
]

async function check (t: Test, { before = [], after }: Case): Promise<{ forward: string, backward: string }> {
  const [old, next] = [await snapshotOf(before), copyOf(after)]
  const loosened = await audit(next, '--check', old)
  t.equal(loosened.code, 1, loosened.stdout)
  const tightened = await audit(copyOf(before), '--check', await snapshotOf(after))
  t.equal(tightened.code, 0, tightened.stdout)
  return { forward: loosened.stdout, backward: tightened.stdout }
}

for (const each of loosenings.slice(0, size({ test: 1, short: loosenings.length, full: loosenings.length }))) {
  t.test(`the audit of the example fails on ${each.title}, with route and file, and notes the opposite`, async t => {
    const { forward, backward } = await check(t, each)
    t.match(forward, /^Loosened \(1\)\n/)
    t.ok(forward.includes(nameOfMe), forward)
    t.match(forward, each.message)
    t.match(backward, /^Tightened \(1\)\n/)
    t.ok(backward.includes(nameOfMe), backward)
  })
}

const wider: readonly Case[] = [
  {
    title: 'another order inside an { all }',
    ...ofMe("{ schemes: { all: ['own', 'user'] } }", "{ schemes: { all: ['user', 'own'] } }"),
    message: /alternatives: /
  },
  {
    title: 'a role that includes more',
    after: [['auth.ts', "viewer: { scopes: ['orders:read'] }", "viewer: { scopes: ['orders:read', 'orders:ship'] }"]],
    message: /role viewer/
  },
  {
    title: 'a group default that is gone',
    after: [['routes/pages.ts', "{ schemes: 'web', roles: 'admin', maxAge: '1h' }", "'web'"]],
    message: /GET \/admin \(in examples\/routes\/pages\.ts\)/
  },
  {
    title: 'a public path that is too wide',
    after: [['auth.ts', "{ path: '/health', ", "{ path: '/api/*', reason: 'all' }, { path: '/health', "]],
    message: /GET \/api\/me \(in examples\/routes\/api\.ts\)/
  },
  {
    title: 'a new public route',
    after: [[api, me, `app.get('/new', { config: { auth: false } }, async () => 1)\n  ${me}`]],
    message: /GET \/api\/new \(in examples\/routes\/api\.ts\)/
  }
]

const skip = size<string | false>({ test: 'it is one of npm run test:soak', short: false, full: false })

t.test('the audit of the example fails on what is wider than one route', { skip }, async t => {
  for (const { title, before = [], after, message } of wider) {
    const { code, stdout } = await audit(copyOf(after), '--check', await snapshotOf(before))
    t.equal(code, 1, `${title}: ${stdout}`)
    t.match(stdout, message, title)
  }
})

t.test('the audit of the example says nothing of a route that is declared elsewhere', { skip }, async t => {
  const health = /^ {2}app\.get\('\/health', .*\n/m.exec(readFileSync(join(root, 'examples/app.ts'), 'utf8'))?.[0] ?? ''
  t.match(health, /app\.get/)
  const reordered: readonly Edit[] = [
    ['app.ts', health, ''],
    ['app.ts', '  await app.ready()\n', `${health}  await app.ready()\n`]
  ]
  const moved: readonly Edit[] = [
    ['app.ts', health, ''],
    ['routes/pages.ts', '  addErrorPages(app)\n', `  addErrorPages(app)\n${health}`]
  ]
  const old = await snapshotOf([])
  for (const edits of [reordered, moved]) {
    const { code, stdout, stderr } = await audit(copyOf(edits), '--check', old)
    t.equal(code, 0, `${stdout}${stderr}`)
    t.match(stdout, /^Nothing has changed\./)
  }
})
