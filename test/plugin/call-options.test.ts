import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, jwt, session, type Store, type StoreOwner } from '../../lib/index.js'

const secret = (): string => randomBytes(32).toString('base64url')
const owner: StoreOwner = { realm: 'web', id: 'ann' }

/** Creates an application whose routes make the calls with the options of a test. */
async function createApp (t: Test) {
  const log: string[] = []
  const app = Fastify({
    logger: {
      stream: {
        write: (line: string) => {
          log.push(line)
        }
      }
    }
  }) as unknown as FastifyInstance
  t.teardown(() => app.close())
  await app.register(gatehouse, {
    schemes: {
      web: session({ secret: secret() }),
      user: jwt({
        keys: secret(),
        issuer: 'https://id.test',
        audience: 'https://api.test',
        sign: { realm: 'web', refresh: { secret: secret() } }
      }),
      service: apiKey({ managed: { prefix: 'acme' } })
    },
    default: 'web'
  })
  let options: unknown[] = []
  const open = { config: { auth: { public: 'for tests' } } }
  app.post('/login', open, async (_request, reply) => {
    await reply.login({ id: 'ann' }, ...(options as []))
  })
  app.post('/logout', open, async (_request, reply) => {
    await reply.logout(...(options as []))
  })
  app.post('/issue', open, async () => app.gatehouse.tokens.issue({ id: 'ann' }, ...(options as [])))
  app.post('/grant', open, async () => app.gatehouse.tokens.grant({ id: 'ann' }, ...(options as [])))
  app.post('/attempt', open, async (_request, reply) =>
    app.gatehouse.guesses.attempt(reply, 'ann', () => true, ...(options as []))
  )
  app.post('/call', open, async (_request, reply) => await (options[0] as (reply: FastifyReply) => unknown)(reply))
  app.post('/end', open, async () => {
    await app.gatehouse.sessions.of(owner).revokeAll(...(options as []))
  })
  let detail = ''
  app.addHook('onError', async (_request, _reply, error) => {
    detail = (error as unknown as { detail: string }).detail
  })
  await app.ready()
  const post = async (url: string, given: unknown[]) => {
    options = given
    return await app.inject({ method: 'POST', url, payload: {} })
  }
  return { app, post, log, detail: () => detail }
}

const wrong: ReadonlyArray<readonly [url: string, options: unknown, message: string]> = [
  ['/login', { kep: true }, "The options of reply.login() have an unknown key 'kep'. Did you mean 'keep'?"],
  ['/login', { keep: undefined }, "The options of reply.login() have 'keep' set to undefined"],
  ['/login', { keep: 'on' }, "The option reply.login().keep must be true or false. Got 'on'"],
  ['/login', { renew: 1 }, 'The option reply.login().renew must be true or false. Got 1'],
  ['/login', { renew: undefined }, "have 'renew' set to undefined"],
  ['/login', { scheme: 7 }, 'The option reply.login().scheme must be a string'],
  ['/login', { data: 'x' }, 'The option reply.login().data must be an object'],
  ['/login', null, 'The options of reply.login() must be an object'],
  ['/logout', { shceme: 'web' }, "The options of reply.logout() have an unknown key 'shceme'. Did you mean 'scheme'?"],
  ['/logout', { scheme: 'wob' }, "the scheme 'wob' cannot keep sessions. Known: 'web'"],
  [
    '/issue',
    { expiresin: '1m' },
    "The options of tokens.issue() have an unknown key 'expiresin'. Did you mean 'expiresIn'?"
  ],
  ['/issue', { expiresIn: undefined }, "have 'expiresIn' set to undefined"],
  ['/issue', { claims: 'x' }, 'The option tokens.issue().claims must be a plain object'],
  ['/issue', { claims: new Map([['a', 1]]) }, 'The option tokens.issue().claims must be a plain object'],
  ['/issue', { claims: Promise.resolve({ a: 1 }) }, 'The option tokens.issue().claims must be a plain object'],
  ['/grant', { client: '' }, "The option tokens.grant().client must be a non-empty string. Got ''"],
  ['/attempt', { relm: 'a' }, "The options of guesses.attempt() have an unknown key 'relm'. Did you mean 'realm'?"],
  ['/attempt', { realm: undefined }, "have 'realm' set to undefined"],
  [
    '/end',
    { exept: 'a' },
    "The options of sessions.of().revokeAll() have an unknown key 'exept'. Did you mean 'except'?"
  ],
  ['/end', { except: undefined }, "have 'except' set to undefined"]
]

t.test(
  'fails with a constant 500, and logs the option, for a misspelled, undefined or wrong option of a call',
  async t => {
    const { post, log, detail } = await createApp(t)
    for (const url of ['/login', '/logout', '/issue', '/grant', '/attempt', '/end']) {
      t.equal((await post(url, [])).statusCode, 200, `${url} needs no options`)
    }
    for (const [url, options, message] of wrong) {
      const answer = await post(url, [options])
      t.match(answer.json(), { statusCode: 500, code: 'AUTH_FAULT', message: 'Internal Server Error' }, message)
      t.equal(answer.headers['set-cookie'], undefined, 'nothing was begun or ended')
      t.ok(detail().includes(message), detail())
      if (url.startsWith('/log')) {
        t.ok(
          log.map(line => JSON.parse(line) as { auth?: { reason?: string } })
            .some(({ auth }) => auth?.reason?.includes(message)),
          'in the log'
        )
      }
    }
    const own = {
      get keep (): never {
        throw new RangeError('a getter of the application')
      }
    }
    t.equal(
      (await post('/login', [own])).json<{ message: string }>().message,
      'a getter of the application',
      'what is thrown by others is not ours to rename'
    )
    t.equal((await post('/login', [{ keep: false, renew: false, data: {}, scheme: 'web' }])).statusCode, 200)
  }
)

t.test('requires a reply and a function for a guess, and a request for the way back', async t => {
  const { app, post, detail } = await createApp(t)
  const { guesses, sessions } = app.gatehouse
  const password = 'a password that must not be shown'
  const needsCheck = /^guesses\.attempt\(\) needs a function as its third argument, such as \(\) => verifyPassword\(/
  const wrongCalls: ReadonlyArray<readonly [call: (reply: FastifyReply) => unknown, message: RegExp]> = [
    ...[Promise.resolve(true), true, password, undefined].map(check =>
      [async (reply: FastifyReply) => await guesses.attempt(reply, 'ann', check as never), needsCheck] as const),
    [
      async ({ request }) => await guesses.attempt(request as never, 'ann', () => true),
      /^guesses\.attempt\(\) needs the reply of the request as its first argument$/
    ],
    [() => sessions.returnTo('/a' as never), /^sessions\.returnTo\(\) needs the request .+\. Got '\/a'$/]
  ]
  for (const [call, message] of wrongCalls) {
    t.match((await post('/call', [call])).json(), { statusCode: 500, code: 'AUTH_FAULT' })
    t.match(detail(), message)
    t.notMatch(detail(), password)
  }
})

t.test('requires a user for sessions and keys, and a lifetime that a store can hold', async t => {
  const { app } = await createApp(t)
  const { apiKeys, sessions } = app.gatehouse
  for (const nobody of [null, undefined, {}, { id: 'ann' }, 'ann'] as never[]) {
    for (const [call, of] of Object.entries({ sessions: sessions.of, apiKeys: apiKeys.of })) {
      t.throws(() => of(nobody), {
        code: 'AUTH_FAULT',
        message: 'Internal Server Error',
        detail: new RegExp(`^The owner of ${call}\\.of\\(\\) must be \\{ realm, id \\}, such as a principal\\. Got `)
      })
    }
  }
  const { record: { id } } = await apiKeys.of(owner).create({ name: 'a' })
  await t.rejects(apiKeys.ofAnyOwner().rotate(id, { overlap: 400_000_000 }), {
    code: 'AUTH_FAULT',
    detail: /overlap must be at most 3650 days/
  })
  await t.rejects(apiKeys.of(owner).create({ name: 'b', expiresAt: new Date(8.64e15) }), {
    code: 'AUTH_FAULT',
    detail: /up to the year 9999/
  })
  t.match(await apiKeys.of(owner).list(), [{ id, replacedBy: null }], 'the refused calls changed nothing')
})

t.test('requires a principal as the bound of a key', async t => {
  const { app } = await createApp(t)
  const { apiKeys } = app.gatehouse
  const {
    record: { id }
  } = await apiKeys.of(owner).create({ name: 'a', scopes: ['x'] })
  const nobody: ReadonlyArray<readonly [bounds: object, message: RegExp]> = [
    [{ within: undefined }, /'within' set to undefined/],
    [{ wihtin: {} }, /unknown key 'wihtin'\. Did you mean 'within'/],
    [{ within: null }, /within must be a principal/],
    [{ within: { id: 'ann' } }, /within must be a principal/],
    [{ within: { scopes: [], roles: 'a' } }, /within must be a principal/]
  ]
  for (const [bounds, message] of nobody) {
    await t.rejects(apiKeys.of(owner).create({ name: 'b' }, bounds), { code: 'AUTH_FAULT', detail: message })
    await t.rejects(apiKeys.of(owner).update(id, { name: 'b' }, bounds), { code: 'AUTH_FAULT', detail: message })
    await t.rejects(apiKeys.of(owner).rotate(id, { overlap: 0, ...bounds }), { code: 'AUTH_FAULT', detail: message })
  }
  await t.rejects(apiKeys.of(owner).rotate(id, { overlap: 0, ovrelap: 1 } as { overlap: 0 }), {
    code: 'AUTH_FAULT',
    detail: /unknown key 'ovrelap'/
  })
  t.equal((await apiKeys.of(owner).list()).length, 1)
  t.equal((await apiKeys.of(owner).list())[0]?.name, 'a')
})

t.test('refuses null as a limit', async t => {
  for (const limits of [{ requests: null }, { redis: null }, { guesses: null }]) {
    const app = Fastify()
    t.teardown(() => app.close())
    await t.rejects(
      async () => {
        await app.register(gatehouse, {
          schemes: { web: session({ secret: secret() }) },
          limits: limits as unknown as { redis: Store }
        })
      },
      { code: 'AUTH_MISCONFIGURED' }
    )
  }
})
