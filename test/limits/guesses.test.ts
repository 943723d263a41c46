import Fastify, { type FastifyServerOptions, type LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import plugin, { basic, type GatehouseOptions, type Store } from '../../lib/index.js'
import { StoreUnavailable } from '../../lib/stores/operations.js'
import { memoryStore } from '../../lib/stores/memory/index.js'
import type { LimitsOptions } from '../../types/limits.js'
import { movableClock } from '../fixtures/clock.js'

/** The movable clock of the process: no test waits for a timer. */
const clock = movableClock(t)
const later = (seconds: number): void => {
  // NaN would keep the memory store busy forever, and hide which response had no Retry-After.
  if (!Number.isFinite(seconds)) throw new Error('the answer says no Retry-After')
  clock.offset += seconds * 1000
}

const right = 'the right password'

interface Said {
  readonly user?: unknown
  readonly password?: string
  readonly address?: string
  readonly cookie?: string
  readonly headers?: Record<string, string>
  readonly path?: string
}

/** Creates an application with Basic and a login of its own, and counts the password checks. */
async function createApp (
  t: Test,
  limits?: LimitsOptions,
  {
    store,
    server = {},
    more = {},
    slow = false
  }: { store?: Store; server?: FastifyServerOptions; more?: Partial<GatehouseOptions>; slow?: boolean } = {}
) {
  const log: string[] = []
  const app = Fastify({ ...server, logger: { level: 'info', stream: { write: (line: string) => { log.push(line) } } } })
  const evaluated = new Map<string, number>()
  const check = async (user: string, password: string) => {
    evaluated.set(user, (evaluated.get(user) ?? 0) + 1)
    if (slow) await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    if (password === 'a fault') throw new Error('the database is away')
    return password === right ? { id: user } : null
  }
  await app.register(plugin, {
    schemes: { ops: basic({ verify: check }) },
    publicPaths: ['/login', '/token', '/partner'],
    ...limits === undefined ? {} : { limits },
    ...store === undefined ? {} : { store },
    ...more
  })
  app.get('/ops', async () => 'in')
  app.post('/ops', async () => 'in')
  for (const [path, options] of [['/login', undefined], ['/token', {}], ['/partner', { realm: 'ops' }]] as const) {
    app.post<{ Body: { user: string, password: string } }>(path, async (request, reply) => {
      const { user, password } = request.body
      const person = await app.gatehouse.guesses.attempt(reply, user, () => check(user, password), options)
      return person ?? reply.code(401).send({ wrong: true })
    })
  }
  await app.ready()
  t.teardown(async () => { await app.close() })
  const total = (): number => [...evaluated.values()].reduce((sum, each) => sum + each, 0)
  const login = async ({
    user = 'alice',
    password = 'wrong',
    address = '192.0.2.1',
    cookie,
    headers = {},
    path = '/login'
  }: Said = {}) =>
    app.inject({
      method: 'POST',
      url: path,
      remoteAddress: address,
      payload: { user, password },
      headers: { ...(cookie === undefined ? {} : { cookie }), ...headers }
    })
  const ask = async (
    { user = 'alice', password = 'wrong', address = '192.0.2.1', headers = {} }: Said = {},
    method: 'GET' | 'POST' = 'GET'
  ) =>
    app.inject({
      method,
      url: '/ops',
      remoteAddress: address,
      headers: { authorization: `Basic ${Buffer.from(`${String(user)}:${password}`).toString('base64')}`, ...headers }
    })
  return { app, log, evaluated, total, login, ask }
}

const statuses = (answers: readonly LightMyRequestResponse[]): number[] => answers.map(answer => answer.statusCode)
const cookieOf = (answer: LightMyRequestResponse): string => String(answer.headers['set-cookie']).split(';')[0] ?? ''
/** Allows as few guesses for an address as for an account. */
const strict: LimitsOptions = { guesses: { perAddress: 5 } }
/** Returns a different address for each number. */
const address = (i: number): string => `10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`

t.test('treats an unparsable address as one address, and logs it once', async t => {
  const { login, log } = await createApp(t, strict)
  const answers: LightMyRequestResponse[] = []
  for (const i of [1, 2, 3, 4, 5, 6]) answers.push(await login({ user: `user ${i}`, address: `proxy:${i}` }))
  t.same(statuses(answers), [401, 401, 401, 401, 401, 429])
  t.equal(log.filter(line => line.includes('all such clients share one count')).length, 1)
})

t.test('checks five wrong passwords per account and window, then answers 429 with Retry-After', async t => {
  for (const way of ['ask', 'login'] as const) {
    const { [way]: guess, total } = await createApp(t)
    for (let i = 0; i < 5; i++) t.equal((await guess({ address: address(i) })).statusCode, 401)
    const locked = await guess({ address: address(9) })
    t.equal(locked.statusCode, 429)
    t.equal(locked.json().code, 'AUTH_RATE_LIMITED')
    t.equal(locked.headers['retry-after'], '60')
    t.equal(locked.headers['cache-control'], 'no-store')
    t.equal(locked.headers['www-authenticate'], undefined)
    t.equal(total(), 5)
    later(30)
    t.equal((await guess({ address: address(9) })).headers['retry-after'], '30')
    later(31)
    t.equal((await guess({ address: address(9) })).statusCode, 401)
  }
})

t.test('answers a right password like a wrong one while locked, without checking it', async t => {
  const { ask, login, total } = await createApp(t)
  for (const guess of [ask, login]) {
    for (let i = 0; i < 5; i++) await guess({ address: address(i) })
    const before = total()
    const [wrong, good] = [await guess({ address: address(7) }), await guess({ address: address(8), password: right })]
    t.equal(good.statusCode, 429)
    t.equal(good.body, wrong.body)
    const visible = ({ headers }: LightMyRequestResponse) => ({ ...headers, date: null })
    t.same(visible(good), visible(wrong))
    t.equal(total(), before)
  }
})

t.test('limits wrong passwords per address as perAddress says, across accounts', async t => {
  const { ask, login, total } = await createApp(t, strict)
  for (let i = 0; i < 5; i++) t.equal((await (i % 2 === 0 ? ask : login)({ user: `user${i}` })).statusCode, 401)
  t.equal((await ask({ user: 'somebody' })).statusCode, 429)
  t.equal((await login({ user: 'somebody else', password: right })).statusCode, 429)
  t.equal(total(), 5)
  t.equal((await ask({ user: 'somebody', address: '192.0.2.2', password: right })).statusCode, 200)
})

t.test('groups IPv6 addresses by /64 in any spelling, and maps IPv4 within IPv6 to IPv4', async t => {
  const { ask } = await createApp(t, strict)
  for (let i = 0; i < 5; i++) {
    t.equal((await ask({ user: `u${i}`, address: `2001:db8::${i + 1}:${i}` })).statusCode, 401)
  }
  t.equal((await ask({ user: 'v', address: '2001:0DB8:0:0:ffff::' })).statusCode, 429)
  t.equal((await ask({ user: 'v', address: '2001:db8:0:1::' })).statusCode, 401)
  for (let i = 0; i < 5; i++) await ask({ user: `w${i}`, address: i % 2 === 0 ? '::ffff:192.0.2.77' : '192.0.2.77' })
  t.equal((await ask({ user: 'x', address: '::ffff:c000:024d' })).statusCode, 429)
})

t.test('200 parallel guesses cause at most limit + 1 checks, and 20 parallel right passwords all pass', async t => {
  const { ask, login, total } = await createApp(t, undefined, { slow: true })
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      (i % 2 === 0 ? ask : login)({ user: 'victim', password: `wrong${i}`, address: address(i) })
    )
  )
  t.ok(total() <= 2 * 5, 'each realm has its own five')
  t.equal(statuses(answers).filter(status => status === 401).length, total())
  const before = total()
  const same = await Promise.all(
    Array.from({ length: 200 }, (_, i) => ask({ user: 'other', password: `wrong${i}`, address: address(i) }))
  )
  t.equal(total() - before, 5)
  t.same([...new Set(statuses(same))], [401, 429])

  for (const guess of [ask, login]) {
    const honest = await Promise.all(
      Array.from({ length: 20 }, async () => guess({ user: 'bob', password: right, address: '198.51.100.1' }))
    )
    t.same([...new Set(statuses(honest))], [200])
  }
  const mixed = await createApp(t, undefined, { slow: true })
  for (let i = 0; i < 4; i++) await mixed.ask({ address: address(i) })
  const rest = await Promise.all(Array.from({ length: 12 }, async () => mixed.ask({ password: right })))
  t.same([...new Set(statuses(rest))], [200], 'with one slot left, parallel logins run one after the other')
})

t.test('1,000 spellings, addresses and paths of one account cause at most limit + 1 checks in a window', async t => {
  const { login, total } = await createApp(t)
  const marks = ['', ' ', '\u200b', '\u00ad', '\u0301', '\t', '\u00a0', '\ufeff', '\u2060', '\u0300']
  const names = Array.from(
    { length: 1000 },
    (_, i) =>
      [...'victim'].map((letter, at) => (((i >> at) & 1) === 1 ? letter.toUpperCase() : letter)).join('') +
      marks[i % 10]
  )
  for (const [i, user] of names.entries()) {
    await login({ user, address: address(i), path: i % 2 === 0 ? '/login' : '/token' })
  }
  t.equal(total(), 5)
})

t.test('5,001 other names do not give an attacker one more attempt', async t => {
  const { login, evaluated } = await createApp(t)
  for (let i = 0; i < 5; i++) await login({ user: 'victim', address: address(i) })
  for (let i = 0; i < 5001; i++) await login({ user: `other${i}`, address: address(1000 + i) })
  t.equal((await login({ user: 'victim', address: '192.0.2.200' })).statusCode, 429)
  t.equal(evaluated.get('victim'), 5)
  t.equal(evaluated.get('other5000'), 1)
})

t.test('doubles the window each time it is used up, to 15 minutes, and resets it a day later', async t => {
  const { login } = await createApp(t, { guesses: { perAddress: 1000 } })
  const waits: number[] = []
  for (let round = 0; round < 7; round++) {
    for (let i = 0; i < 5; i++) t.equal((await login()).statusCode, 401)
    const wait = Number((await login()).headers['retry-after'])
    waits.push(wait)
    later(wait)
  }
  t.same(waits, [60, 120, 240, 480, 900, 900, 900])
  later(86_400)
  for (let i = 0; i < 5; i++) await login()
  t.equal((await login()).headers['retry-after'], '60')
})

t.test('grows the window with the wrong guesses of a day, even if none was used up', async t => {
  const { login } = await createApp(t)
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 4; i++) t.equal((await login()).statusCode, 401)
    later(901)
  }
  for (let i = 0; i < 5; i++) await login()
  t.equal((await login()).headers['retry-after'], '900', 'after twenty wrong guesses, the longest wait applies')
  later(86_401)
  for (let i = 0; i < 5; i++) await login()
  t.equal((await login()).headers['retry-after'], '60', 'a day later it begins again')
})

t.test('releases only its own slot on success, and clears no count of account or address', async t => {
  const { ask, login } = await createApp(t, strict)
  for (const guess of [ask, login]) {
    const from = guess === ask ? '203.0.113.1' : '203.0.113.2'
    for (let i = 0; i < 4; i++) await guess({ user: 'victim', address: from })
    for (let i = 0; i < 20; i++) {
      t.equal((await guess({ user: 'attacker', password: right, address: from })).statusCode, 200)
    }
    t.equal((await guess({ user: 'victim', address: from, password: right })).statusCode, 200)
    t.equal((await guess({ user: 'victim', address: from })).statusCode, 401)
    t.equal((await guess({ user: 'victim', address: from })).statusCode, 429)
    t.equal(
      (await guess({ user: 'attacker', address: from, password: right })).statusCode,
      429,
      'the address is locked'
    )
    t.equal((await guess({ user: 'victim', address: '203.0.113.9' })).statusCode, 429, 'the account is locked')
  }
})

t.test('a slow success does not release a slot of a later window', async t => {
  const { login, app } = await createApp(t)
  let finish = (): void => {}
  const slow = new Promise<void>(resolve => {
    finish = resolve
  })
  const reply = {
    request: { ip: '192.0.2.1', headers: {}, raw: { headers: {} }, method: 'POST', log: app.log },
    hasHeader: () => true,
    header: () => {}
  }
  const attempt = app.gatehouse.guesses.attempt(reply as never, 'alice', async () => {
    await slow
    return true
  })
  await new Promise(resolve => setImmediate(resolve))
  later(61)
  for (let i = 0; i < 4; i++) t.equal((await login()).statusCode, 401)
  finish()
  t.equal(await attempt, true)
  t.equal((await login()).statusCode, 401)
  t.equal((await login()).statusCode, 429)
})

t.test('rethrows an error of the check without counting a guess', async t => {
  const { ask, login, total } = await createApp(t)
  for (let i = 0; i < 10; i++) t.equal((await (i % 2 === 0 ? ask : login)({ password: 'a fault' })).statusCode, 500)
  t.equal(total(), 10)
  t.equal((await login()).statusCode, 401)
})

t.test('counts only passwords, and no malformed, absent, foreign or cross-site credential', async t => {
  const { app, ask, login, total, log } = await createApp(t, undefined, { more: { origins: ['https://app.test'] } })
  const encoded = (pair: string): string => Buffer.from(pair).toString('base64')
  const broken = ['!', encoded('nocolon'), encoded(':'), encoded('alice:')]
  for (let i = 0; i < 10; i++) {
    const malformed = await app.inject({
      url: '/ops',
      headers: { authorization: `Basic ${broken[i % broken.length]}` }
    })
    t.equal(malformed.statusCode, 401)
    await app.inject('/ops')
    await app.inject({ url: '/ops', headers: { authorization: 'Bearer token' } })
    t.equal((await ask({ headers: { 'sec-fetch-site': 'cross-site' } }, 'POST')).statusCode, 403)
    t.equal((await ask({ headers: { origin: 'https://evil.test' }, password: right }, 'POST')).statusCode, 403)
    const form = await login({ headers: { origin: 'https://evil.test' }, password: i % 2 === 0 ? right : 'wrong' })
    t.match([form.statusCode, form.json().code], [403, 'AUTH_CROSS_SITE'])
    t.equal((await login({ user: { $ne: null } })).statusCode, 401)
    t.match(log.find(line => line.includes('the account is not a string')), /"event":"refused".*"msg":"login refused"/)
  }
  t.equal(total(), 0)
  t.equal(
    (await ask({ headers: { 'sec-fetch-site': 'cross-site' } })).statusCode,
    401,
    'a link from elsewhere is followed, and what is sent with it counts'
  )
  t.equal((await login({ headers: { origin: 'https://app.test' } })).statusCode, 401)
  t.equal(total(), 2)
})

t.test('separates accounts by realm, and shares counts with a Basic scheme of the same name', async t => {
  const { login, ask } = await createApp(t)
  for (let i = 0; i < 5; i++) await ask({ address: address(i) })
  t.equal((await login({ address: address(10) })).statusCode, 401)
  t.equal((await login({ address: address(11), path: '/partner' })).statusCode, 429)
})

t.test('gives a browser in which the account logged in its own count', async t => {
  const deviceSecret = 'yN3vQ0b9Xh2mT7rKcW5sZpLdAfGjUe8oIiVxRtB4nM1'
  const { login, total } = await createApp(t, { guesses: { perAddress: 5, deviceSecret } })
  const first = await login({ password: right })
  t.match(
    first.headers['set-cookie'],
    /^__Host-gatehouse-device=[\w-]+; Path=\/; HttpOnly; Secure; SameSite=Strict; Max-Age=7776000$/
  )
  const device = cookieOf(first)
  t.notMatch(Buffer.from(device.split('=')[1] ?? '', 'base64url').toString('latin1'), /alice/)
  t.equal((await login({ user: 'wrong' })).headers['set-cookie'], undefined, 'a wrong guess makes nothing known')

  for (let i = 0; i < 6; i++) await login({ address: address(i) })
  for (let i = 0; i < 6; i++) await login({ user: `u${i}` })
  t.equal((await login({ password: right })).statusCode, 429, 'account and address are locked')
  const back = await login({ password: right, cookie: device })
  t.equal(back.statusCode, 200, 'the known device enters')
  t.equal((await login({ user: 'Alice', password: right, cookie: device })).statusCode, 429, 'for the name as it was')
  const before = total()
  for (let i = 0; i < 7; i++) await login({ cookie: device })
  t.equal(total() - before, 5, 'and has five wrong guesses itself')
  t.equal((await login({ cookie: cookieOf(back), password: right })).statusCode, 429, 'with any copy of its cookie')
  t.equal(
    (await login({ user: 'bob', cookie: device, password: right })).statusCode,
    429,
    'it is not a device of another account'
  )
})

t.test('gives an attacker no further guesses for logging in to an account with a similar name', async t => {
  for (const own of ['Alice', 'alice ', 'alicé', 'ａlice']) {
    const { login, evaluated } = await createApp(t)
    const devices: string[] = []
    for (let i = 0; i < 4; i++) devices.push(cookieOf(await login({ user: own, password: right })))
    for (const cookie of devices) {
      for (let i = 0; i < 5; i++) await login({ cookie })
    }
    t.equal(evaluated.get('alice'), 5, `guesses at alice by the owner of '${own}'`)
  }
})

t.test('limits the guesses of all known devices of an account together, as of an address', async t => {
  const { login, total } = await createApp(t)
  const devices: string[] = []
  for (let i = 0; i < 8; i++) devices.push(cookieOf(await login({ password: right })))
  const before = total()
  for (const cookie of devices) {
    for (let i = 0; i < 5; i++) await login({ cookie })
  }
  t.equal(total() - before, 30)
  t.equal((await login({ password: right })).statusCode, 200, 'the count of the account is another')
})

t.test('remembers the newest eight accounts of a browser', async t => {
  const { login } = await createApp(t, { guesses: { perAccount: 1, perAddress: 1 } })
  let cookie = ''
  for (let i = 0; i < 9; i++) {
    const answer = await login({ user: `person${i}`, password: right, cookie })
    t.equal(answer.statusCode, 200)
    cookie = cookieOf(answer)
  }
  await login({ user: 'nobody' })
  t.same(
    statuses(await Promise.all([0, 1, 8].map(async i => login({ user: `person${i}`, password: right, cookie })))),
    [429, 200, 200]
  )
})

t.test('ignores a device cookie that was changed, is too old, or has another secret', async t => {
  const [oldSecret, newSecret] = [
    'yN3vQ0b9Xh2mT7rKcW5sZpLdAfGjUe8oIiVxRtB4nM1',
    'Qm8zLrT2wXcV5bNpH7yJ0kFgS4dAeU9iOoPx3CvBnMl'
  ]
  const made = await (await createApp(t, { guesses: { deviceSecret: oldSecret } })).login({ password: right })
  const device = cookieOf(made)
  const value = device.split('=')[1] ?? ''
  const flipped = Array.from(
    value,
    (letter, i) => value.slice(0, i) + (letter === 'A' ? 'B' : 'A') + value.slice(i + 1)
  )
  const known = async (guesses: LimitsOptions['guesses'], cookies: readonly string[], seconds = 0) => {
    const { login } = await createApp(t, { guesses: { ...guesses === false ? {} : guesses, perAddress: 1 } })
    await login({ user: 'nobody' })
    later(seconds)
    if (seconds > 0) await login({ user: 'nobody' })
    const answers = await Promise.all(
      cookies.map(async each => login({ password: right, cookie: `__Host-gatehouse-device=${each}` }))
    )
    return statuses(answers).filter(status => status === 200).length
  }
  t.equal(await known({ deviceSecret: oldSecret }, [value]), 1)
  t.equal(
    await known({ deviceSecret: [newSecret, oldSecret] }, [value]), 1,
    'a device that was remembered with the older secret is still known'
  )
  t.equal(await known({ deviceSecret: newSecret }, [value]), 0)
  t.equal(await known({}, [value]), 0, 'without a secret, another start knows no device')
  t.equal(
    await known(
      { deviceSecret: oldSecret },
      [
        ...flipped,
        `${value}=`,
        `${value}A`,
        value.slice(0, -4),
        value.replaceAll('_', '/'),
        'A',
        'A'.repeat(5_000),
        value.repeat(2)
      ].filter(each => each !== value)
    ),
    0
  )
  t.equal(await known({ deviceSecret: oldSecret }, [value], 91 * 86_400), 0)
})

t.test('counts in an approximate sketch if the memory store is full, never too low', async t => {
  const { login, evaluated } = await createApp(
    t,
    { guesses: { perAddress: 100_000 } },
    { store: memoryStore({ maxCounters: 10 }) }
  )
  for (let i = 0; i < 5; i++) await login({ user: 'early' })
  for (let i = 0; i < 500; i++) t.equal((await login({ user: `other${i}` })).statusCode, 401)
  for (let i = 0; i < 7; i++) await login({ user: 'victim' })
  t.equal(evaluated.get('victim'), 5, 'new names are counted')
  const locked = await login({ user: 'victim', password: right })
  t.equal(locked.statusCode, 429)
  t.ok(Number(locked.headers['retry-after']) > 60, 'and wait for the end of the longest window')
  t.equal((await login({ user: 'early' })).statusCode, 429, 'old names keep their counts')
  for (let i = 0; i < 20; i++) {
    t.equal(
      (await login({ user: 'honest', password: right })).statusCode,
      200,
      'a success gives its slot back there too'
    )
  }
  later(70)
  t.equal(
    (await login({ user: 'victim', password: right })).statusCode,
    429,
    'what was counted there stays when the store has room again'
  )
  t.equal(evaluated.get('victim'), 5)
  later(900)
  t.equal((await login({ user: 'victim', password: right })).statusCode, 200)
})

t.test('keeps the count of a name in the sketch after the store has room again', async t => {
  const store = memoryStore({ maxCounters: 1 })
  const { login, evaluated } = await createApp(t, { guesses: { perAddress: 100_000 } }, { store })
  await login({ user: 'first' })
  for (let i = 0; i < 3; i++) await login({ user: 'victim' })
  later(61)
  for (let i = 0; i < 5; i++) await login({ user: 'victim' })
  t.equal(evaluated.get('victim'), 5)
})

t.test('answers 503 with Retry-After if the store is unavailable, without checking a password', async t => {
  const down = {
    ...memoryStore(),
    increment: async () => {
      throw new StoreUnavailable('failed', 'the connection is gone')
    }
  }
  const { ask, login, total, log } = await createApp(t, undefined, { store: down })
  for (const guess of [ask, login]) {
    const answer = await guess({ password: right })
    t.equal(answer.statusCode, 503)
    t.equal(answer.json().code, 'AUTH_UNAVAILABLE')
    t.equal(answer.headers['retry-after'], '5')
    t.notMatch(answer.body, /connection/)
  }
  t.equal(total(), 0)
  t.match(log.join(''), /the connection is gone/)
})

t.test('keeps the answer and the slot if the store fails after the check', async t => {
  const memory = memoryStore()
  const failing = { ...memory, decrement: async () => { throw new StoreUnavailable('failed', 'gone') } }
  const { login, log } = await createApp(t, undefined, { store: failing })
  for (let i = 0; i < 5; i++) t.equal((await login({ password: right })).statusCode, 200)
  t.equal((await login({ password: right })).statusCode, 429)
  t.match(log.join(''), /a count of guesses could not be written/)
})

t.test('fails with 500 if a custom store throws anything but an AuthError', async t => {
  const broken = {
    ...memoryStore(),
    increment: async () => {
      throw new TypeError('secret text')
    },
    decrement: async () => {
      throw new TypeError('secret text')
    }
  }
  const { ask, login, total } = await createApp(t, undefined, { store: broken })
  for (const guess of [ask, login]) {
    const answer = await guess({ password: right })
    t.ok(answer.statusCode >= 500)
    t.notMatch(answer.body, /secret text/)
  }
  t.equal(total(), 0)
})

t.test('limits.guesses: false counts nothing, and still refuses cross-site requests', async t => {
  const { login, ask, total } = await createApp(t, { guesses: false })
  for (let i = 0; i < 20; i++) t.equal((await (i % 2 === 0 ? ask : login)()).statusCode, 401)
  t.equal(total(), 20)
  t.equal((await login({ headers: { 'sec-fetch-site': 'cross-site' } })).statusCode, 403)
  t.equal((await login({ password: right })).headers['set-cookie'], undefined)
})

t.test('applies every option', async t => {
  const { login } = await createApp(t, { guesses: { perAccount: 2, perAddress: 3, window: '10s', longestWindow: 15 } })
  const waits = async (user: string) => {
    const answers = [
      await login({ user, address: address(1) }),
      await login({ user, address: address(2) }),
      await login({ user, address: address(3) })
    ]
    return [...statuses(answers), Number(answers[2]?.headers['retry-after'])]
  }
  t.same(await waits('a'), [401, 401, 429, 10])
  later(11)
  t.same(await waits('a'), [401, 401, 429, 15])
})

t.test('does not lock out authenticated callers of a locked account', async t => {
  const app = Fastify()
  const key = 'kX3vQ0b9Xh2mT7rKcW5sZpLdAfGjUe8oIiVxRtB4nM1'
  const { apiKey } = await import('../../lib/index.js')
  await app.register(plugin, {
    schemes: { ops: basic({ verify: () => null }), service: apiKey({ keys: { [key]: { id: 'alice' } } }) },
    default: ['ops', 'service']
  })
  app.get('/', async () => 'in')
  for (let i = 0; i < 8; i++) {
    await app.inject({ url: '/', headers: { authorization: `Basic ${Buffer.from('alice:x').toString('base64')}` } })
  }
  t.equal((await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode, 200)
  for (let i = 0; i < 20; i++) {
    t.equal(
      (await app.inject({ url: '/', headers: { 'x-api-key': 'no such key' } })).statusCode,
      401,
      'keys are not guesses'
    )
  }
  await app.close()
})

t.test('warns at boot about trustProxy mistakes, with the fix', async t => {
  const warnings = async (trustProxy: FastifyServerOptions['trustProxy'], child = false) => {
    const log: string[] = []
    const app = Fastify({
      ...(trustProxy === undefined ? {} : { trustProxy }),
      logger: {
        level: 'warn',
        stream: {
          write: (line: string) => {
            log.push(line)
          }
        }
      }
    })
    const options = { schemes: { ops: basic({ verify: () => null }) }, outside: 'allow' as const }
    if (child) await app.register(async inner => { await inner.register(plugin, options) })
    else await app.register(plugin, options)
    await app.ready()
    await app.close()
    return log.filter(line => line.includes('trustProxy')).join('')
  }
  t.match(await warnings(true), /trustProxy is true.*X-Forwarded-For.*trustProxy: '10\.0\.0\.0\/8'/)
  t.match(await warnings(true, true), /trustProxy is true/)
  t.match(await warnings(1 as never), /trustProxy is a number \(trustProxy: 1\).*share its guesses/)
  for (const fine of [undefined, false, '10.0.0.0/8', ['loopback'], () => false]) t.equal(await warnings(fine), '')
})

t.test('stops the boot for wrong limits, and names the option', async t => {
  const table: ReadonlyArray<readonly [unknown, RegExp]> = [
    [null, /The option limits must be an object/],
    [{ guess: {} }, /unknown key 'guess'.*Did you mean 'guesses'/],
    [{ guesses: true }, /limits\.guesses must be false, or an object/],
    [{ guesses: null }, /limits\.guesses must be false/],
    [{ guesses: { perUser: 1 } }, /unknown key 'perUser'/],
    [{ guesses: { perAccount: 0 } }, /perAccount must be a whole number, 1 or more/],
    [{ guesses: { perAddress: 1.5 } }, /perAddress must be a whole number, 1 or more/],
    [{ guesses: { perAddress: '5' } }, /perAddress must be a whole number, 1 or more/],
    [{ guesses: { window: 'soon' } }, /guesses\.window must be a number of seconds/],
    [{ guesses: { window: 0 } }, /guesses\.window must be at least 1 second and at most 7 days/],
    [{ guesses: { longestWindow: '8d' } }, /longestWindow must be at least 1 second and at most 7 days/],
    [{ guesses: { window: '1h' } }, /longestWindow is shorter than its window/],
    [{ guesses: { deviceSecret: 'short' } }, /deviceSecret is too short/],
    [{ guesses: { deviceSecret: [] } }, /deviceSecret is an empty list/],
    [{ guesses: { deviceSecret: ['a'] } }, /deviceSecret\[0\] is too short/],
    [{ guesses: { deviceSecret: undefined } }, /'deviceSecret' set to undefined/],
    [{ requests: 5 }, /limits\.requests must be an object/],
    [{ requests: { max: 0, window: 1 } }, /requests\.max must be a whole number, 1 or more/],
    [{ requests: { max: 1, window: '0s' } }, /requests\.window must be more than 0 seconds/],
    [{ redis: 'redis://localhost' }, /limits\.redis must be a client of ioredis/],
    [{ redis: {} }, /limits\.redis must be a client of ioredis/]
  ]
  for (const [limits, message] of table) {
    const app = Fastify()
    await t.rejects(
      async () => {
        await app.register(plugin, {
          schemes: { ops: basic({ verify: () => null }) },
          limits: limits as LimitsOptions
        })
      },
      { code: 'AUTH_MISCONFIGURED', message }
    )
    await app.close()
  }
})

t.test('prepares the option store at boot, and names it if that fails', async t => {
  const boot = async (store: unknown) => {
    const app = Fastify()
    try {
      await app.register(plugin, { schemes: { ops: basic({ verify: () => null }) }, store: store as Store })
      await app.ready()
    } finally {
      await app.close()
    }
  }
  await t.rejects(boot({ ...memoryStore(), swap: undefined }), {
    code: 'AUTH_MISCONFIGURED',
    message: /The option store must be.*It has no swap\(\)/
  })
  await t.rejects(boot('redis://localhost'), { code: 'AUTH_MISCONFIGURED', message: /The option store must be/ })
  await t.rejects(
    boot({
      ...memoryStore(),
      migrate: async () => {
        throw new StoreUnavailable('failed', 'migrate failed: ECONNREFUSED')
      }
    }),
    { code: 'AUTH_MISCONFIGURED', message: /The option store is not ready \(store: migrate failed: ECONNREFUSED\)/ }
  )
  await t.rejects(
    boot({
      ...memoryStore(),
      migrate: async () => {
        throw new Error('postgres://me:hunter2@db')
      }
    }),
    { code: 'AUTH_MISCONFIGURED', message: /not ready \(store: migrate failed: Error\)/ }
  )
  let closed = 0
  await boot({ ...memoryStore(), close: async () => { closed++ } })
  t.equal(closed, 0, 'the application closes its own store')
})
