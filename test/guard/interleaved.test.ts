import { randomBytes } from 'node:crypto'
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import { SignJWT } from 'jose'
import t from 'tap'
import { apiKey, authenticated, basic, invalid, jwt, read, type Scheme } from '../../lib/index.js'
import { createApplication } from '../fixtures/schemes.js'
import { size } from '../fixtures/size.js'

const people = 60
const total = size({ test: 2_500, short: 25_000, full: 100_000 })
const batch = 250

/** The state of a pseudorandom generator, by which each wait differs: none, a turn of the event loop, or a moment. */
let seed = 1
function chance (below: number): number {
  seed = (seed * 48_271) % 2_147_483_647
  return seed % below
}
const wait = (): Promise<unknown> | undefined => {
  const way = chance(20)
  return way < 12 ? undefined : way < 19 ? turn() : pause(chance(3))
}

/**
 * Returns a scheme that sometimes waits, and whose results differ, so that a guard that mixes up requests is noticed.
 */
function slow (name: string): Scheme {
  return {
    openapi: { type: 'apiKey', in: 'header', name },
    authenticate (request) {
      const sent = read(request, `header:${name}`)
      if (typeof sent !== 'string') return sent
      const answer = () =>
        sent.startsWith('no-') ? invalid('unknown') : authenticated({ id: sent, scopes: [`own:${sent}`] })
      const waiting = wait()
      return waiting === undefined ? answer() : waiting.then(answer)
    }
  }
}

t.test(
  'keeps identities apart across many interleaved requests, with synchronous and asynchronous schemes',
  async t => {
    const secret = randomBytes(32)
    const ids = Array.from({ length: people }, (_, i) => `user-${i}`)
    const keys = new Map(ids.map(id => [randomBytes(16).toString('hex'), { id, scopes: [`own:${id}`] }]))
    const keyOf = new Map([...keys].map(([key, { id }]) => [id, key]))
    const tokens = new Map(
      await Promise.all(
        ids.map(
          async id =>
            [
              id,
              await new SignJWT({ iss: 'id', aud: 'api', sub: id, scope: `own:${id}` })
                .setProtectedHeader({ alg: 'HS256' })
                .setExpirationTime('1h')
                .sign(secret)
            ] as const
        )
      )
    )
    const schemes = {
      key: apiKey({ keys }),
      token: jwt({ keys: secret, issuer: 'id', audience: 'api', cache: 16 }),
      mapped: jwt({
        from: 'header:x-token',
        keys: secret,
        issuer: 'id',
        audience: 'api',
        principal: async claims => {
          await wait()
          return { id: String(claims.sub), scopes: [`own:${String(claims.sub)}`] }
        }
      }),
      ops: basic({
        verify: async (id, password) => {
          await wait()
          return password === keyOf.get(id) ? { id, scopes: [`own:${id}`] } : null
        }
      }),
      slow: slow('x-slow'),
      second: slow('x-second')
    }
    const load = async (principal: { id: string; scopes: readonly string[] }) => {
      await wait()
      return { ...principal, roles: [`role:${principal.id}`] }
    }
    const { app } = await createApplication(
      {
        schemes: { ...schemes, loaded: { ...slow('x-loaded'), load } },
        default: ['slow', 'key', 'token', 'mapped', 'ops', 'loaded']
      },
      { logger: false }
    )

    /** Returns what one request sees at several moments, with other requests in between. */
    const show = async (request: FastifyRequest) => {
      const first = request.principal
      await wait()
      const { auth } = request
      await wait()
      if (request.principal !== first || auth.principal !== first) throw new Error('the caller changed')
      return {
        id: first?.id ?? null,
        scheme: auth.scheme,
        scopes: first?.scopes ?? [],
        roles: first?.roles ?? [],
        second: auth.all['second']?.principal.id,
        error: auth.error?.code ?? null,
        allows: first === null ? null : auth.allows({ scopes: `own:${first.id}` })
      }
    }
    app.get('/', show)
    app.get(
      '/own/:id',
      {
        config: {
          auth: {
            scopes: request => `own:${(request.params as { id: string }).id}`,
            when: async (principal, request) => {
              await wait()
              return principal.id === (request.params as { id: string }).id
            }
          }
        }
      },
      show
    )
    app.get('/both', { config: { auth: { schemes: [{ all: ['slow', 'second'] }, 'key'] } } }, show)
    app.get('/try', { config: { auth: { mode: 'try' } } }, show)

    const ways: Record<string, (id: string) => Record<string, string>> = {
      key: id => ({ 'x-api-key': keyOf.get(id) ?? '' }),
      token: id => ({ authorization: `Bearer ${tokens.get(id) ?? ''}` }),
      mapped: id => ({ 'x-token': tokens.get(id) ?? '' }),
      ops: id => ({ authorization: `Basic ${Buffer.from(`${id}:${keyOf.get(id) ?? ''}`).toString('base64')}` }),
      slow: id => ({ 'x-slow': id }),
      loaded: id => ({ 'x-loaded': id })
    }
    const names = Object.keys(ways)
    const wrong: unknown[] = []
    const counts = { ok: 0, refused: 0 }

    const one = async (): Promise<void> => {
      const id = ids[chance(people)] as string
      const other = ids[chance(people)] as string
      const scheme = names[chance(names.length)] as string
      const headers = ways[scheme]?.(id) ?? {}
      const check = async (
        url: string,
        more: Record<string, string>,
        status: number,
        expected: Record<string, unknown>
      ): Promise<void> => {
        const answer = await app.inject({ url, headers: { ...headers, ...more } })
        const body = answer.json() as Record<string, unknown>
        const as =
          answer.statusCode === status &&
          Object.entries(expected).every(([key, value]) => JSON.stringify(body[key]) === JSON.stringify(value))
        if (!as && wrong.length < 5) wrong.push({ url, id, scheme, status: answer.statusCode, body, expected })
        counts[status === 200 ? 'ok' : 'refused']++
      }
      const self = {
        id,
        scheme,
        scopes: [`own:${id}`],
        roles: scheme === 'loaded' ? [`role:${id}`] : [],
        allows: true,
        error: null
      }
      switch (chance(6)) {
        case 0:
          return check(`/own/${id}`, {}, 200, self)
        case 1:
          return id === other
            ? check('/', {}, 200, self)
            : check(`/own/${other}`, {}, 403, { code: 'AUTH_ACCESS_DENIED' })
        case 2:
          return check('/both', { 'x-slow': id, 'x-second': other, 'x-api-key': keyOf.get(other) ?? '' }, 200, {
            id,
            scheme: 'slow',
            second: other,
            scopes: [`own:${id}`]
          })
        case 3:
          return check('/try', { 'x-slow': `no-${id}` }, 200, {
            id: null,
            scheme: null,
            error: 'AUTH_INVALID_CREDENTIALS'
          })
        case 4:
          return check('/', { 'x-slow': `no-${other}` }, 401, { code: 'AUTH_INVALID_CREDENTIALS' })
        default:
          return check('/', {}, 200, self)
      }
    }
    for (let sent = 0; sent < total; sent += batch) await Promise.all(Array.from({ length: batch }, one))
    t.same(wrong, [])
    t.equal(counts.ok + counts.refused, total)
    t.ok(counts.ok > total / 2 && counts.refused > total / 10, `${counts.ok} let in, ${counts.refused} refused`)
  }
)
