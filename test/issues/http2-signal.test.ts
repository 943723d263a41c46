import { once } from 'node:events'
import { connect, constants } from 'node:http2'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import authPlugin, { authenticated, type Scheme } from '../../lib/index.js'

/** The signal of a request that the client cancelled does not watch for the end of its credential. */

const day = 86_400_000

t.test('request.auth.signal does not watch an HTTP/2 request that was cancelled before', async t => {
  const watched = { now: 0, ever: 0 }
  const scheme: Scheme = {
    openapi: { type: 'http', scheme: 'test' },
    authenticate: () => authenticated({ id: 'ann' }, {
      expiresAt: new Date(Date.now() + day),
      onRevoked: () => {
        watched.now++
        watched.ever++
        return () => { watched.now-- }
      }
    })
  }
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  await app.register(authPlugin, { schemes: { test: scheme } })
  const requests: { cancelled: Promise<unknown>, ask: () => AbortSignal | null }[] = []
  let arrived = (): void => {}
  app.get('/', async (request, reply) => {
    reply.hijack()
    requests.push({ cancelled: once(reply.raw, 'close'), ask: () => request.auth.signal })
    arrived()
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(async () => { client.destroy(); await app.close() })
  const open = async () => {
    const next = new Promise<void>(resolve => { arrived = resolve })
    const stream = client.request({ ':path': '/' })
    stream.on('error', () => {})
    await next
    return stream
  }

  for (let i = 0; i < 300; i++) (await open()).close(constants.NGHTTP2_CANCEL)
  await Promise.all(requests.map(({ cancelled }) => cancelled))
  for (const { ask } of requests) t.equal(ask()?.aborted, false)
  t.same([requests.length, watched], [300, { now: 0, ever: 0 }])

  const stream = await open()
  requests.at(-1)?.ask()
  t.equal(watched.now, 1, 'a request that continues is watched')
  stream.close(constants.NGHTTP2_CANCEL)
  await requests.at(-1)?.cancelled
  t.equal(watched.now, 0, 'until it is cancelled')
})
