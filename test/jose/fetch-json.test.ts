import { Agent, request } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { fetchJson, sourceUrl } from '../../lib/jose/remote/fetch-json.js'
import { serve, until } from './remote-app.js'

const defaults = { timeout: 5_000, maxBytes: 1_000, agent: null }

async function get (host: string, options: object = {}): Promise<object> {
  return await fetchJson(new URL(`http://${host}/`), { ...defaults, signal: new AbortController().signal, ...options })
}

t.test('accepts only status 200 with a JSON media type, in any charset', async t => {
  let answer: { status?: number, type?: string | null, body?: string | Buffer, headers?: Record<string, string> } = {}
  const host = await serve(t, (_request, response) => {
    const { status = 200, type = 'application/json', body = '{"a":"ü"}', headers = {} } = answer
    response.writeHead(status, { ...type === null ? {} : { 'content-type': type }, ...headers }).end(body)
  })
  for (const type of [
    'application/json', 'APPLICATION/JSON; charset=ISO-8859-1', 'application/jwk-set+json',
    'application/json;charset=utf-16', 'application/json ; charset=utf-8', null
  ]) {
    answer = { type }
    t.same(await get(host), { status: 200, value: { a: 'ü' }, maxAge: null }, String(type))
  }
  for (const type of [
    'text/html', 'text/plain', 'application/octet-stream', 'application/jsonp', 'text/json', 'x/application/json', ''
  ]) {
    answer = { type }
    t.same(await get(host), { failure: 'the answer is not JSON by its content type', answered: true }, type)
  }
  for (const body of ['', '{', 'undefined', '{"a":1}x', gzipSync('{}')]) {
    answer = { body }
    t.same(await get(host), { failure: 'the answer is not JSON', answered: true })
  }
  for (const status of [201, 204, 206, 302, 304, 400, 401, 404, 500, 503]) {
    answer = { status, body: '', headers: { location: '/' } }
    t.same(await get(host), { failure: `the answer has status ${status}`, answered: true })
  }
  for (const body of ['null', '7', '"a"', '[]']) {
    answer = { body }
    t.match(await get(host), { value: JSON.parse(body) })
  }
  for (const [value, maxAge] of [
    ['max-age=60', 60], ['no-store, max-age=5', 5], ['s-maxage=7', null], ['max-age=-1', null], ['private', null]
  ] as const) {
    answer = { headers: { 'cache-control': value } }
    t.match(await get(host), { maxAge }, value)
  }
})

t.test('closes the connection of an answer that it refuses, whose body may have no end', async t => {
  let closed = 0
  const host = await serve(t, (_request, response) => {
    response.on('close', () => { closed++ }).writeHead(404).write('a')
  })
  t.match(await get(host, { timeout: 60_000 }), { failure: 'the answer has status 404' })
  const limit = Date.now() + 10_000
  await until(() => closed === 1 || Date.now() > limit)
  t.equal(closed, 1)
})

t.test('sends only the necessary headers, and no user agent', async t => {
  let received: IncomingMessage | null = null
  const host = await serve(t, (request, response) => { received = request; response.writeHead(200).end('{}') })
  await get(host)
  t.match(
    received, { method: 'GET', url: '/', headers: { accept: 'application/json', 'accept-encoding': 'identity', host } }
  )
  t.same(
    Object.keys((received as unknown as IncomingMessage).headers).sort(),
    ['accept', 'accept-encoding', 'connection', 'host', 'user-agent']
  )
})

t.test('counts bytes while reading, and closes the connection of a body that is too long', async t => {
  const closed: true[] = []
  const host = await serve(t, (_request, response) => {
    response.on('close', () => { closed.push(true) }).writeHead(200)
    const more = (): void => { while (response.write(' '.repeat(600))); }
    response.on('drain', more)
    more()
  })
  t.same(await get(host), { failure: 'the answer is longer than 1000 bytes', answered: true })
  await until(() => closed.length > 0)
  const exact = await serve(t, (_request, response) => { response.writeHead(200).end(`"${'a'.repeat(998)}"`) })
  t.match(await get(exact), { value: 'a'.repeat(998) })
})

t.test('times out before the head, within the head and within the body', async t => {
  for (const begin of [
    () => {}, (response: ServerResponse) => { response.socket?.write('HTTP/1.1 200 OK\r\ncontent-') },
    (response: ServerResponse) => { response.writeHead(200).write('{') }
  ]) {
    const host = await serve(t, (_request, response) => { begin(response) })
    t.same(await get(host, { timeout: 100 }), { failure: 'no complete answer within 0.1 seconds', answered: false })
    const abort = new AbortController()
    const fetching = get(host, { signal: abort.signal })
    setTimeout(() => { abort.abort() }, 20)
    t.match(await fetching, { failure: /^the connection failed/, answered: false })
  }
  t.match(await get('127.0.0.1:1', { signal: AbortSignal.abort() }), { failure: /^the connection failed/ })
})

t.test('reports only the code of a connection error', async t => {
  t.same(await get('127.0.0.1:1'), { failure: 'the connection failed (ECONNREFUSED)', answered: false })
  t.match(await get('name.invalid'), { failure: /^the connection failed \([A-Z_]+\)$/ })
  const broken = await serve(
    t, (_request, response) => { response.socket?.end('no HTTP, and some secret text\r\n\r\n') }
  )
  t.match(await get(broken), { failure: /^the connection failed \(HPE_[A-Z_]+\)$/, answered: false })
  const short = await serve(
    t, (_request, response) => { response.writeHead(200, { 'content-length': 100 }).write('{'); response.socket?.end() }
  )
  t.match(await get(short), { failure: /^the connection failed/, answered: false })
})

t.test('connects to no address that the lookup of the agent refused', async t => {
  let hits = 0
  const host = await serve(t, (_request, response) => { hits++; response.writeHead(200).end('{}') })
  const lookup = (_name: string, _options: object, done: (error: Error) => void): void => {
    done(new Error('10.0.0.1 is a private address'))
  }
  const agent = new Agent({ lookup: lookup as never })
  t.same(
    await get(`localhost:${host.split(':')[1]}`, { agent }), { failure: 'the connection failed', answered: false }
  )
  t.equal(hits, 0)
})

/** Returns an agent that keeps a connection to a host open. */
async function keptAlive (t: Test, host: string): Promise<Agent> {
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => { agent.destroy() })
  await new Promise<void>(
    resolve => {
      request(
        `http://${host}/`, { agent }, response => { response.resume().on('end', () => { setImmediate(resolve) }) }
      ).end()
    }
  )
  return agent
}

t.test('retries once if a kept-alive connection was closed by the server', async t => {
  let hits = 0
  const host = await serve(t, (_request, response) => {
    hits++
    if (hits === 2) response.socket?.destroy()
    else response.writeHead(200).end('{}')
  })
  const agent = await keptAlive(t, host)
  t.match(await get(host, { agent }), { value: {} })
  t.equal(hits, 3)
})

t.test('does not retry once the answer has begun', async t => {
  let hits = 0
  const host = await serve(t, (_request, response) => {
    hits++
    if (hits === 1) {
      response.writeHead(200).end('{}')
      return
    }
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 })
    response.write('{', () => { setTimeout(() => { response.socket?.resetAndDestroy() }, 50) })
  })
  const agent = await keptAlive(t, host)
  t.same(await get(host, { agent }), { failure: 'the connection failed (ECONNRESET)', answered: false })
  await wait(50)
  t.equal(hits, 2)
})

t.test('accepts https, and http only on loopback or listed hosts', async t => {
  for (const url of [
    'https://id.example.com/a', 'http://localhost:1/', 'http://127.0.0.1/', 'http://127.9.9.9/', 'http://[::1]:3/',
    'http://keycloak:8080/x'
  ]) {
    t.ok(sourceUrl(url, ['keycloak']) instanceof URL, url)
  }
  for (const url of [
    'http://id.example.com/', 'http://keycloak.example.com/', 'http://127.0.0.1.example.com/',
    'http://localhost.example.com/', 'http://10.0.0.1/', 'ftp://localhost/', 'file:///etc/passwd', 'data:,{}',
    'nothing', '', 'https://a:b@id.example.com/', 'https://a@id.example.com/', 'https://:b@id.example.com/',
    'http://127.1.evil/', 'http://not-localhost/', 'http://evil.localhost/', 'http://evil.example/localhost'
  ]) {
    t.type(sourceUrl(url, ['keycloak']), 'string', url)
  }
})
