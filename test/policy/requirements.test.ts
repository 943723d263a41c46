import fc from 'fast-check'
import t from 'tap'
import { AuthError, type Principal } from '../../lib/index.js'
import { hasPermission, parsePermissions } from '../../lib/policy/requirements.js'
import type { LoadContext } from '../../types/scheme.js'
import {
  as, headerScheme, boot, group, route, authConfig, assertBootFails, threeSchemes
} from '../fixtures/policies.js'
import { exactly } from '../fixtures/exactly.js'

t.test('The list of scopes', async t => {
  t.test('stops the boot for a scope that is not listed, wherever it is used', async t => {
    const options = { scopes: { 'orders:read': 'Read orders', 'orders:write': 'Write orders' } }
    for (const auth of [
      { scopes: 'orders:raed' },
      { scopes: { any: ['orders:read', 'orders:raed'] } },
      { scopes: { none: ['orders:raed'] } },
      { anyOf: [{ scopes: 'orders:raed' }] }
    ]) {
      await assertBootFails(
        t,
        app => route(app, [], '/x', auth),
        ['GET /x', "'orders:raed'", "Did you mean 'orders:read'?", 'Declared: orders:read and orders:write.'],
        { options }
      )
    }
    await assertBootFails(
      t,
      app => group(app, { scopes: 'nothing' }),
      ['app.gatehouse.default()', "'nothing'", 'declared scopes'],
      { options }
    )
    await assertBootFails(t, () => {}, ['The option default', "'nothing'"], {
      options: { ...options, default: { schemes: 'user', scopes: 'nothing' } }
    })
    await assertBootFails(t, () => {}, ["The option roles['admin'].scopes", "'nothing'"], {
      options: { ...options, roles: { admin: { scopes: ['nothing'] } } }
    })
    await assertBootFails(
      t, app => route(app, [], '/x', { scopes: 'a' }), ['GET /x', "'a'"], { options: { scopes: {} } }
    )
  })

  t.test('allows every name if left out, and does not restrict roles', async t => {
    const { ask } = await boot(t, app => {
      route(app, [], '/scope', { scopes: 'whatever' })
      route(app, [], '/role', { roles: 'whatever' })
    }, { options: { roles: { whatever: {} } } })
    t.equal((await ask('/scope', as({ scopes: ['whatever'] }))).status, 200)
    t.equal((await ask('/role', as({ roles: ['whatever'] }))).status, 200)
  })

  t.test('stops the boot unless it maps names to descriptions', async t => {
    const table: [unknown, ...string[]][] = [
      [['a'], 'scopes must be an object'],
      ['a', 'scopes must be an object'],
      [null, 'scopes must be an object'],
      [{ a: true }, "scopes['a'] must be a string", 'Got true'],
      [{ a: undefined }, "scopes['a']", 'Got undefined']
    ]
    for (const [scopes, ...messages] of table) await assertBootFails(t, () => {}, messages, { options: { scopes } })
  })
})

t.test('The list of roles', async t => {
  t.test('stops the boot for a role that is not listed, wherever it is used', async t => {
    const options = { roles: { admin: { roles: ['clerk'] }, clerk: {} } }
    for (const auth of [
      { roles: 'amdin' },
      { roles: { all: ['clerk', 'amdin'] } },
      { anyOf: [{ roles: 'amdin' }] }
    ]) {
      await assertBootFails(
        t,
        app => route(app, [], '/x', auth),
        ['GET /x', "'amdin'", "Did you mean 'admin'?", 'Declared: admin and clerk.'],
        { options }
      )
    }
    await assertBootFails(t, () => {}, ["The option roles['admin'].roles", "'clrk'"], {
      options: { roles: { admin: { roles: ['clrk'] } } }
    })
  })

  t.test('expands the included roles and scopes once, transitively and in one direction', async t => {
    const roles = {
      owner: { roles: ['admin'], scopes: ['orders.delete'] },
      admin: { roles: ['clerk', 'auditor'], scopes: ['orders.write'] },
      clerk: { scopes: ['orders.read'] },
      auditor: { scopes: ['log.read'] },
      guest: {}
    }
    const scopes = ['orders.delete', 'orders.write', 'orders.read', 'log.read']
    const { ask } = await boot(t, app => {
      for (const role of Object.keys(roles)) route(app, [], `/role/${role}`, { roles: role })
      for (const scope of scopes) route(app, [], `/scope/${scope}`, { scopes: scope })
      route(app, [], '/not-clerk', { roles: { none: ['clerk'] } })
      route(app, [], '/no-reader', { scopes: { none: ['orders.read'] } })
      route(app, [], '/neither', { roles: { none: ['clerk', 'guest'] } })
      route(app, [], '/function', { roles: () => 'clerk' })
    }, { options: { roles } })
    const reach = async (principal: object, kind: string, names: string[]) => {
      const reached: string[] = []
      for (const name of names) if ((await ask(`/${kind}/${name}`, as(principal))).status === 200) reached.push(name)
      return reached
    }
    const reachable: Record<string, [string[], string[]]> = {
      owner: [['owner', 'admin', 'clerk', 'auditor'], ['orders.delete', 'orders.write', 'orders.read', 'log.read']],
      admin: [['admin', 'clerk', 'auditor'], ['orders.write', 'orders.read', 'log.read']],
      clerk: [['clerk'], ['orders.read']],
      auditor: [['auditor'], ['log.read']],
      guest: [['guest'], []],
      unheard: [[], []]
    }
    for (const [role, [expectedRoles, expectedScopes]] of Object.entries(reachable)) {
      t.strictSame(await reach({ roles: [role] }, 'role', Object.keys(roles)), expectedRoles, role)
      t.strictSame(await reach({ roles: [role] }, 'scope', scopes), expectedScopes, role)
    }
    t.equal(
      (await ask('/scope/orders.read', as({ scopes: ['clerk'] }))).status,
      403,
      'a scope with the name of a role is not a role'
    )
    t.equal((await ask('/not-clerk', as({ roles: ['owner'] }))).status, 403, 'a none rule sees the included roles')
    t.equal((await ask('/no-reader', as({ roles: ['admin'] }))).status, 403)
    for (const [role, status] of [['clerk', 403], ['guest', 403], ['owner', 403], ['auditor', 200]] as const) {
      t.equal((await ask('/neither', as({ roles: [role] }))).status, status, `none of two: ${role}`)
    }
    t.equal((await ask('/function', as({ roles: ['owner'] }))).status, 200)
  })

  t.test('applies to request.auth.allows', async t => {
    const { ask } = await boot(
      t,
      app => {
        app.get(
          '/x',
          authConfig(true),
          async request =>
            request.auth.allows({ roles: 'clerk' } as never) &&
            request.auth.allows({ scopes: 'orders:read' } as never)
        )
      },
      { options: { roles: { admin: { roles: ['clerk'] }, clerk: { scopes: ['orders:read'] } } } }
    )
    t.equal((await ask('/x', as({ roles: ['admin'] }))).body, 'true')
    t.equal((await ask('/x', as({ roles: ['guest'] }))).body, 'false')
  })

  t.test('stops the boot for cycles and for unknown inclusions', async t => {
    const table: [unknown, ...string[]][] = [
      [{ a: { roles: ['a'] } }, "roles['a'] includes itself", 'Remove the cycle'],
      [{ a: { roles: ['b'] }, b: { roles: ['c'] }, c: { roles: ['b'] } }, "roles['b'] includes itself"],
      [{ a: 'b' }, "roles['a'] must be an object"],
      [{ a: undefined }, "roles['a'] must be an object"],
      [{ a: ['b'] }, "roles['a'] must be an object"],
      [{ a: { role: ['b'] } }, "unknown key 'role'", "Did you mean 'roles'?"],
      [{ a: { roles: 'b' } }, "roles['a'].roles must be a list"],
      [{ a: { scopes: [1] } }, "roles['a'].scopes must be a list of names"],
      [{ a: { scopes: undefined } }, "'scopes' set to undefined"],
      [{ a: { description: 'may do all' } }, "unknown key 'description'"],
      [['a'], 'roles must be an object'],
      [null, 'roles must be an object']
    ]
    for (const [roles, ...messages] of table) await assertBootFails(t, () => {}, messages, { options: { roles } })
  })

  t.test('grants exactly what is reachable by inclusion, for any lists', t => {
    const names = ['a', 'b', 'c', 'd']
    const scopes = ['s', 't']
    const role = fc.record({
      roles: fc.uniqueArray(fc.constantFrom(...names), { maxLength: 2 }),
      scopes: fc.uniqueArray(fc.constantFrom(...scopes))
    })
    let made = 0
    fc.assert(
      fc.property(fc.tuple(role, role, role, role), fc.uniqueArray(fc.constantFrom(...names)), (entries, held) => {
        const listed = new Map(names.map((name, i) => [name, entries[i] as { roles: string[]; scopes: string[] }]))
        const reached = new Set(held)
        for (const each of reached) for (const next of listed.get(each)?.roles ?? []) reached.add(next)
        const principal: Principal = { realm: 'r', id: 'i', scopes: [], roles: held }
        try {
          const permissions = parsePermissions(undefined, Object.fromEntries(listed))
          made++
          return (
            names.every(
              name => hasPermission(principal, permissions.requirement('roles', name, '')) === reached.has(name)
            ) &&
            scopes.every(
              scope =>
                hasPermission(principal, permissions.requirement('scopes', scope, '')) ===
                [...reached].some(name => listed.get(name)?.scopes.includes(scope))
            )
          )
        } catch (error) {
          return error instanceof AuthError && error.message.includes('includes itself')
        }
      }),
      { numRuns: 2000 }
    )
    t.ok(made > 100, `${made} lists without a circle`)
    t.end()
  })
})

t.test('has no wildcards: a name only matches itself', async t => {
  const { ask } = await boot(t, app => {
    route(app, [], '/read', { scopes: 'orders:read' })
    route(app, [], '/star', { scopes: 'orders:*' })
    route(app, [], '/role', { roles: 'admin' })
  })
  for (const scopes of [
    ['*'],
    ['orders:*'],
    ['orders'],
    ['orders:'],
    ['orders:read '],
    ['ORDERS:READ'],
    ['orders:reader'],
    ['orders:read orders:write'],
    ['']
  ]) {
    t.equal((await ask('/read', as({ scopes }))).status, 403, JSON.stringify(scopes))
  }
  t.equal((await ask('/star', as({ scopes: ['orders:read', '*'] }))).status, 403)
  t.equal((await ask('/star', as({ scopes: ['orders:*'] }))).status, 200)
  for (const roles of [['*'], ['Admin'], ['admin2'], ['constructor']]) {
    t.equal((await ask('/role', as({ roles }))).status, 403)
  }
})

t.test('keeps memory bounded for names that functions and allows() check at run time', t => {
  const permissions = parsePermissions(undefined, undefined)
  const first = permissions.requirement('scopes', 'first', '')
  for (let i = 0; i < 10_000; i++) permissions.requirement('scopes', `scope ${i}`, '')
  t.equal(permissions.requirement('scopes', 'first', ''), first)
  t.not(
    permissions.requirement('scopes', 'late', ''),
    permissions.requirement('scopes', 'late', ''),
    'beyond 10,000 a name is worked out anew'
  )
  t.strictSame(permissions.requirement('scopes', 'late', ''), { name: 'late', scope: 'late', roles: [] })
  t.end()
})

t.test('load(principal, { scheme, request })', async t => {
  t.test('adds data for every scheme, before the rules are checked', async t => {
    const calls: object[] = []
    const load = ({ id, realm }: Principal, { scheme, request }: LoadContext) => {
      calls.push({ id, realm, scheme, url: request.url })
      return { id, roles: ['clerk'], name: 'Ann' }
    }
    const { ask } = await boot(
      t,
      app => {
        app.get(
          '/x',
          authConfig({ schemes: ['user', 'web'], roles: 'clerk', scopes: 'a' }),
          async request => request.principal
        )
      },
      { options: { load } }
    )
    const { body } = await ask('/x', as({ scopes: ['a'] }, 'web'))
    t.strictSame(
      JSON.parse(body),
      { realm: 'web', id: 'ann', scopes: ['a'], roles: ['clerk'], name: 'Ann' },
      'what it leaves out stays'
    )
    t.strictSame(calls, [{ id: 'ann', realm: 'web', scheme: 'web', url: '/x' }])
  })

  t.test('of a scheme takes precedence over that of the plugin', async t => {
    const schemes = {
      user: headerScheme('user', { load: ({ id }) => ({ id, roles: ['of the scheme'] }) }),
      web: headerScheme('web')
    }
    const { ask } = await boot(
      t,
      app => {
        app.get('/x', authConfig(['user', 'web']), async request => request.principal?.roles)
      },
      { options: { schemes, default: 'user', load: ({ id }: Principal) => ({ id, roles: ['of the plugin'] }) } }
    )
    t.strictSame(JSON.parse((await ask('/x', as())).body), ['of the scheme'])
    t.strictSame(JSON.parse((await ask('/x', as({}, 'web'))).body), ['of the plugin'])
  })

  t.test('answers 401 if it rejects the principal, without trying the next scheme', async t => {
    const schemes = threeSchemes()
    for (const load of [() => null, async () => null, () => undefined, async () => undefined, () => false as const]) {
      const { ask, ran } = await boot(
        t,
        (app, ran) => {
          route(app, ran, '/required', ['user', 'web'])
          route(app, ran, '/optional', { schemes: ['user', 'web'], mode: 'optional' })
          app.get('/try', authConfig({ mode: 'try' }), async request => ({
            id: request.principal,
            error: request.auth.error?.code
          }))
        },
        { options: { schemes, default: 'user', load } }
      )
      const both = { ...as(), ...as({}, 'web') }
      t.match(await ask('/required', both), { status: 401, code: 'AUTH_INVALID_CREDENTIALS' })
      t.match(await ask('/optional', both), { status: 401, code: 'AUTH_INVALID_CREDENTIALS' })
      t.strictSame(JSON.parse((await ask('/try', both)).body), { id: null, error: 'AUTH_INVALID_CREDENTIALS' })
      t.strictSame(ran, [])
    }
    t.equal(schemes.web.calls.count, 0)
  })

  t.test('answers a constant 500 in every mode if it throws or returns anything else', async t => {
    const answers: (() => unknown)[] = [
      () => {
        throw new Error('redis://secret')
      },
      async () => {
        throw new Error('redis://secret')
      },
      () => true,
      () => 'ann',
      async () => 7,
      () => ({ scopes: 'a' }),
      () => ({ roles: [1] })
    ]
    for (const load of answers) {
      const { ask, ran } = await boot(
        t,
        (app, ran) => {
          for (const mode of ['required', 'optional', 'try']) route(app, ran, `/${mode}`, { mode })
        },
        { options: { load } }
      )
      for (const mode of ['required', 'optional', 'try']) {
        const answer = await ask(`/${mode}`, as())
        t.match(answer, { status: 500, code: 'AUTH_FAULT' })
        t.notMatch(answer.body, /redis/)
      }
      t.strictSame(ran, [])
    }
  })

  t.test('cannot change the identity: realm and id stay those of the credential', async t => {
    const { ask } = await boot(
      t,
      app => {
        app.get('/x', authConfig(true), async request => request.principal)
      },
      { options: { load: () => ({ id: 'root', realm: 'elsewhere', scopes: ['all'] }) } }
    )
    t.match(JSON.parse((await ask('/x', as())).body), { realm: 'user', id: 'ann', scopes: exactly('all') })
  })

  t.test('is called once per request, and not without a principal', async t => {
    let loads = 0
    const { ask } = await boot(t, app => {
      app.get('/x', { ...authConfig({ mode: 'try' }), preHandler: app.gatehouse.guard(true) }, async () => '')
    }, { options: { load: ({ id }: Principal) => { loads++; return { id } } } })
    t.equal((await ask('/x', as())).status, 200)
    t.equal(loads, 1)
    await ask('/x')
    await ask('/x', { 'x-user': 'bad' })
    t.equal(loads, 1)
  })

  t.test('is called for each scheme of an all-of', async t => {
    const loaded: string[] = []
    const { ask } = await boot(t, app => route(app, [], '/x', { schemes: { all: ['web', 'service'] } }), {
      options: {
        load: ({ id }: Principal, { scheme }: LoadContext) => {
          loaded.push(scheme)
          return scheme === 'service' ? null : { id }
        }
      }
    })
    t.equal((await ask('/x', { ...as({}, 'web'), ...as({}, 'service') })).status, 401)
    t.strictSame(loaded, ['web', 'service'])
  })
})
