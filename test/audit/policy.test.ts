import vm from 'node:vm'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { boot, group, route, authConfig, assertBootFails } from '../fixtures/policies.js'
import { bundle, spawnNode } from '../fixtures/programs.js'
import { root } from '../fixtures/root.js'

/** Returns the policies of an application by their patterns. */
function policies (app: FastifyInstance) {
  return Object.fromEntries(app.gatehouse.audit().map(row => [row.url, row.policy]))
}

const none = { scopes: null, roles: null, when: null, anyOf: null }
const bare = { access: 'required', alternatives: [['user']], rules: [], maxAge: null, rateLimit: null, detached: false }

t.test('The policy of an audit row', async t => {
  t.test('contains everything that decides who has access', async t => {
    function isOwner () { return true }
    function regions () { return 'a' }
    const { app } = await boot(t, app => {
      route(app, [], '/default')
      route(app, [], '/open', false)
      route(app, [], '/all', { schemes: ['user', { all: ['web', 'service'] }] })
      route(app, [], '/rules', {
        scopes: { all: ['a', 'b'], any: ['c', 'd'], none: ['e'] },
        roles: 'clerk',
        maxAge: '5m'
      })
      route(app, [], '/limited', { mode: 'try', rateLimit: { max: 5, window: '1m' } })
      route(app, [], '/functions', { scopes: regions, roles: () => 'b', when: isOwner })
      route(app, [], '/any', { anyOf: [{ scopes: 'a', when: () => true }, { schemes: 'user', roles: { any: ['x'] } }] })
      app.register(async admin => {
        group(admin, { schemes: 'web', roles: 'admin' })
        route(admin, [], '/both', { scopes: 'deep' })
        route(admin, [], '/detached', { inherit: false, schemes: 'service' })
      }, { prefix: '/admin' })
    })
    const names = (all: string[], any: string[] = [], none: string[] = []) => ({ all, any, none })
    t.strictSame(policies(app), {
      '/default': bare,
      '/open': { ...bare, access: 'public', alternatives: [] },
      '/all': { ...bare, alternatives: [['user'], ['web', 'service']] },
      '/rules': {
        ...bare,
        rules: [{ ...none, scopes: names(['a', 'b'], ['c', 'd'], ['e']), roles: names(['clerk']) }],
        maxAge: 300
      },
      '/limited': { ...bare, access: 'try', rateLimit: { plan: null, windows: [{ max: 5, window: 60 }] } },
      '/functions': {
        ...bare,
        rules: [{ ...none, scopes: { function: 'regions' }, roles: { function: '' }, when: 'isOwner' }]
      },
      '/any': {
        ...bare,
        rules: [
          {
            ...none,
            anyOf: [
              { schemes: null, scopes: names(['a']), roles: null, when: '' },
              { schemes: ['user'], scopes: null, roles: names([], ['x']), when: null }
            ]
          }
        ]
      },
      '/admin/both': {
        ...bare,
        alternatives: [['web']],
        rules: [
          { ...none, roles: names(['admin']) },
          { ...none, scopes: names(['deep']) }
        ]
      },
      '/admin/detached': { ...bare, alternatives: [['service']], detached: true }
    })
  })

  t.test('is frozen JSON, shared by routes with the same policy', async t => {
    const { app } = await boot(t, app => {
      route(app, [], '/a', { scopes: { any: ['x', 'y'] }, rateLimit: { max: 1, window: 1 } })
      route(app, [], '/b', { scopes: { any: ['x', 'y'] }, rateLimit: { max: 1, window: 1 } })
    })
    const [a, b] = app.gatehouse.audit()
    t.strictSame(JSON.parse(JSON.stringify(a?.policy)), a?.policy)
    t.equal(a?.policy, b?.policy)
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
    t.ok(frozen(a))
  })

  t.test('has the same bytes on every boot, under tsx and compiled', async t => {
    const entry = 'test/audit/program.ts'
    const [first, compiled, again] = await Promise.all([
      output(['--import=tsx', entry]),
      output([bundle(entry)]),
      output([bundle(entry)])
    ])
    t.ok(first.length > 500, first)
    t.equal(first, compiled)
    t.equal(compiled, again)
  })
})

async function output (args: readonly string[]): Promise<string> {
  const child = spawnNode(args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const chunk of child.stdout ?? []) text += String(chunk)
  return text
}

t.test('The file of an audit row', async t => {
  /** Declares a route from a file of any name, without a file of this test on the stack. */
  const declare = (app: FastifyInstance, url: string, filename: string) => {
    const run = vm.runInThisContext("(app, url, done) => { app.get(url, async () => ''); done() }", { filename }) as
      (app: FastifyInstance, url: string, done: () => void) => void
    return new Promise<void>(resolve => { setImmediate(run, app, url, resolve) })
  }
  const fileFrom = async (filename: string) => {
    const { app } = await boot(t, app => declare(app, '/x', filename))
    return app.gatehouse.audit()[0]?.file
  }

  t.test('is the file that declared the route, relative to its package', async t => {
    const { app } = await boot(t, app => {
      app.get('/here', async () => '')
      route(app, [], '/there')
    })
    t.same(app.gatehouse.audit().map(row => row.file), ['test/audit/policy.test.ts', 'test/fixtures/policies.ts'])
    t.equal(await fileFrom(`${root}/routes/orders.js`), 'routes/orders.js')
  })

  t.test('is the bare file name outside any package', async t => {
    t.equal(await fileFrom('/nowhere/app.js'), 'app.js')
    t.equal(await fileFrom('file:///nowhere/my%20app.js'), 'my app.js')
  })

  t.test(
    "is prefixed with the library's name for routes that a library declares, wherever it is installed",
    async t => {
      t.equal(await fileFrom('/srv/app/node_modules/@acme/board/lib/routes.js'), '@acme/board/lib/routes.js')
      t.equal(await fileFrom('/srv/app/node_modules/.pnpm/board@1.0.0/node_modules/board/index.js'), 'board/index.js')
    }
  )

  t.test('is null for a route that no file declared', async t => {
    for (const filename of ['evalmachine.<anonymous>', 'node:internal/x']) {
      t.equal(await fileFrom(filename), null, filename)
    }
    for (const name of ['file://host/of/another.js', 'file:///%E0%A4%A', null]) {
      const restore = onStack(name)
      t.teardown(restore)
      const { app } = await boot(t, app => { app.get('/x', async () => '') })
      restore()
      t.equal(app.gatehouse.audit()[0]?.file, null, String(name))
    }
  })

  t.test('leaves the formatting of stack traces unchanged', async t => {
    const { prepareStackTrace, stackTraceLimit } = Error
    await boot(t, app => { route(app, [], '/a') })
    t.equal(Error.prepareStackTrace, prepareStackTrace)
    t.equal(Error.stackTraceLimit, stackTraceLimit)
  })
})

/**
 * Makes every stack have one frame of a file with this name. A real script would have frames of the coverage as well.
 */
function onStack (name: string | null): () => void {
  const before = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace') ?? {
    value: undefined,
    writable: true,
    configurable: true
  }
  let prepare: typeof Error.prepareStackTrace
  const site = { getFileName: () => name } as NodeJS.CallSite
  Object.defineProperty(Error, 'prepareStackTrace', {
    configurable: true,
    get: () => prepare === undefined ? undefined : (error: Error) => prepare?.(error, [site]) as unknown,
    set: (value: typeof prepare) => { prepare = value }
  })
  return () => { Object.defineProperty(Error, 'prepareStackTrace', before) }
}

t.test('The option requireReason', async t => {
  const options = {
    requireReason: true,
    publicPaths: ['/docs/*', { path: '/health', reason: 'load balancer' }, '/nowhere']
  }
  const declare = (app: FastifyInstance) => {
    route(app, [], '/docs/page')
    route(app, [], '/health')
    app.post('/bare', authConfig(false), async () => '')
    route(app, [], '/why', { public: 'the probe' })
    route(app, [], '/protected')
  }

  t.test('stops the boot and lists every public route and path without a reason', async t => {
    const messages = [
      'The option requireReason is true, but these public routes or paths have no reason:\n' +
      "- publicPaths[0]: write { path: '/docs/*', reason: '…' }\n" +
      "- publicPaths[2]: write { path: '/nowhere', reason: '…' }\n" +
      "- POST /bare (in test/audit/policy.test.ts): write auth: { public: '…' } in place of false"
    ]
    await assertBootFails(t, declare, messages, { options })
  })

  t.test('leaves out the file if it is unknown', async t => {
    const run = vm.runInThisContext("(app, options, done) => { app.get('/x', options, async () => ''); done() }", {
      filename: 'evaluated'
    }) as (app: FastifyInstance, options: object, done: () => void) => void
    const anonymous = (app: FastifyInstance) =>
      new Promise<void>(resolve => {
        setImmediate(run, app, authConfig(false), resolve)
      })
    await assertBootFails(t, anonymous, ['- GET /x: write'], { options: { requireReason: true } })
  })

  t.test('accepts routes with a reason, and is off unless it is true', async t => {
    await boot(t, app => { route(app, [], '/why', { public: 'the probe' }) }, { options: { requireReason: true } })
    await boot(t, declare, { options: { ...options, requireReason: false } })
    for (const value of ['yes', 1, null]) {
      await assertBootFails(t, declare, ['requireReason must be true or false'], { options: { requireReason: value } })
    }
  })
})
