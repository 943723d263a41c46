import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { runInThisContext } from 'node:vm'
import Fastify, { type FastifyInstance, type FastifyPluginCallback } from 'fastify'
import t from 'tap'
import { run } from '../../lib/cli/run.js'
import type { Terminal } from '../../lib/cli/terminal.js'
import { apiKey, jwt } from '../../lib/index.js'
import { headerScheme, build, group, route, authConfig, threeSchemes, type Setting } from '../fixtures/policies.js'
import { typescript } from '../fixtures/programs.js'
import { secretOf } from '../fixtures/tokens.js'

const apps = fileURLToPath(new URL('./apps', import.meta.url))
const factory = join(apps, 'factory.ts')
const folder = mkdtempSync(join(tmpdir(), 'audit-'))
t.teardown(() => { rmSync(folder, { recursive: true }) })

async function ran (...args: string[]) {
  const written = { stdout: '', stderr: '' }
  const into = (name: 'stdout' | 'stderr') => ({ write (text: string) { written[name] += text } })
  const terminal = { stdin: null as unknown as Terminal['stdin'], stdout: into('stdout'), stderr: into('stderr') }
  return { code: await run(['audit', ...args], terminal), ...written }
}

/** Sets the application that `apps/factory.ts` returns. */
function setApplication (declare: (app: FastifyInstance) => unknown, setting?: Setting): void {
  Object.assign(globalThis, { audited: async () => await build(declare, setting) })
}

let files = 0
const nothing = null as unknown as Error

/** Writes the snapshot of one application, and checks another one against it. */
async function compare (
  before: Parameters<typeof setApplication>, after: Parameters<typeof setApplication>, ...more: string[]
) {
  const file = join(folder, `${files++}.jsonl`)
  setApplication(...before)
  t.match(await ran(factory, '--check', file, '--update'), { code: 0, stderr: '' })
  setApplication(...after)
  return await ran(factory, '--check', file, ...more)
}

t.test('prints every route as a table, as Markdown and as JSON', async t => {
  setApplication(app => {
    route(app, [], '/orders', { scopes: { any: ['a', 'b'] }, maxAge: 60 })
    route(app, [], '/open', { public: 'a |\n b' })
  })
  t.equal((await ran(factory)).stdout, [
    'route        access    schemes  rules                                    from             file',
    'GET /open    public             a | b                                    route            FILE',
    'GET /orders  required  user     scope a or b; authenticated within 60 s  default + route  FILE',
    ''
  ].join('\n').replaceAll('FILE', 'test/fixtures/policies.ts'))
  t.equal((await ran(factory, '--markdown')).stdout, [
    '| route | access | schemes | rules | from | file |',
    '| --- | --- | --- | --- | --- | --- |',
    '| GET /open | public |  | a \\| b | route | test/fixtures/policies.ts |',
    '| GET /orders | required | user | scope a or b; authenticated within 60 s | default + route | ' +
    'test/fixtures/policies.ts |',
    ''
  ].join('\n'))
  const rows = JSON.parse((await ran(factory, '--json')).stdout) as { url: string, policy: object }[]
  t.match(rows, [{ url: '/open' }, { url: '/orders', policy: { maxAge: 60 } }])
})

t.test('loads an application, a function that makes one and a plugin, without listening', async t => {
  for (const name of ['plugin.ts', 'instance.ts']) {
    t.match(await ran(join(apps, name)), { code: 0, stdout: /GET \/orders +required +user/ }, name)
  }
  setApplication(app => {
    app.addHook('onListen', async () => { throw new Error('it listens') })
    app.get('/orders', async () => [])
  })
  for (const name of ['factory.ts', 'compiled.cjs', 'nested.ts']) {
    t.match(await ran(join(apps, name)), { code: 0, stdout: /GET \/orders/ }, name)
  }
  const code = '(app, options, done) => { app.get("/evaluated", async () => ""); done() }'
  const plugin = runInThisContext(code, { filename: 'evaluated' }) as FastifyPluginCallback
  setApplication(app => { app.register(plugin) })
  t.match((await ran(factory)).stdout, /^GET \/evaluated +required +user +default$/m, 'a file that is not known')
  let isClosed = false
  setApplication(app => { app.addHook('onClose', async () => { isClosed = true }) })
  t.match(await ran(factory), { code: 0 })
  t.ok(isClosed)
})

t.test('reads only the exported application if the module makes several', async t => {
  Object.assign(globalThis, {
    audited: async () => {
      const inner = await build(app => { route(app, [], '/inner', false) })
      t.teardown(() => inner.close())
      return await build(app => { route(app, [], '/orders', 'user') })
    }
  })
  t.match((await ran(factory)).stdout, /^route .*\nGET \/orders .*\n$/)
})

t.test('ends as a process, with a path from its folder, whatever the application left open', async t => {
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  const child = spawn(process.execPath, [typescript, main, 'audit', 'apps/leaky.ts', '--json'], {
    cwd: fileURLToPath(new URL('.', import.meta.url)), stdio: ['ignore', 'pipe', 'inherit']
  })
  const [printed, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  t.match([JSON.parse(printed), code], [[{ url: '/orders' }], 0])
})

t.test('exits with code 3 if the application ends the process, or has an error that nobody catches', async t => {
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  await Promise.all([
    ['0', 'it ended the process with the code 0\\.'],
    ['1', 'it ended the process with the code 1\\.'],
    ['timer', 'no connection \\(in .*ending\\.ts:\\d+\\)'],
    ['promise', 'no answer \\(in .*ending\\.ts:\\d+\\)']
  ].map(async ([ENDING, message]) => {
    const child = spawn(process.execPath, [typescript, main, 'audit', join(apps, 'ending.ts')], {
      env: { ...process.env, ENDING }, stdio: ['ignore', 'pipe', 'pipe']
    })
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
    t.match([code, stdout, stderr], [3, '', new RegExp(`^The application could not be loaded: ${message}\n$`)])
  }))
})

t.test('prints only the result and exits with its code, whatever the application does after it', async t => {
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  await Promise.all(['exit', 'throw'].map(async ENDING => {
    const child = spawn(process.execPath, [typescript, main, 'audit', join(apps, 'restless.ts'), '--json'], {
      env: { ...process.env, ENDING }, stdio: ['ignore', 'pipe', 'pipe']
    })
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
    t.match([JSON.parse(stdout), code], [[{ url: '/orders' }], 0], ENDING)
    t.match(stderr, /^console\nstream\n\{.*"msg":"logger"\}\n$/, ENDING)
  }))
})

t.test('gives up after a minute', async t => {
  const { setTimeout: start } = globalThis
  t.teardown(() => { globalThis.setTimeout = start })
  globalThis.setTimeout = ((run: () => void, delay: number) => start(run, delay === 60_000 ? 0 : delay)) as typeof start
  Object.assign(globalThis, { audited: () => new Promise(() => {}) })
  t.match(await ran(factory), {
    code: 3, stdout: '', stderr: 'The application was not ready and closed again within 60 s.\n'
  })
})

const unknownExtension = { code: 'ERR_UNKNOWN_FILE_EXTENSION' }

t.test('exits with code 3 and one message for an application that cannot be loaded', async t => {
  const failing = (make: () => unknown): string => { Object.assign(globalThis, { audited: make }); return factory }
  const table: [path: () => string, message: RegExp][] = [
    [() => join(apps, 'missing.ts'), /^The application could not be loaded: Cannot find module '.*missing\.ts'/],
    [() => join(apps, 'number.ts'), /^The default export of the module must be an application of Fastify, a function/],
    [() => failing(() => ({})), /^The default export of the module must be an application of Fastify, a function/],
    [
      () => failing(() => { throw new Error('no database') }),
      /^The application could not be loaded: no database \(in .*audit\.test\.ts:\d+\)\n$/
    ],
    [
      () => failing(() => { throw Object.assign(new Error('Unknown file extension ".ts"'), unknownExtension) }),
      /Unknown file extension "\.ts" \(in .*\)\nFor TypeScript, set NODE_OPTIONS=--import=tsx, or name the file/
    ],
    [
      () => failing(async () => await Fastify().listen({ host: '192.0.2.1', port: 0 })),
      /^The application could not be loaded: listen .*\nThe command needs a module that exports the application and/
    ],
    [() => failing(async () => Promise.reject(nothing)), /^The application could not be loaded: something that/],
    [() => failing(() => Fastify()), /^The application has not registered fastify-gatehouse\.\n$/],
    [
      () => failing(() => build(app => { route(app, [], '/x', 'usr') })),
      /^The application could not be loaded: GET \/x: config\.auth names the scheme 'usr'.* \(in .*\)\n$/
    ]
  ]
  for (const [path, message] of table) {
    const { code, stdout, stderr } = await ran(path())
    t.match([code, stdout, stderr], [3, '', message])
    t.notMatch(stderr, /\n +at /, 'no stack')
  }
})

t.test('names the file of an application that has a syntax error', async t => {
  const folder = t.testdir({
    'broken.mjs': 'export default {',
    'importing.mjs': "import './broken.mjs'",
    'missing-name.mjs': "\nimport { nothing } from './data.mjs'",
    'broken.cjs': '\nmodule.exports = {',
    'data.mjs': "export default JSON.parse('{')"
  })
  const table: [file: string, place: string][] = [
    ['broken.mjs', `in ${join(folder, 'broken.mjs')}, or in a module that it imports`],
    ['importing.mjs', `in ${join(folder, 'importing.mjs')}, or in a module that it imports`],
    ['missing-name.mjs', `in ${join(folder, 'missing-name.mjs')}:2`],
    ['broken.cjs', `in ${join(folder, 'broken.cjs')}:`],
    ['data.mjs', `in ${join(folder, 'data.mjs')}:1`]
  ]
  for (const [file, place] of table) {
    const { code, stdout, stderr } = await ran(join(folder, file))
    t.match([code, stdout, stderr], [3, '', `(${place}`])
    t.match(stderr, /^The application could not be loaded: [^\n]+\)\n$/)
  }
})

t.test('exits with code 2 for wrong arguments', async t => {
  setApplication(app => { route(app, [], '/x') })
  const write = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }
  const missing = join(folder, 'missing')
  const head = '{"format":"fastify-gatehouse audit","version":1}'
  const table: [args: string[], message: RegExp][] = [
    [[], /^audit needs one module: fastify-gatehouse audit app\.js\n\nUsage/],
    [['a.js', 'b.js'], /^audit needs one module/],
    [[factory, '--json', '--markdown'], /^Choose one of --json and --markdown/],
    [[factory, '--update'], /^--update writes the file of --check FILE/],
    [[factory, '--check'], /^The options of audit are --json, --markdown, --update and --check, which needs a file/],
    [[factory, '--check', 'a', '--check', 'b'], /^--check was given twice/],
    [[factory, '--chekc=x'], /^The options of audit are/],
    [[factory, '--check', missing], /^The snapshot .*missing cannot be read\. .* --check .*missing --update/],
    [[factory, '--check', write('text', 'hello')], /cannot be used\. It is not a snapshot of fastify-gatehouse audit/],
    [[factory, '--check', write('empty', '')], /cannot be used\. It is not a snapshot/],
    [[factory, '--check', write('json', '[]')], /cannot be used\. It is not a snapshot/],
    [
      [factory, '--check', write('newer', head.replace('1', '2'))],
      /It has the format 2, and this version of fastify-gatehouse reads the format 1\. Use the version that wrote it/
    ],
    [[factory, '--check', write('odd', `${head}\n{"line":1}`)], /It has a line that fastify-gatehouse audit did not/],
    [[factory, '--check', write('part', `${head}\n{"route":"GET /x"}`)], /It has a line that fastify-gatehouse audit/],
    [[factory, '--check', folder, '--update'], /^The snapshot .* cannot be written/]
  ]
  for (const [args, message] of table) t.match(await ran(...args), { code: 2, stdout: '', stderr: message })
})

t.test('writes a snapshot as sorted JSON lines, which another order or file of routes does not change', async t => {
  const setting = { options: { roles: { clerk: {}, admin: { roles: ['clerk'], scopes: ['b', 'a'] } } } }
  const isOwner = () => true
  const declare = (app: FastifyInstance) => {
    route(app, [], '/b', { when: isOwner })
    app.get('/a', { constraints: { host: 'one.example' }, ...authConfig('user') }, () => '')
    app.get('/a', { constraints: { host: 'two.example' }, ...authConfig('web') }, () => '')
  }
  setApplication(declare, setting)
  const file = join(folder, 'sorted')
  t.match(await ran(factory, '--check', file, '--update'), { code: 0, stdout: `Routes written to ${file}: 3.\n` })
  const lines = readFileSync(file, 'utf8').split('\n').map(line => line === '' ? null : JSON.parse(line) as object)
  t.match(lines, [
    { format: 'fastify-gatehouse audit', version: 1 },
    { scheme: 'service', accepts: { from: ['header:x-service'] } },
    { scheme: 'user', accepts: { from: ['header:x-user'] } },
    { scheme: 'web', accepts: { from: ['header:x-web'] } },
    { role: 'admin', roles: ['clerk'], scopes: ['a', 'b'] },
    { role: 'clerk', roles: [], scopes: [] },
    { route: 'GET /a', policy: { alternatives: [['user']] } },
    { route: 'GET /a', policy: { alternatives: [['web']] } },
    { route: 'GET /b', policy: { rules: [{ when: 'isOwner' }] }, delegated: false },
    null
  ])
  setApplication(app => {
    app.get('/a', { constraints: { host: 'two.example' }, ...authConfig('web') }, () => '')
    app.get('/a', { constraints: { host: 'one.example' }, ...authConfig('user') }, () => '')
    app.get('/b', authConfig({ when: isOwner }), () => '')
  }, setting)
  t.match(await ran(factory, '--check', file), { code: 0, stdout: 'Nothing has changed.\n' })
})

t.test('compares each part of a policy by its strictness', async t => {
  const isOwner = () => true
  const isBoss = () => true
  const unnamed = () => (() => () => true)()
  const rate = (max: number, window: number) => ({ rateLimit: { max, window } })
  const table: [before: unknown, after: unknown, verdict: string][] = [
    ['user', { schemes: 'user', mode: 'optional' }, 'loosened'],
    [{ mode: 'optional' }, { mode: 'try' }, 'loosened'],
    [{ mode: 'try' }, { public: 'probe' }, 'loosened'],
    [{ public: 'probe' }, 'user', 'tightened'],
    ['user', ['user', 'web'], 'loosened'],
    [['user', 'web'], 'web', 'tightened'],
    [['user', 'web'], ['web', 'user'], 'unclear'],
    [['user', 'web', 'service'], ['service', 'web'], 'unclear'],
    [['user', 'web', 'service'], ['web', 'service'], 'tightened'],
    [{ schemes: { all: ['user', 'web'] } }, 'user', 'loosened'],
    ['user', { schemes: { all: ['user', 'web'] } }, 'tightened'],
    [{ schemes: { all: ['user', 'web'] } }, { schemes: { all: ['web', 'user'] } }, 'loosened'],
    ['user', 'web', 'loosened'],
    [{ scopes: 'a' }, 'user', 'loosened'],
    [{ scopes: { all: ['a', 'b'] } }, { scopes: 'a' }, 'loosened'],
    [{ scopes: 'a' }, { scopes: { all: ['a', 'b'] } }, 'tightened'],
    [{ scopes: { any: ['a', 'b'] } }, { scopes: { any: ['a', 'b', 'c'] } }, 'loosened'],
    [{ scopes: { any: ['a', 'b'] } }, { scopes: 'a' }, 'tightened'],
    [{ scopes: { all: ['a', 'b'] } }, { scopes: { any: ['a', 'b'] } }, 'loosened'],
    [{ roles: { none: ['x', 'y'] } }, { roles: { none: ['x'] } }, 'loosened'],
    [{ roles: { none: ['x'] } }, { roles: { none: ['x', 'y'] } }, 'tightened'],
    [{ roles: 'x' }, { scopes: 'x' }, 'loosened'],
    [{ roles: { none: ['x'] } }, { scopes: { none: ['x'] } }, 'loosened'],
    [{ when: isOwner }, 'user', 'loosened'],
    ['user', { when: isOwner }, 'tightened'],
    [{ when: isOwner }, { when: isBoss }, 'unclear'],
    [{ when: isOwner }, { scopes: isOwner }, 'loosened'],
    [{ when: isOwner, anyOf: [{ when: isBoss }] }, { when: isOwner }, 'loosened'],
    [{ anyOf: [{ when: isOwner }] }, { when: isOwner }, 'tightened'],
    [{ when: unnamed() }, { when: unnamed() }, 'none'],
    [{ when: unnamed(), anyOf: [{ when: unnamed() }] }, { when: unnamed() }, 'loosened'],
    [{ anyOf: [{ when: unnamed() }] }, { anyOf: [{ when: unnamed() }, { when: unnamed() }] }, 'unclear'],
    [{ anyOf: [{ when: unnamed() }, { when: unnamed() }] }, { anyOf: [{ when: unnamed() }] }, 'unclear'],
    [{ anyOf: [{ when: unnamed() }] }, { anyOf: [{ when: unnamed() }], maxAge: 60 }, 'tightened'],
    [{ when: unnamed() }, { when: unnamed(), anyOf: [{ when: unnamed() }] }, 'tightened'],
    [{ anyOf: [{ scopes: 'a' }] }, { anyOf: [{ scopes: 'a' }, { roles: 'x' }] }, 'loosened'],
    [{ anyOf: [{ scopes: 'a' }, { roles: 'x' }] }, { anyOf: [{ scopes: 'a' }] }, 'tightened'],
    [{ anyOf: [{ scopes: 'a', roles: 'x' }] }, { anyOf: [{ scopes: 'a' }] }, 'loosened'],
    [{ anyOf: [{ scopes: 'a', when: isOwner }] }, { anyOf: [{ scopes: 'a', when: isBoss }] }, 'unclear'],
    [
      { schemes: ['user', 'web'], anyOf: [{ schemes: 'user' }] },
      { schemes: ['user', 'web'], anyOf: [{ schemes: ['user', 'web'] }] },
      'loosened'
    ],
    [{ anyOf: [{ scopes: 'a' }, { roles: 'x' }] }, { scopes: 'a' }, 'tightened'],
    [
      { anyOf: [{ scopes: 'a', roles: 'x' }, { scopes: 'a', roles: 'y' }] },
      { scopes: 'a', anyOf: [{ roles: 'x' }, { roles: 'y' }] },
      'tightened'
    ],
    [{ anyOf: [{ scopes: 'a' }, { scopes: 'b' }] }, { anyOf: [{ scopes: 'b' }, { scopes: 'a' }] }, 'none'],
    [{ maxAge: 60 }, { maxAge: 90 }, 'loosened'],
    [{ maxAge: 60 }, 'user', 'loosened'],
    [{ maxAge: 60 }, { maxAge: 30 }, 'tightened'],
    [rate(5, 60), rate(6, 60), 'loosened'],
    [rate(5, 60), rate(5, 30), 'loosened'],
    [rate(5, 60), 'user', 'loosened'],
    [rate(5, 60), rate(4, 60), 'tightened'],
    ['user', rate(4, 60), 'tightened'],
    [rate(5, 60), { rateLimit: [{ max: 5, window: 60 }, { max: 50, window: 3600 }] }, 'tightened'],
    ['user', { inherit: false, schemes: 'user' }, 'loosened'],
    [{ inherit: false, schemes: 'user' }, 'user', 'tightened'],
    [{ scopes: 'a', maxAge: 60 }, { scopes: { all: ['a', 'b'] }, maxAge: 90 }, 'loosened']
  ]
  for (const [before, after, verdict] of table) {
    const { code, stdout } = await compare(
      [app => { route(app, [], '/x', before) }], [app => { route(app, [], '/x', after) }], '--json'
    )
    const { differences } = JSON.parse(stdout) as { differences: { verdict: string, file: string }[] }
    const title = `${JSON.stringify(before)} to ${JSON.stringify(after)}: ${stdout}`
    t.same([differences[0]?.verdict ?? 'none', differences.length <= 1], [verdict, true], title)
    t.equal(code, verdict === 'loosened' || verdict === 'unclear' ? 1 : 0, title)
  }
})

t.test('a removed rule is loosened, even if both have functions that cannot be told apart', async t => {
  const unnamed = () => (() => () => true)()
  const { code, stdout } = await compare([
    app => {
      app.register(async inner => {
        group(inner, { when: unnamed() })
        route(inner, [], '/x', { when: unnamed() })
      })
    }
  ], [app => { route(app, [], '/x', { when: unnamed() }) }])
  const [one, two] = ['when a function passes', 'when a function passes; when a function passes']
  t.match([code, stdout], [1, /^Loosened \(1\)\n {2}GET \/x .*\n/])
  t.match(stdout, `\n    rules: ${two} → ${one}\n`)
})

t.test('compares routes by their methods and constraints', async t => {
  const on = (app: FastifyInstance, host: unknown, auth: unknown) => {
    app.get('/x', { constraints: { host }, ...authConfig(auth) } as object, () => '')
  }
  const handler = () => ''
  const file = ' (in test/cli/audit.test.ts)'
  type Declare = (app: FastifyInstance) => unknown
  const table: [before: Declare, after: Declare, message: string][] = [
    [
      app => { on(app, 'one.example', false); on(app, /^two/, 'user') },
      app => { on(app, 'one.example', 'user'); on(app, /^two/, false) },
      `Loosened (1)\n  GET /x (host /^two/)${file}\n    access: required → public\n\n` +
      `Tightened (1)\n  GET /x (host one.example)${file}\n    access: public → required\n`
    ],
    [
      app => { on(app, 'one.example', 'user'); on(app, 'two.example', false) },
      app => { on(app, 'one.example', false) },
      `Loosened (1)\n  GET /x (host one.example)${file}\n    access: required → public\n\n` +
      'Notes (1)\n  GET /x (host two.example)\n    the route is gone\n'
    ],
    [
      app => {
        for (const method of ['POST', 'PUT']) app.route({ method, url: '/x', handler, ...authConfig({ roles: 'a' }) })
      },
      app => { app.route({ method: ['PUT', 'POST', 'PATCH'], url: '/x', handler, ...authConfig('user') }) },
      `Loosened (1)\n  POST, PUT /x${file}\n    rules: role a → none\n\n` +
      `Notes (1)\n  PATCH /x${file}\n    new: user, rules: none\n`
    ],
    [
      app => { app.route({ method: ['POST', 'PUT'], url: '/x', handler, ...authConfig('user') }) },
      app => { app.route({ method: ['PUT', 'POST'], url: '/x', handler, ...authConfig('user') }) },
      'Nothing has changed.\n'
    ]
  ]
  for (const [before, after, text] of table) t.equal((await compare([before], [after])).stdout, text)
})

t.test('a snapshot with two lines for a route, such as after a merge, hides nothing', async t => {
  const file = join(folder, 'merged')
  setApplication(app => { route(app, [], '/x', { roles: 'a' }) })
  await ran(factory, '--check', file, '--update')
  const lines = readFileSync(file, 'utf8')
  setApplication(app => { route(app, [], '/x') })
  await ran(factory, '--check', file, '--update')
  const [route1 = ''] = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-1)
  writeFileSync(file, `${lines}${route1}\n`)
  t.match(await ran(factory, '--check', file), { code: 1, stdout: /^Loosened \(1\)\n.*\n {4}rules: role a → none\n/ })
})

t.test('a role that includes less is loosened where a rule excludes what it included', async t => {
  const rule = { anyOf: [{ schemes: 'user', roles: { none: ['clerk'] } }, { scopes: { none: ['write'] } }] }
  const declare = (app: FastifyInstance) => {
    route(app, [], '/x', rule)
    route(app, [], '/y', { roles: 'clerk', scopes: () => 'write' })
  }
  const { code, stdout } = await compare(
    [declare, { options: { roles: { clerk: {}, admin: { roles: ['clerk'] }, boss: { scopes: ['write', 'read'] } } } }],
    [declare, { options: { roles: { clerk: {}, admin: {}, boss: { scopes: ['read'] } } } }]
  )
  t.match([code, stdout], [1, [
    'Loosened (2)',
    '  role admin',
    '    no longer includes: role clerk',
    '    is no longer excluded by that from: GET /x',
    '  role boss',
    '    no longer includes: scope write',
    '    is no longer excluded by that from: GET /x'
  ].join('\n')])
})

t.test('compares plans', async t => {
  const planOf = () => 'free'
  const byRole = () => 'free'
  const free = { max: 5, window: 60 }
  const pro = { max: 9, window: 60 }
  const table: [limits: [auth: unknown, plans: object], [auth: unknown, plans: object], verdict: string][] = [
    [[planOf, { free, pro }], [planOf, { free, pro: { max: 10, window: 60 } }], 'loosened'],
    [[planOf, { free, pro }], [planOf, { free, pro: { max: 8, window: 60 } }], 'tightened'],
    [[planOf, { free, pro }], [byRole, { free, pro }], 'unclear'],
    [[planOf, { free }], [planOf, { free, pro }], 'unclear'],
    [[planOf, { free, pro }], [planOf, { free }], 'unclear'],
    [['free', { free, pro }], ['pro', { free, pro }], 'loosened'],
    [['free', { free, pro }], [planOf, { free, pro }], 'loosened'],
    [[planOf, { free, pro }], ['free', { free, pro }], 'tightened'],
    [['free', { free, pro }], [{ ...free }, { free, pro }], 'none'],
    [[planOf, { free }], [() => 'free', { free }], 'unclear']
  ]
  for (const [[before, old], [after, plans], verdict] of table) {
    const { stdout } = await compare(
      [app => { route(app, [], '/x', { rateLimit: before }) }, { options: { limits: { plans: old } } }],
      [app => { route(app, [], '/x', { rateLimit: after }) }, { options: { limits: { plans } } }],
      '--json'
    )
    const { differences } = JSON.parse(stdout) as { differences: { verdict: string }[] }
    t.equal(differences[0]?.verdict ?? 'none', verdict, stdout)
  }
})

t.test('compares whether delegated tokens are accepted, and what a function decides about issuers', async t => {
  const user = headerScheme('user', { delegated: false })
  const setting = (more: object) => ({ options: { schemes: { user, ...more }, default: 'user' } })
  const functional = { token: jwt({ issuers: () => null }) }
  const fixed = { token: jwt({ keys: secretOf(), issuer: 'a', audience: 'b' }) }
  const [plain, scoped] = [{ schemes: 'user' }, { schemes: 'user', scopes: 'a' }]
  const there = await compare(
    [app => { route(app, [], '/x', plain) }, setting(functional)],
    [app => { route(app, [], '/x', scoped) }, setting(fixed)]
  )
  t.match(there, { code: 1, stdout: /^Loosened \(1\)\n {2}GET \/x .*\n.*\n {4}delegated tokens: accepted now/ })
  t.match(there.stdout, '"issuers":"by a function"} → {"from":["bearer"],"issuers":[{"issuer":"a"')
  const back = await compare(
    [app => { route(app, [], '/x', scoped) }, setting(fixed)], [app => { route(app, [], '/x', plain) }, setting(fixed)]
  )
  t.match(back.stdout, 'delegated tokens: no longer accepted')
})

t.test('looks at the claims and the type that tokens must have', async t => {
  const setting = (more: object): Setting => {
    const one = jwt({ keys: secretOf(), issuer: 'a', audience: 'b', ...more })
    return { options: { schemes: { one, many: jwt({ issuers: () => null, typ: 'at+jwt' }) }, default: 'one' } }
  }
  const declare = (app: FastifyInstance): void => { route(app, [], '/x') }
  const before = setting({ claims: { token_use: 'access' }, typ: 'at+jwt' })
  for (const [more, accepts] of [
    [{ claims: { token_use: 'access' } }, /accepts: \{"from":\["bearer"\],"typ":"at\+jwt","issuers":.* → .*"issuers"/],
    [{ typ: 'at+jwt' }, /"claims":\{"token_use":\["access"\]\}\}\]\} → /]
  ] as const) {
    t.match(await compare([declare, before], [declare, setting(more)]), { code: 1, stdout: accepts })
  }
})

t.test('reports new and removed routes, roles and schemes, loosened first, with the file', async t => {
  const token = (audience: string) => jwt({ keys: secretOf(), issuer: 'https://id.example.com', audience })
  const schemes = { ...threeSchemes(), token: token('one'), keys: apiKey({ keys: { [secretOf()]: { id: 'a' } } }) }
  const setting = (more: object, roles: object) =>
    ({ options: { schemes: { ...schemes, ...more }, default: 'user', roles } })
  const { code, stdout } = await compare([
    app => {
      const rules = { scopes: { any: ['a', 'b'], none: ['c'] }, anyOf: [{ schemes: 'user', roles: 'clerk' }] }
      route(app, [], '/kept', rules)
      route(app, [], '/gone')
      route(app, [], '/unnamed', { when: (() => () => true)(), scopes: () => 'x' })
    },
    setting({}, { clerk: { scopes: ['x'] }, admin: {} })
  ], [
    app => {
      route(app, [], '/kept', { scopes: { any: ['a', 'b', 'z'] }, rateLimit: { max: 1, window: 60 } })
      route(app, [], '/new', { scopes: 'a' })
      route(app, [], '/open', { public: 'probe' })
      route(app, [], '/unnamed', { when: (() => () => true)(), scopes: () => 'x' })
    },
    setting({ token: token('two'), more: headerScheme('more') }, { clerk: {}, admin: { roles: ['clerk'] } })
  ])
  t.equal(code, 1)
  const file = ' (in test/fixtures/policies.ts)'
  t.equal(stdout, [
    'Loosened (3)',
    '  role admin',
    '    includes now: role clerk',
    `  GET /kept${file}`,
    '    rules: scope a or b; not scope c; (user, role clerk) → scope a or b or z',
    '    rateLimit: none → at most 1 request in 60 s',
    `  GET /open${file}`,
    '    new: public',
    '',
    'To be looked at (2)',
    '  scheme more',
    '    accepts: none → {"from":["header:x-more"]}',
    '  scheme token',
    '    accepts: {"from":["bearer"],"issuers":[{"issuer":"https://id.example.com","audience":["one"],' +
    '"algorithms":null}]}' +
    ' → {"from":["bearer"],"issuers":[{"issuer":"https://id.example.com","audience":["two"],"algorithms":null}]}',
    '',
    'Tightened (1)',
    '  role clerk',
    '    no longer includes: scope x',
    '',
    'Notes (2)',
    '  GET /gone',
    '    the route is gone',
    `  GET /new${file}`,
    '    new: user, rules: scope a',
    '',
    'Functions without a name of their own cannot be compared, on 1 route: GET /unnamed',
    ''
  ].join('\n'))
  const { stdout: several } = await compare(
    [app => { for (const url of ['/a', '/b']) route(app, [], url, { when: (() => () => true)() }) }],
    [app => { for (const url of ['/a', '/b']) route(app, [], url, { when: (() => () => true)(), roles: () => 'x' }) }]
  )
  t.match(several, '    rules: when a function passes → roles that a function names; when a function passes')
  t.match(several, 'cannot be compared, on 2 routes: GET /a, GET /b')
  const { stdout: markdown } = await compare(
    [app => { route(app, [], '/a', { scopes: 'a' }) }], [app => { route(app, [], '/a') }], '--markdown'
  )
  t.equal(markdown, `### Loosened (1)\n\n- \`GET /a\`${file}\n  - rules: scope a → none\n`)
})

t.test('app.ready logs the table at the level debug, but not in production', async t => {
  for (const [level, environment, expected] of [
    ['debug', 'test', 1], ['trace', 'test', 1], ['info', 'test', 0], ['debug', 'production', 0]
  ] as const) {
    const lines: string[] = []
    const { NODE_ENV: before } = process.env
    process.env.NODE_ENV = environment
    const app = await build(app => { route(app, [], '/x') }, {
      options: { doctor: { ignore: { 'test-kit': 'the process may run tests of the kit as well' } } },
      fastify: { logger: { level, stream: { write: (line: string) => { lines.push(line) } } } }
    })
    await app.ready()
    await app.close()
    if (before === undefined) delete process.env.NODE_ENV
    else process.env.NODE_ENV = before
    const tables = lines.filter(line => line.includes('the routes of this application\\nroute  '))
    t.equal(tables.length, expected, `${level} in ${environment}`)
    t.ok(tables.every(line => line.includes('GET /x')))
  }
})
