import vm from 'node:vm'
import Fastify from 'fastify'
import t from 'tap'
import plugin, { type Scheme } from '../../lib/index.js'
import { callSite } from '../../lib/routes/call-site.js'
import { deepFreeze } from '../../lib/util/objects.js'
import {
  as, headerScheme, boot, bootError, route, authConfig, assertBootFails, threeSchemes
} from '../fixtures/policies.js'

const secret = 'hunter2-hunter2-hunter2'

t.test('The options of the plugin', async t => {
  t.test('stop the boot if unknown, undefined or of a wrong type, and say where and how to fix it', async t => {
    const table: [Record<string, unknown>, ...string[]][] = [
      [{ scheme: {} }, "unknown key 'scheme'", "Did you mean 'schemes'?"],
      [{ publicPath: [] }, "unknown key 'publicPath'", "Did you mean 'publicPaths'?"],
      [{ defaults: 'user' }, "unknown key 'defaults'", "Did you mean 'default'?"],
      [{ stores: {} }, "unknown key 'stores'", "Did you mean 'store'?"],
      [{ limit: {} }, "unknown key 'limit'", "Did you mean 'limits'?"],
      [{ strategies: 1 }, "unknown key 'strategies'", 'Known: schemes, default'],
      [{ load: undefined }, "'load' set to undefined", 'leave the key out'],
      [{ stage: undefined }, "'stage' set to undefined"],
      [{ publicPaths: undefined }, "'publicPaths' set to undefined"],
      [{ load: 'db' }, 'load must be a function'],
      [{ load: null }, 'load must be a function'],
      [{ stage: 'onRequest' }, "stage must be 'preParsing' or 'preHandler'", "'onRequest'"],
      [{ stage: null }, "stage must be 'preParsing' or 'preHandler'"],
      [{ errors: 'json' }, "errors must be 'fastify', 'problem' or 'oauth', or a function"],
      [{ errors: null }, "errors must be 'fastify'"],
      [{ origins: 'https://app.example.com' }, 'origins must be a list'],
      [{ origins: null }, 'origins must be a list'],
      [{ outside: true }, "outside can only be 'allow'", 'leave it out'],
      [{ outside: null }, "outside can only be 'allow'"]
    ]
    for (const [options, ...messages] of table) await assertBootFails(t, () => {}, messages, { options })
    for (const errors of ['fastify', 'problem', 'oauth', () => ({})]) await boot(t, () => {}, { options: { errors } })
  })

  t.test('accept only origins in browser form: scheme, host and port', async t => {
    for (const origin of [
      'app.example.com',
      'https://app.example.com/',
      'https://APP.example.com',
      'https://app.example.com:443',
      'https://app.example.com/x',
      'null',
      '*',
      '',
      undefined,
      1,
      'data:text/plain,x'
    ]) {
      await assertBootFails(t, () => {}, ['The option origins has', 'scheme, host and port without a path'], {
        options: { origins: [origin] }
      })
    }
    await boot(t, () => {}, { options: { origins: ['https://app.example.com', 'http://localhost:8080'] } })
  })

  t.test('require at least one scheme, built by a factory or custom', async t => {
    const table: [Record<string, unknown>, ...string[]][] = [
      [{ schemes: {} }, 'at least one scheme'],
      [{ schemes: [headerScheme('user')] }, 'at least one scheme'],
      [{ schemes: null }, 'at least one scheme'],
      [{ schemes: undefined }, "'schemes' set to undefined"],
      [{ schemes: { user: undefined } }, 'schemes.user', 'Got undefined'],
      [{ schemes: { user: secret } }, 'schemes.user', 'Got a text of'],
      [{ schemes: { user: { authenticate: 1, openapi: {} } } }, 'schemes.user'],
      [{ schemes: { user: { authenticate: () => null } } }, 'schemes.user'],
      [{ schemes: { 'us er': headerScheme('user') } }, "The name of a scheme cannot be 'us er'", 'letters, digits'],
      [{ schemes: { 7: headerScheme('user') } }, "The name of a scheme cannot be '7'"],
      [{ schemes: { user: () => undefined } }, 'schemes.user is a function that returned no scheme'],
      [{ schemes: { user: () => deepFreeze } }, 'schemes.user is a function that returned another one. Call it'],
      [
        { schemes: { user: async () => ({ authenticate: () => null }) } },
        'schemes.user is a function whose scheme has no openapi'
      ]
    ]
    for (const [options, ...messages] of table) await assertBootFails(t, () => {}, messages, { options })
  })

  t.test('may not be left out', async t => {
    const app = Fastify()
    await t.rejects(
      async () => {
        await app.register(plugin as never)
      },
      { code: 'AUTH_MISCONFIGURED', message: /schemes must name at least one scheme/ }
    )
    await app.close()
  })

  t.test(
    'accept schemes as objects, and as functions that are called once per application with their name',
    async t => {
      const made: unknown[] = []
      const factory = (async (app: object, name: string) => {
        made.push([Object.hasOwn(app, 'server') || 'server' in app, name])
        return headerScheme(name)
      }) as unknown as Scheme
      const schemes = { plain: headerScheme('plain'), made: factory }
      for (const round of [1, 2]) {
        const { ask } = await boot(t, app => route(app, [], '/x'), {
          options: { schemes, default: ['plain', 'made'] }
        })
        t.equal((await ask('/x', as({}, 'plain'))).status, 200)
        t.equal((await ask('/x', as({}, 'made'))).status, 200)
        t.strictSame(
          made,
          Array.from({ length: round }, () => [true, 'made'])
        )
      }
    }
  )

  t.test('never show a value that could be a secret', async t => {
    for (const options of [
      { load: secret },
      { schemes: { user: { password: secret } } },
      { outside: secret },
      { scopes: secret },
      { roles: secret },
      { publicPaths: secret },
      { default: { schemes: 'user', when: secret } }
    ]) {
      const error = (await bootError(() => {}, { options })) as Error
      t.match(error, { code: 'AUTH_MISCONFIGURED' })
      t.notMatch(error.message, /hunter2/)
    }
  })

  t.test('are not mutated', async t => {
    const options = {
      schemes: Object.freeze(threeSchemes()),
      ...deepFreeze({
        default: ['user', 'web'],
        publicPaths: ['/p'],
        scopes: { a: 'A' },
        roles: { r: { scopes: ['a'] } },
        origins: ['https://app.example.com']
      })
    }
    const { ask } = await boot(t, app => route(app, [], '/x'), { options: Object.freeze(options) })
    t.equal((await ask('/x', as())).status, 200)
  })
})

t.test('describes any wrong value briefly, without failing and without showing a secret', async t => {
  const cyclic: Record<string, unknown> = { toJSON () { throw new Error('own') }, toString: null }
  cyclic['self'] = cyclic
  for (const value of [7n, cyclic, Symbol('a')]) {
    await assertBootFails(t, () => {}, ["stage must be 'preParsing' or 'preHandler'"], { options: { stage: value } })
    await assertBootFails(t, () => {}, ['The option origins has'], { options: { origins: [value] } })
    await assertBootFails(t, () => {}, ['The option limits.guesses.window must be a number of seconds'], {
      options: { limits: { guesses: { window: value } } }
    })
  }
  await assertBootFails(t, () => {}, ["such as 'https://app.example.com:8443'"], {
    options: { origins: ['https://app.example.com:8443/path'] }
  })
  await assertBootFails(t, () => {}, ['an unknown key a text of 23 characters'], { options: { [secret]: 1 } })
})

t.test('the file and line of a boot error', async t => {
  /** Calls callSite from a file of this name. */
  const at = (filename: string) => vm.runInThisContext('(call) => call()', { filename })(callSite) as string

  t.test("are the application's first on the stack", t => {
    t.match(callSite(), /^ \(in \/.*test\/plugin\/options\.test\.ts:\d+\)$/)
    t.equal(at('/srv/app/server.js'), ' (in /srv/app/server.js:1)')
    t.equal(at('file:///srv/app/server.js'), ' (in /srv/app/server.js:1)')
    t.end()
  })

  t.test('are complete for paths with spaces and brackets', t => {
    t.equal(at('/srv/my app (new)/server.js'), ' (in /srv/my app (new)/server.js:1)')
    t.equal(at('file:///srv/my%20app/server.js'), ' (in /srv/my app/server.js:1)')
    t.end()
  })

  t.test('are those of Windows, on a drive and on a server', t => {
    t.equal(at('C:\\app\\server.js'), ' (in C:\\app\\server.js:1)')
    t.equal(at('\\\\server\\app\\server.js'), ' (in \\\\server\\app\\server.js:1)')
    t.end()
  })

  t.test('are never in a dependency, in this plugin or in Node', t => {
    for (const filename of [
      '/srv/app/node_modules/fastify/lib/route.js',
      'file:///srv/app/node_modules/fastify/fastify.js',
      'C:\\app\\node_modules\\fastify\\lib\\route.js',
      '\\\\server\\app\\node_modules\\fastify\\lib\\route.js',
      'node:internal/x',
      'evalmachine.<anonymous>'
    ]) {
      t.match(at(filename), /options\.test\.ts/)
    }
    t.end()
  })

  t.test('are left out if unknown', t => {
    const { prepareStackTrace, stackTraceLimit } = Error
    t.teardown(() => { Error.prepareStackTrace = prepareStackTrace })
    for (const stack of ['', undefined, 'Error\n    at native\n    at /app.js', ['no', 'text']]) {
      Error.prepareStackTrace = () => stack
      t.equal(callSite(), '')
    }
    Error.prepareStackTrace = prepareStackTrace
    t.equal(Error.stackTraceLimit, stackTraceLimit, 'the limit is as it was')
    t.end()
  })

  t.test('are part of every error about a route', async t => {
    const here = [/ \(in \/.*test\/plugin\/options\.test\.ts:\d+\)$/]
    await assertBootFails(
      t,
      app => {
        app.get('/a', authConfig({}), () => '')
      },
      ['GET /a', ...here]
    )
    await assertBootFails(
      t,
      app => {
        app.get('/b', authConfig('nobody'), () => '')
      },
      ['GET /b', ...here]
    )
    await assertBootFails(
      t,
      app => {
        app.get('/c', { auth: true } as object, () => '')
      },
      ['GET /c', ...here]
    )
    await assertBootFails(
      t,
      app => {
        app.get('/d', authConfig(true), () => '')
      },
      ['GET /d', ...here],
      { options: { publicPaths: ['/d'] } }
    )
    await assertBootFails(
      t,
      app =>
        app.register(
          async child => {
            child.get('/e', authConfig({ mode: 'try', roles: 'a' }), () => '')
          },
          { prefix: '/in' }
        ),
      ['GET /in/e', ...here]
    )
    await assertBootFails(
      t,
      app => {
        app.get('/f', () => '')
      },
      ['GET /f', ...here],
      { options: { default: { schemes: 'user', mode: 'optional', roles: 'a' } } }
    )
  })
})
