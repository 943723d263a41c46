import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { inspect } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { basic, type BasicOptions, type Scheme } from '../../../lib/index.js'
import { createApplication, handler, listen, createScheme, send } from '../../fixtures/schemes.js'

const encode = (text: string | Uint8Array): string => Buffer.from(text as string).toString('base64')
const authorization = (name: string, password: string): Record<string, string> => ({
  authorization: `Basic ${encode(`${name}:${password}`)}`
})

async function made (options: unknown, name = 'ops'): Promise<Scheme> {
  return (await createScheme(basic(options as BasicOptions), Fastify() as unknown as FastifyInstance, name)).scheme
}

/** Creates an application whose `verify` records its arguments and refuses everyone. */
async function createApp () {
  const checked: Array<readonly [string, string]> = []
  const { app } = await createApplication({
    schemes: {
      ops: basic({
        verify: (name, password) => {
          checked.push([name, password])
          return null
        }
      })
    }
  })
  const route = handler()
  app.get('/', route.handler)
  return { app, checked, route }
}

t.test('reads name and password as UTF-8, split at the first colon, in the normal form NFC', async t => {
  const { app, checked } = await createApp()
  const ask = async (headers: Record<string, string>) => {
    checked.length = 0
    await app.inject({ url: '/', headers })
    return checked[0]
  }
  t.same(
    await ask({ authorization: 'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==' }),
    ['Aladdin', 'open sesame'],
    'RFC 7617, 2'
  )
  t.same(await ask({ authorization: 'Basic dGVzdDoxMjPCow==' }), ['test', '123£'], 'RFC 7617, 2.1')
  t.same(await ask({ authorization: 'bAsIc dGVzdDoxMjPCow==' }), ['test', '123£'])
  t.same(await ask(authorization('ann', 'a:b::c')), ['ann', 'a:b::c'])
  t.same(await ask(authorization('Zoë', 'pässwörd 🔑')), ['Zoë', 'pässwörd 🔑'])
  t.same(await ask(authorization('Zoë'.normalize('NFD'), 'Å'.normalize('NFD'))), [
    'Zoë'.normalize('NFC'),
    'Å'.normalize('NFC')
  ])
  t.same(
    await ask(authorization('\ufeffann', 'x')),
    ['\ufeffann', 'x'],
    'a byte order mark is a character of the name'
  )
  t.same(await ask(authorization('ann', ' x ')), ['ann', ' x '], 'space is part of a password')
  t.same(await ask({ authorization: 'Basic YTpi' }), ['a', 'b'])
})

t.test('refuses what RFC 7617 does not allow, without calling verify', async t => {
  const { app, checked, route } = await createApp()
  const bad: Record<string, string> = {
    'no credential': 'Basic',
    'only space': 'Basic   ',
    'no base64': 'Basic a-b_',
    'base64 with space': 'Basic YTpi YTpi',
    'two joined': 'Basic YTpi, Basic YTpi',
    'padding alone': 'Basic ====',
    'no colon': `Basic ${encode('ann')}`,
    'no name': `Basic ${encode(':pass')}`,
    'no password': `Basic ${encode('ann:')}`,
    neither: `Basic ${encode(':')}`,
    'not UTF-8': `Basic ${encode(Uint8Array.of(0x61, 0x3a, 0xff, 0xfe))}`,
    'Latin-1': `Basic ${encode(Buffer.from('ann:pässwörd', 'latin1'))}`,
    'overlong UTF-8': `Basic ${encode(Uint8Array.of(0x61, 0x3a, 0xc0, 0x80))}`,
    'a long password': `Basic ${encode(`ann:${'a'.repeat(1025)}`)}`,
    'a long password of long characters': `Basic ${encode(`ann:${'é'.repeat(513)}`)}`
  }
  for (let code = 0; code < 0x20; code++) {
    bad[`the control character ${code} in a password`] = `Basic ${encode(`ann:a${String.fromCharCode(code)}b`)}`
  }
  bad['DEL in a name'] = `Basic ${encode('an\x7fn:pass')}`
  for (const [what, value] of Object.entries(bad)) {
    const answer = await app.inject({ url: '/', headers: { authorization: value } })
    t.same(
      [answer.statusCode, answer.json().code, answer.headers['www-authenticate']],
      [401, 'AUTH_INVALID_CREDENTIALS', 'Basic realm="ops", charset="UTF-8"'],
      what
    )
  }
  for (const value of ['Bearer YTpi', 'Basicx YTpi', 'BasicYTpi', 'Digest Basic YTpi']) {
    t.equal(
      (await app.inject({ url: '/', headers: { authorization: value } })).json().code,
      'AUTH_REQUIRED',
      `${value} is not Basic`
    )
  }
  t.same(checked, [])
  t.equal(route.reached, 0)
  t.equal((await app.inject({ url: '/', headers: authorization('ann', 'a'.repeat(1024)) })).statusCode, 401)
  t.equal(checked.length, 1, 'the longest password is asked about')
})

t.test('matches a table by name and password, without revealing which one was wrong', async t => {
  const users = {
    ann: { password: 'correct horse battery', scopes: ['a'], roles: ['r'], team: 7 },
    Zoë: { password: 'pä'.normalize('NFD') + 'sswörter' },
    constructor: { password: 'no prototype' }
  }
  const { app, log } = await createApplication({ schemes: { ops: basic({ users }) } })
  app.get('/', async request => ({
    principal: request.principal,
    at: request.auth.authenticated ? request.auth.authenticatedAt : null
  }))
  const ask = async (name: string, password: string) =>
    app.inject({ url: '/', headers: authorization(name, password) })
  const before = Date.now()
  const ann = (await ask('ann', 'correct horse battery')).json()
  t.same(
    ann.principal,
    { id: 'ann', realm: 'ops', scopes: ['a'], roles: ['r'], team: 7 },
    'the password is not a part of the principal'
  )
  t.ok(Date.parse(ann.at) >= before && Date.parse(ann.at) <= Date.now(), 'whoever sends a password authenticates now')
  t.match((await ask('Zoë'.normalize('NFD'), 'pässwörter')).json(), { principal: { id: 'Zoë' } })
  t.equal((await ask('constructor', 'no prototype')).statusCode, 200)
  const wrong = await Promise.all([
    ask('ann', 'correct horse batterz'),
    ask('nobody', 'correct horse battery'),
    ask('toString', 'x'),
    ask('__proto__', 'x'),
    ask('ANN', 'correct horse battery'),
    ask('ann', 'correct horse battery '),
    ask('ann', 'Correct horse'),
    ask('ann', 'no prototype')
  ])
  const shown = wrong.map(({ statusCode, headers, body }) => inspect([statusCode, { ...headers, date: '' }, body]))
  t.equal(new Set(shown).size, 1, 'all refusals are the same')
  t.match(wrong[0], { statusCode: 401 })
  t.equal(new Set(log.filter(line => line.msg === 'request refused').map(line => line.auth?.reason)).size, 1)
})

t.test('an unknown user costs as much as a known one: one hash, one comparison', async t => {
  const scheme = await made({
    users: { ann: { password: 'correct horse battery' }, bob: { password: 'battery staple' } }
  })
  const work: string[] = []
  const { hash, timingSafeEqual } = crypto
  Object.assign(crypto, {
    hash: (...args: Parameters<typeof hash>) => {
      work.push(`hash of ${String(args[1]).length}`)
      return hash(...args)
    },
    timingSafeEqual: (...args: Parameters<typeof timingSafeEqual>) => {
      work.push(`comparison of ${args[0].byteLength}`)
      return timingSafeEqual(...args)
    }
  })
  syncBuiltinESMExports()
  t.teardown(() => { Object.assign(crypto, { hash, timingSafeEqual }); syncBuiltinESMExports() })
  const workOf = async (name: string, password: string): Promise<readonly string[]> => {
    work.length = 0
    const value = authorization(name, password)['authorization'] ?? ''
    await scheme.authenticate({
      raw: { headers: { authorization: value }, rawHeaders: ['authorization', value] }
    } as never)
    return [...work]
  }
  const known = await workOf('ann', 'wrong password')
  t.match(known, [/^hash of \d+$/, 'comparison of 32'])
  t.same(await workOf('nobody', 'wrong password'), known)
  t.same(await workOf('bob', 'wrong password'), known)
  t.same((await workOf('ann', 'correct horse battery')).map(each => each.split(' ')[0]), ['hash', 'comparison'])
})

t.test('calls verify with name, password and request, and answers 500 if it throws', async t => {
  const answers: Record<string, () => unknown> = {
    ann: () => ({ id: '7', realm: 'https://id.test', name: 'Ann' }),
    later: async () => ({ id: 'later' }),
    query: () => ({ then: (done: (value: unknown) => void) => { done({ id: 'query' }) } }),
    null: () => null,
    nobody: async () => null,
    undefined: () => undefined,
    later_undefined: async () => undefined,
    notValid: () => ({ valid: false }),
    true: () => true,
    throws: () => { throw new Error('secret cause') },
    rejects: async () => { throw new Error('secret cause') }
  }
  const urls: string[] = []
  const { app, log } = await createApplication({
    schemes: {
      ops: basic({
        verify: (name, _password, request) => {
          urls.push(request.url)
          return answers[name]?.() as null
        }
      })
    }
  })
  app.get('/', async request => request.principal)
  const ask = async (name: string) => {
    const { statusCode, body } = await app.inject({ url: '/', headers: authorization(name, 'x') })
    return [statusCode, JSON.parse(body)]
  }
  t.same(await ask('ann'), [200, { id: '7', realm: 'https://id.test', name: 'Ann', scopes: [], roles: [] }])
  t.match(await ask('later'), [200, { id: 'later', realm: 'ops' }])
  t.match(await ask('query'), [200, { id: 'query' }])
  for (const name of ['null', 'nobody', 'undefined', 'later_undefined', 'notValid']) {
    t.match(await ask(name), [401, { code: 'AUTH_INVALID_CREDENTIALS' }])
  }
  for (const name of ['true', 'throws', 'rejects']) {
    t.match(await ask(name), [500, { code: 'AUTH_FAULT', message: 'Internal Server Error' }], name)
  }
  t.equal(log.filter(line => line.msg === 'authentication fault' && line.err !== undefined).length, 3)
  t.same(urls[0], '/')
})

t.test('sends realm and charset in the challenge, and none if another password would not help', async t => {
  for (const [options, realm] of [
    [{}, 'ops'],
    [{ realm: 'the "desk" \\ x' }, 'the \\"desk\\" \\\\ x'],
    [{ realm: 'Büro' }, 'Büro'],
    [{ realm: '' }, '']
  ] as const) {
    const { app } = await createApplication({ schemes: { ops: basic({ verify: () => ({ id: 'ann' }), ...options }) } })
    app.get('/', { config: { auth: { roles: 'admin' } } }, handler().handler)
    t.equal((await app.inject('/')).headers['www-authenticate'], `Basic realm="${realm}", charset="UTF-8"`)
    const denied = await app.inject({ url: '/', headers: authorization('ann', 'x') })
    t.equal(denied.statusCode, 403)
    t.notOk('www-authenticate' in denied.headers, 'a browser would ask for a password again')
  }
})

t.test('stops the boot for a wrong option, and names it without showing a password', async t => {
  const verify = () => null
  const user = { password: 'correct horse battery' }
  const wrong: ReadonlyArray<readonly [unknown, RegExp]> = [
    [undefined, /^The options of schemes\.ops must be an object/],
    [{}, /must have exactly one of verify, users and find/],
    [{ verify, users: { ann: user } }, /must have exactly one of verify, users and find/],
    [{ user: {} }, /unknown key 'user'\. Did you mean 'users'/],
    [{ users: undefined }, /'users' set to undefined/],
    [{ users: {} }, /\.users must be .* with at least one user/],
    [{ users: [user] }, /\.users must be an object/],
    [{ users: null }, /\.users must be an object/],
    [{ verify: 'x' }, /\.verify must be a function/],
    [{ verify, realm: 7 }, /\.realm must be a string/],
    [{ verify, realm: '注文' }, /\.realm has a character that no header can carry/],
    [{ verify, realm: 'a\r\nb' }, /\.realm has a character that no header can carry/],
    [{ verify, load: 7 }, /\.load must be a function/],
    [{ users: { 'a:b': user } }, /^The user 'a' of .* a name that HTTP Basic cannot carry/],
    [{ users: { '': user } }, /HTTP Basic cannot carry/],
    [{ users: { 'a\nb': user } }, /HTTP Basic cannot carry/],
    [
      { users: { ann: 'correct horse battery' } },
      /^The user 'ann' of .* must be \{ password, scopes, roles \}; the password is missing/
    ],
    [{ users: { ann: { password: undefined } } }, /the password is undefined/],
    [{ users: { ann: { password: 'short77' } } }, /too short: it has 7 bytes and needs at least 12/],
    [{ users: { ann: { password: 'x'.repeat(1025) } } }, /longer than 1024 bytes/],
    [{ users: { ann: { password: 'correct\nhorse' } } }, /control characters/],
    [{ users: { Zoë: user, ['Zoë'.normalize('NFD')]: user } }, /two names that are equal/],
    [{ users: { ann: { ...user, scopes: 'a' } } }, /scopes of a principal must be a list of strings/]
  ]
  for (const [options, message] of wrong) {
    const error = await made(options).then(() => null, (error: unknown) => error)
    t.match(error, { code: 'AUTH_MISCONFIGURED', message }, String(message))
    t.notMatch(inspect(error, { showHidden: true }), /correct horse battery|short77/)
  }
})

t.test('stops the boot for an easily guessed password, without showing it', async t => {
  const guessable: ReadonlyArray<readonly [name: string, password: string, reason: RegExp]> = [
    ['ann', 'password', /too short: it has 8 bytes and needs at least 12/],
    ['ann', '12345678', /too short/],
    ['ann', 'abababababababab', /repeats few characters/],
    ['deploy', 'deploydeploy', /attackers try first/],
    ['gatehouse', 'GateHouse-ops', /little more than the user's name/],
    ['stephanopoulos', 'stephanopoulos', /little more than the user's name/],
    ['kqz', 'welcomekqzvxj', /little more than the user's name/],
    ['ann', 'password1234', /attackers try first/],
    ['ann', 'P@ssw0rd1234', /attackers try first/],
    ['ann', '123456789012', /attackers try first/],
    ['ann', 'qwertyuiop12', /attackers try first/],
    ['ann', 'iloveyou1234', /attackers try first/],
    ['ann', 'administrator', /attackers try first/]
  ]
  for (const [name, password, reason] of guessable) {
    const error = await made({ users: { [name]: { password } } }).then(() => null, (error: Error) => error)
    t.match(error, { code: 'AUTH_MISCONFIGURED', message: reason }, password)
    if (name !== password && password !== 'password') t.notOk(error?.message.includes(password))
  }
  for (const password of ['correct horse battery', 'kT9$wq2LpX7v', 'grüne Wiese 42', 'pässwörter', 'an annotation']) {
    t.ok(await made({ users: { ann: { password } } }), password)
  }
  t.ok(
    await made({ users: { kq: { password: 'welcomekqzvxj' } } }),
    'two letters of the name may occur in the password by chance'
  )
})

t.test('keeps no passwords, and reads the table only once without changing it', async t => {
  const users: Record<string, { password: string; scopes: string[] }> = {
    ann: { password: 'correct horse battery', scopes: ['a'] }
  }
  const before = inspect(users)
  const scheme = await made({ users })
  t.equal(inspect(users), before)
  t.notMatch(inspect(scheme, { depth: 9, showHidden: true }), /correct horse battery/)
  t.notOk(Object.isFrozen(users['ann']) || Object.isFrozen(users['ann']?.scopes))
  t.match(scheme, { openapi: { type: 'http', scheme: 'basic' }, ambient: true, reportsAuthTime: true })
})

t.test('calls its own load', async t => {
  const { app } = await createApplication({
    schemes: {
      ops: basic({
        users: { ann: { password: 'correct horse battery' }, bob: { password: 'battery staple' } },
        load: principal => (principal.id === 'ann' ? { ...principal, roles: ['ops'] } : null)
      })
    }
  })
  app.get('/', async request => request.principal)
  t.match((await app.inject({ url: '/', headers: authorization('ann', 'correct horse battery') })).json(), {
    id: 'ann',
    roles: ['ops']
  })
  t.equal((await app.inject({ url: '/', headers: authorization('bob', 'battery staple') })).statusCode, 401)
})

t.test('refuses two Authorization lines over a real socket, in either order', async t => {
  const { app, checked, route } = await createApp()
  const port = await listen(t, app)
  const [one, two] = ['Authorization: Basic YTpi', 'authorization: Basic Yzpk']
  for (const lines of [
    [one, two],
    [two, one],
    [one, one],
    [one, 'Authorization: Bearer x'],
    ['Authorization: Bearer x', one]
  ]) { t.equal((await send(port, 'GET', '/', lines)).status, 401) }
  t.same(checked, [])
  t.equal(route.reached, 0)
})
