import { once } from 'node:events'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { apiKey, read, type CredentialSource, type Reading } from '../../lib/index.js'
import { createReader, readAuthorization } from '../../lib/kit/read-credential.js'
import { contextOf, listen, send } from '../fixtures/schemes.js'

/** Creates an application that reads from a source. Its requests return the text, or the kind of the outcome. */
function readingApp (from: CredentialSource | readonly CredentialSource[]) {
  const app = Fastify() as unknown as FastifyInstance
  const found: Reading[] = []
  app.get('/', async request => { found.push(read(request, from)); return {} })
  const last = (): string | undefined => {
    const one = found.pop()
    return typeof one === 'string' ? `=${one}` : one?.kind
  }
  const ask = async (headers: Record<string, string>, query = ''): Promise<string | undefined> => {
    await app.inject({ url: `/${query}`, headers })
    return last()
  }
  return { app, ask, last }
}

type Ask = ReturnType<typeof readingApp>['ask']

/** Asserts how each value of a header is read, and that nothing is read without the header. */
async function checkReads (t: Test, ask: Ask, header: string, cases: Readonly<Record<string, string>>): Promise<void> {
  for (const [value, expected] of Object.entries(cases)) t.equal(await ask({ [header]: value }), expected, value)
  t.equal(await ask({}), 'absent')
}

t.test('reads Bearer in any case, and only as a whole word', async t => {
  await checkReads(t, readingApp('bearer').ask, 'authorization', {
    'Bearer abc': '=abc',
    'bearer abc': '=abc',
    'BEARER abc': '=abc',
    'Bearer   abc  ': '=abc',
    'Bearer a.b-c_d~e+f/g==': '=a.b-c_d~e+f/g==',
    '': 'absent',
    ' ': 'absent',
    'Basic abc': 'absent',
    'Digest a="b", Bearer abc': 'absent',
    Bearerabc: 'absent',
    'Bearers abc': 'absent',
    Bear: 'absent',
    Bearer: 'invalid',
    'Bearer ': 'invalid',
    'Bearer    ': 'invalid',
    'Bearer a b': 'invalid',
    'Bearer a,b': 'invalid',
    'Bearer abc, Bearer abc': 'invalid',
    'Bearer abc, Basic def': 'invalid',
    'Bearer a=b': 'invalid',
    'Bearer =': 'invalid',
    'Bearer "abc"': 'invalid',
    'Bearer é': 'invalid'
  })
})

t.test('trims a header, and refuses one with two values', async t => {
  const { ask } = readingApp('header:X-Api-Key')
  await checkReads(
    t,
    ask,
    'x-api-key',
    {
      abc: '=abc',
      ' abc ': '=abc',
      'a=b;c': '=a=b;c',
      '': 'absent',
      '  ': 'absent',
      'a, b': 'invalid',
      'a,b': 'invalid',
      'a b': 'invalid',
      'a\tb': 'invalid'
    }
  )
  t.equal(await ask({ 'x-other': 'abc' }), 'absent')
})

t.test('reads a query parameter once, and never from the prototype', async t => {
  const { ask } = readingApp('query:key')
  for (const [query, expected] of Object.entries({
    '?key=abc': '=abc',
    '?key=a%20b': '=a b',
    '?a=b&key=abc': '=abc',
    '': 'absent',
    '?key=': 'absent',
    '?key': 'absent',
    '?KEY=abc': 'absent',
    '?key=abc&key=abc': 'invalid',
    '?key=abc&key=': 'invalid',
    '?key=&key=': 'invalid',
    '?k%65y=abc&key=abc': 'invalid'
  })) {
    t.equal(await ask({}, query), expected, query)
  }
  const { ask: constructor } = readingApp('query:constructor')
  t.equal(await constructor({}), 'absent')
  for (const query of [null, 'text', {}]) {
    t.same(read({ query } as never, 'query:key'), { kind: 'absent' }, 'whatever parser the application has')
  }
  t.same(
    read({ query: { key: { a: 1 } } } as never, 'query:key'),
    { kind: 'invalid', expired: false, detail: 'the query parameter key was sent more than once' }
  )
})

t.test('reads a cookie by its exact name, once', async t => {
  await checkReads(t, readingApp('cookie:token').ask, 'cookie', {
    'token=abc': '=abc',
    'a=b; token=abc; c=d': '=abc',
    'a=b;token=abc;': '=abc',
    ' token = abc ': '=abc',
    'token=a=b': '=a=b',
    'token="abc"': '="abc"',
    'token=': 'absent',
    token: 'absent',
    'a; token=abc': '=abc',
    'xtoken=abc': 'absent',
    'token2=abc': 'absent',
    'Token=abc': 'absent',
    'a=token=abc': 'absent',
    'token=abc; token=abc': 'invalid',
    'token=abc; token=': 'invalid',
    'token=; token=abc': 'invalid',
    'token=abc;a=b;token=def': 'invalid',
    ';;=;': 'absent'
  })
})

t.test('accepts a credential in one of several sources, and refuses different ones as ambiguous', async t => {
  const { ask } = readingApp(['bearer', 'header:x-api-key', 'cookie:key'])
  t.equal(await ask({}), 'absent')
  t.equal(await ask({ authorization: 'Bearer abc' }), '=abc')
  t.equal(await ask({ 'x-api-key': 'abc' }), '=abc')
  t.equal(await ask({ cookie: 'key=abc' }), '=abc')
  t.equal(await ask({ authorization: 'Bearer' }), 'invalid')
  t.equal(
    await ask({ authorization: 'Bearer abc', 'x-api-key': 'abc' }), '=abc',
    'the same credential in two sources counts as one'
  )
  t.equal(await ask({ authorization: 'Bearer abc', 'x-api-key': 'abd' }), 'invalid')
  t.equal(await ask({ authorization: 'Bearer', 'x-api-key': 'abc' }), 'invalid')
  t.equal(await ask({ 'x-api-key': 'abc', cookie: 'key=abc' }), '=abc')
  t.equal(await ask({ 'x-api-key': 'abc', cookie: 'key=abc; key=abc' }), 'invalid')
  t.equal(await ask({ authorization: 'Bearer abc', 'x-api-key': 'abc', cookie: 'key=abd' }), 'invalid')
  t.equal(await ask({ authorization: 'Basic abc', 'x-api-key': 'abc' }), '=abc')
})

t.test('stops the boot, or fails the call, for an invalid source', async t => {
  for (const from of [
    '', 'header', 'header:', 'header: x', 'header:a b', 'body:key', 'Bearer', 'cookie:a;b', 'query:', 'param:id',
    undefined, null, 7, {}
  ]) {
    t.throws(
      () => createReader(from, 'The option from of here'),
      { code: 'AUTH_MISCONFIGURED', message: /^The option from of here must be 'bearer', 'header:<name>'/ },
      String(from)
    )
    t.throws(() => createReader(['bearer', from], 'The option from of here'), { code: 'AUTH_MISCONFIGURED' })
    t.throws(
      () => read({ raw: { headers: {} } } as never, from as CredentialSource),
      { code: 'AUTH_MISCONFIGURED', message: /^from must be/ }
    )
  }
  t.throws(() => read({} as never, []), { code: 'AUTH_MISCONFIGURED' })
  t.throws(
    () => createReader([], 'The option from of here'), { code: 'AUTH_MISCONFIGURED', message: /at least one source/ }
  )
  t.throws(
    () => createReader(['bearer', 'bearer'], 'The option from of here'),
    { code: 'AUTH_MISCONFIGURED', message: /names a source twice/ }
  )
  t.throws(
    () => apiKey({ from: 'header:x y' as CredentialSource, verify: () => null })(
      Fastify() as unknown as FastifyInstance, 'service', contextOf()
    ),
    { message: /^The option schemes\.service\.from must be/ }
  )
  t.ok(
    Array.from(
      { length: 1100 },
      (_, i) => read({ raw: { headers: { [`x-${i}`]: 'abc' }, rawHeaders: [] } } as never, `header:x-${i}`)
    ).every(found => found === 'abc'),
    'there may be more places than are remembered'
  )
})

t.test('refuses a repeated header line and a repeated cookie name over a real socket', async t => {
  const bearer = readingApp('bearer')
  const header = readingApp('header:x-api-key')
  const cookie = readingApp('cookie:token')
  const cases: ReadonlyArray<readonly [ReturnType<typeof readingApp>, readonly string[], string]> = [
    [bearer, ['Authorization: Bearer abc'], '=abc'],
    [bearer, ['Authorization: Bearer abc', 'authorization: Bearer abc'], 'invalid'],
    [bearer, ['Authorization: Bearer abc', 'AUTHORIZATION: Bearer def'], 'invalid'],
    [bearer, ['Authorization: Bearer abc', 'Authorization: Basic def'], 'invalid'],
    [bearer, ['Authorization: Basic def', 'Authorization: Bearer abc'], 'invalid'],
    [bearer, ['Authorization: Bearer abc', 'Authorization:'], 'invalid'],
    [bearer, ['Authorization:', 'Authorization: Bearer abc'], 'invalid'],
    [bearer, ['Proxy-Authorization: Bearer def', 'Authorization: Bearer abc', 'X: Authorization'], '=abc'],
    [header, ['X-Api-Key: abc'], '=abc'],
    [header, ['X-Api-Key: abc', 'x-api-key: abc'], 'invalid'],
    [header, ['X-Api-Key: abc', 'X-Api-Key: def'], 'invalid'],
    [header, ['X-Api-Key: abc', 'X-Api-Key:'], 'invalid'],
    [header, ['X-Api-Key:', 'X-Api-Key: abc'], 'invalid'],
    [header, ['X-Api-Key: abc, def'], 'invalid'],
    [header, ['X-Api-Kez: def', 'X-Api-Key: abc'], '=abc'],
    [cookie, ['Cookie: a=b', 'Cookie: token=abc', 'Cookie: c=d'], '=abc'],
    [cookie, ['Cookie: token=abc', 'Cookie: token=abc'], 'invalid'],
    [cookie, ['Cookie: token=abc; a=b', 'Cookie: c=d; token=def'], 'invalid']
  ]
  const ports = new Map<unknown, number>()
  for (const place of [bearer, header, cookie]) ports.set(place, await listen(t, place.app))
  for (const [place, lines, expected] of cases) {
    t.equal((await send(ports.get(place) ?? 0, 'GET', '/', lines)).status, 200)
    t.equal(place.last(), expected, lines.join(' | '))
  }
})

t.test('accepts several cookie lines over HTTP/2, but no other repeated header', async t => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  app.get(
    '/',
    async request => [
      read(request, 'cookie:token'), read(request, 'header:x-api-key')
    ].map(found => typeof found === 'string' ? found : found.kind)
  )
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(async () => { client.close(); await app.close() })
  const ask = async (headers: Record<string, string | string[]>) => {
    const stream = client.request({ ':path': '/', ...headers })
    let body = ''
    stream.on('data', chunk => { body += String(chunk) })
    await once(stream, 'end')
    return JSON.parse(body) as string[]
  }
  t.same(await ask({ cookie: ['a=b', 'token=abc', 'c=d'] }), ['abc', 'absent'])
  t.same(await ask({ cookie: ['token=abc', 'token=def'] }), ['invalid', 'absent'])
  t.same(await ask({ cookie: 'token=abc', 'x-api-key': 'key' }), ['abc', 'key'])
  t.same(await ask({ 'x-api-key': ['key', 'key'] }), ['absent', 'invalid'])
})

t.test('reads a header of any content whole or not at all', async t => {
  const text = fc.string({
    unit: fc.integer({ min: 0x20, max: 0xff }).map(code => String.fromCharCode(code)), maxLength: 30
  })
  const requestWith = (name: string, value: string) => ({
    raw: { headers: { [name]: value }, rawHeaders: [name, value] }
  }) as never
  fc.assert(fc.property(text, value => {
    const header = read(requestWith('x-api-key', value), 'header:x-api-key')
    const bearer = read(requestWith('authorization', `Bearer ${value}`), 'bearer')
    const cookie = read(requestWith('cookie', `a=b; token=${value}`), 'cookie:token')
    for (const found of [header, bearer]) {
      if (typeof found === 'string' && (found !== value.trim() || /[\s,]/.test(found))) return false
    }
    return typeof cookie !== 'string' || value.replace(/^ +/, '').startsWith(cookie)
  }))
  for (const scheme of ['basic', 'bearer'] as const) {
    t.equal(
      readAuthorization(requestWith('authorization', `${scheme.toUpperCase()}  x y `), scheme),
      'x y',
      'as it stands, for the scheme to judge'
    )
  }
})
