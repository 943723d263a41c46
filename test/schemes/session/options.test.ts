import Fastify from 'fastify'
import t from 'tap'
import { unpack } from '../../../lib/schemes/session/cookie.js'
import { idOf } from '../../../lib/schemes/session/session.js'
import { session } from '../../../lib/schemes/session/scheme.js'
import { createScheme } from '../../fixtures/schemes.js'
import { secret } from './bare-app.js'

const boot = async (options: unknown, name = 'web') =>
  await createScheme(session(options as Parameters<typeof session>[0]), Fastify(), name)

t.test('stops the boot for a wrong option, and names the scheme and the option', async t => {
  const good = secret()
  const load = () => null
  const cases: [string, unknown, RegExp][] = [
    ['nothing', undefined, /The options of schemes\.web must be an object with one or more of secret/],
    ['null', null, /must be an object/],
    ['an unset variable', { secret: undefined }, /The option schemes\.web\.secret is undefined/],
    ['no secret', {}, /secret is undefined/],
    ['an unset variable in a list', { secret: [good, undefined] }, /secret\[1\] is undefined/],
    ['an empty list', { secret: [] }, /secret is an empty list/],
    ['a number', { secret: 5 }, /secret must be a string/],
    ['a short secret', { secret: 'short' }, /secret is too short/],
    ['a weak secret', { secret: 'a'.repeat(64) }, /secret/],
    ['a typo', { secret: good, idleTimout: '1h' }, /have an unknown key 'idleTimout'\. Did you mean 'idleTimeout'/],
    ['a cookie name with a space', { secret: good, cookieName: 'a b' }, /cookieName/],
    ['a cookie name with its prefix', { secret: good, cookieName: '__host-a' }, /must not have a prefix/],
    ['a cookie name that is not a string', { secret: good, cookieName: 1 }, /cookieName/],
    ['secure in words', { secret: good, secure: 'false' }, /secure must be true or false/],
    [
      'SameSite=None without Secure',
      { secret: good, sameSite: 'none', secure: false },
      /sameSite cannot be 'none' where secure is false/
    ],
    ['a SameSite that is unknown', { secret: good, sameSite: 'None' }, /sameSite must be 'lax', 'strict' or 'none'/],
    ['a duration in words', { secret: good, idleTimeout: 'soon' }, /idleTimeout must be a number of seconds/],
    ['no time at all', { secret: good, idleTimeout: 0 }, /idleTimeout must be at least 1 second/],
    [
      'an absolute timeout below the idle one',
      { secret: good, idleTimeout: '2h', absoluteTimeout: '1h' },
      /absoluteTimeout is shorter than idleTimeout/
    ],
    ['a long session without load', { secret: good, absoluteTimeout: '25h' }, /above 24 hours, and without load/],
    [
      'a long kept session without load',
      { secret: good, keepTimeout: '25h' },
      /keepTimeout is above 24 hours, and without load/
    ],
    [
      'a kept session that is shorter than another',
      { secret: good, keepTimeout: '11h' },
      /keepTimeout is shorter than absoluteTimeout/
    ],
    [
      'an idle time of kept sessions where there are none',
      { secret: good, keepIdleTimeout: '1h' },
      /keepIdleTimeout needs keepTimeout, or load/
    ],
    [
      'kept sessions that idle shorter than others',
      { secret: good, load, keepIdleTimeout: '29m' },
      /keepIdleTimeout must be between idleTimeout and keepTimeout/
    ],
    [
      'kept sessions that idle longer than they live',
      { secret: good, load, keepTimeout: '2d', keepIdleTimeout: '3d' },
      /keepIdleTimeout must be between/
    ],
    ['a staleness in words', { secret: good, staleness: 'a while' }, /staleness must be a number of seconds/],
    [
      'a staleness of minutes',
      { secret: good, staleness: '2m' },
      /staleness must be at most 1 minute\. .*stays valid here/
    ],
    [
      'a login page elsewhere',
      { secret: good, loginPath: '//evil.example' },
      /loginPath must be a path of this application/
    ],
    ['a login page with a query', { secret: good, loginPath: '/login?a=1' }, /loginPath/],
    ['a login page that is not a string', { secret: good, loginPath: 1 }, /loginPath/],
    ['load that is not a function', { secret: good, load: {} }, /load must be a function/]
  ]
  for (const [what, options, message] of cases) {
    const error = await boot(options).then(() => null, each => each)
    t.match(error, { code: 'AUTH_MISCONFIGURED', message }, what)
    t.notOk(String(error?.message).includes(good), 'the message does not contain the secret')
  }
  await t.rejects(
    boot({ secret: good }, 'my scheme'),
    /schemes\.my scheme\.cookieName cannot be 'my scheme'; give a name of letters/
  )
  for (const key of [
    'cookieName',
    'secure',
    'sameSite',
    'idleTimeout',
    'absoluteTimeout',
    'keepTimeout',
    'keepIdleTimeout',
    'staleness',
    'loginPath',
    'load'
  ]) {
    await t.rejects(boot({ secret: good, [key]: undefined }), {
      code: 'AUTH_MISCONFIGURED',
      message: new RegExp(`The options of schemes\\.web have '${key}' set to undefined`)
    })
  }
  await t.rejects(boot(Object.assign(Object.create({ load }) as object, { secret: good })), /plain object/)
  await t.resolves(boot({ secret: good, load, absoluteTimeout: '30d' }))
  await t.resolves(boot({ secret: good, absoluteTimeout: '24h' }))
  await t.resolves(boot({ secret: good, keepTimeout: '24h', keepIdleTimeout: '24h', staleness: 0 }))
  await t.resolves(
    boot({ secret: good, load, absoluteTimeout: '40d', idleTimeout: '20d' }),
    'kept sessions live at least as long as others'
  )
})

t.test('does not mutate its options', async t => {
  const options = Object.freeze({ secret: Object.freeze([secret(), secret()]), loginPath: '/login' })
  await t.resolves(boot(options))
})

t.test('refuses an authentic payload of another version', t => {
  const payload = { v: 1, s: 's', r: 'web', i: 'alice', c: ['a'], o: [], a: 1, l: 2, e: 3 }
  t.match(unpack(payload, true), {
    secret: 's',
    id: idOf('s'),
    begunAt: 1,
    kept: false,
    principal: { realm: 'web', id: 'alice', scopes: ['a'], roles: [] },
    data: {}
  })
  for (const other of [
    { v: 2 },
    { s: 1 },
    { r: null },
    { i: '' },
    { a: '1' },
    { b: '1' },
    { l: '1' },
    { e: null },
    { m: [] },
    { d: 1 }
  ]) {
    t.equal(unpack({ ...payload, ...other }, true), null, JSON.stringify(other))
  }
  const { c, o, ...without } = payload
  t.same(unpack(without, true)?.principal.scopes, [], 'missing scopes are not scopes')
  t.end()
})
