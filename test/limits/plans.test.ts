import t from 'tap'
import { AuthError } from '../../lib/index.js'
import { as, boot, bootError, route, authConfig } from '../fixtures/policies.js'
import type { Test } from 'tap'

const plans = {
  free: { max: 2, window: '1h' },
  pro: [{ max: 9, window: '1d' }, { max: 3, window: '1m' }]
} as const

/** Boots an application with these routes, whose principals have a plan. */
async function limited (t: Test, routes: Readonly<Record<string, unknown>>, more: object = {}) {
  const { app, ask } = await boot(t, (app, ran) => {
    for (const [url, auth] of Object.entries(routes)) {
      if (auth === undefined) app.get(url, async () => 'in')
      else route(app, ran, url, auth as object)
    }
  }, { options: { limits: { plans, ...more } } })
  const statuses = async (url: string, id: string, times: number) => {
    const all: number[] = []
    for (let i = 0; i < times; i++) all.push((await ask(url, as({ id }))).status)
    return all
  }
  return { app, ask, statuses }
}

t.test('a list of windows', async t => {
  await t.test('enforces every window, and counts in the shortest first', async t => {
    const { ask } = await limited(t, { '/': { rateLimit: [{ max: 4, window: '1h' }, { max: 2, window: 1 }] } })
    const heads = async () => {
      const { status, headers } = await ask('/', as())
      return [status, headers['ratelimit-policy'], headers.ratelimit]
    }
    const policy = '"default-1";q=2;w=1, "default-3600";q=4;w=3600'
    t.strictSame(await heads(), [200, policy, '"default-1";r=1;t=1, "default-3600";r=3;t=3600'])
    t.strictSame((await heads())[0], 200)
    for (let i = 0; i < 9; i++) t.strictSame(await heads(), [429, policy, '"default-1";r=0;t=1'])
    await new Promise(resolve => setTimeout(resolve, 1_050))
    t.strictSame([(await heads())[0], (await heads())[0]], [200, 200], 'a refused request counts in no other window')
    await new Promise(resolve => setTimeout(resolve, 1_050))
    const { status, headers } = await ask('/', as())
    t.equal(status, 429, 'the limit of the hour is reached')
    t.ok(Number(headers['retry-after']) > 3_500, 'the client has to wait for the rest of the hour')
  })

  await t.test('with one window is the same as that window', async t => {
    const { ask } = await limited(t, { '/': { rateLimit: [{ max: 4, window: '1h' }] } })
    t.equal((await ask('/', as())).headers['ratelimit-policy'], '"default";q=4;w=3600')
  })
})

t.test('the name of a plan', async t => {
  await t.test('limits a route, a group and the default to the windows of the plan', async t => {
    const { statuses } = await limited(t, { '/free': { rateLimit: 'free' }, '/pro': { rateLimit: 'pro' } })
    t.strictSame(await statuses('/free', 'ann', 3), [200, 200, 429])
    t.strictSame(await statuses('/pro', 'ann', 4), [200, 200, 200, 429])
    t.strictSame(await statuses('/free', 'bob', 1), [200])
  })

  await t.test('is taken by limits.requests', async t => {
    const { statuses } = await limited(t, { '/': undefined, '/own': { rateLimit: 'pro' } }, { requests: 'free' })
    t.strictSame(await statuses('/', 'ann', 3), [200, 200, 429])
    t.strictSame(await statuses('/own', 'ann', 3), [200, 200, 200])
  })
})

t.test('a function of the principal', async t => {
  const planOf = ({ id }: { id: string }) => id.startsWith('rich') ? 'pro' : 'free'

  await t.test('chooses the plan of each principal', async t => {
    const { statuses } = await limited(t, { '/': undefined, '/own': { rateLimit: () => 'free' } }, { requests: planOf })
    t.strictSame(await statuses('/', 'ann', 3), [200, 200, 429])
    t.strictSame(await statuses('/', 'rich', 4), [200, 200, 200, 429])
    t.strictSame(await statuses('/own', 'rich', 3), [200, 200, 429])
  })

  await t.test('is not called for anonymous callers', async t => {
    const { ask } = await limited(t, { '/': { mode: 'optional', rateLimit: () => { throw new Error('called') } } })
    t.match(await ask('/'), { status: 200 })
  })

  await t.test('that returns anything but the name of a plan is a fault', async t => {
    const wrong = ['gold', '', 'toString', undefined, null, { max: 1, window: 1 }, Promise.resolve('free')]
    for (const returned of wrong) {
      const { ask } = await limited(t, { '/': { rateLimit: () => returned } })
      t.match(await ask('/', as()), { status: 500, code: 'AUTH_FAULT' }, String(returned))
    }
    const { ask } = await limited(t, {
      '/': { rateLimit: () => Promise.reject(new Error('nobody awaits this')) }
    })
    t.match(await ask('/', as()), { status: 500, code: 'AUTH_FAULT' })
  })

  await t.test('may throw an error for the error handler', async t => {
    const gone = Object.assign(new Error('no such plan'), { statusCode: 410 })
    const { ask } = await limited(t, { '/': { rateLimit: () => { throw gone } } })
    t.match(await ask('/', as()), { status: 410 })
  })
})

t.test('a mistake stops the boot, and names the place', async t => {
  const known = { options: { limits: { plans } } }
  const table: [title: string, auth: unknown, setting: object, message: string][] = [
    ['an unknown plan', { rateLimit: 'fre' }, known,
      "GET /x: config.auth.rateLimit names the plan 'fre', which is not in the option limits.plans. Did you mean " +
      "'free'? Known: free and pro."],
    ['a plan without limits.plans', { rateLimit: 'free' }, {}, 'the option limits.plans is missing'],
    ['a function without limits.plans', { rateLimit: () => 'free' }, {}, 'the option limits.plans is missing'],
    ['no window', { rateLimit: [] }, {}, 'GET /x: config.auth.rateLimit is an empty list'],
    ['the same window twice', { rateLimit: [{ max: 1, window: '1m' }, { max: 2, window: 60 }] }, {},
      'GET /x: config.auth.rateLimit has two limits for a window of 60 s'],
    ['a wrong window', { rateLimit: [{ max: 1, window: 60 }, { max: 0, window: 1 }] }, {},
      'GET /x: config.auth.rateLimit[1].max must be a whole number'],
    ['an async function', { rateLimit: async () => 'free' }, known,
      'GET /x: config.auth.rateLimit must be a function that is not async, because nothing waits for its result'],
    ['a number', { rateLimit: 5 }, {}, 'GET /x: config.auth.rateLimit must be an object']
  ]
  for (const [title, auth, setting, message] of table) {
    const error = await bootError(app => { app.get('/x', authConfig(auth), () => '') }, setting)
    t.ok(error instanceof AuthError && error.code === 'AUTH_MISCONFIGURED', title)
    t.match((error as Error).message, message, title)
  }
  const options: [limits: unknown, message: string][] = [
    [{ plans: [] }, 'The option limits.plans must be an object from the name of a plan'],
    [{ plans: { '': { max: 1, window: 1 } } }, 'The option limits.plans has a plan with an empty name'],
    [{ plans: { free: {} } }, 'The option limits.plans.free.max must be a whole number'],
    [{ plans: { free: [{ max: 1, window: 0 }] } }, 'The option limits.plans.free[0].window must be more'],
    [{ plans, requests: 'gold' }, "The option limits.requests names the plan 'gold'"],
    [{ requests: 'gold' }, 'The option limits.requests limits requests by plan, but the option limits.plans is missing']
  ]
  for (const [limits, message] of options) {
    t.match((await bootError(() => {}, { options: { limits } }) as Error).message, message)
  }
})

t.test('the audit shows windows, the name of the plan, and all plans of a function', async t => {
  const planOf = () => 'free'
  const { app } = await limited(t, {
    '/a': { rateLimit: [{ max: 9, window: '1d' }, { max: 3, window: '1m' }] },
    '/b': { rateLimit: 'free' },
    '/c': { rateLimit: planOf },
    '/d': { rateLimit: () => 'pro' }
  })
  const windows = [{ max: 3, window: 60 }, { max: 9, window: 86_400 }]
  const free = { plan: 'free', windows: [{ max: 2, window: 3_600 }] }
  const all = 'to 2 requests in 3600 s (plan free) or 3 requests in 60 s and 9 in 86400 s (plan pro)'
  t.strictSame(app.gatehouse.audit().map(row => [...row.rules, row.policy.rateLimit]), [
    ['at most 3 requests in 60 s and 9 in 86400 s', { plan: null, windows }],
    ['at most 2 requests in 3600 s (plan free)', free],
    [`requests limited by planOf, ${all}`, { function: 'planOf', plans: [free, { plan: 'pro', windows }] }],
    [`requests limited by a function, ${all}`, { function: '', plans: [free, { plan: 'pro', windows }] }]
  ])
})
