import Fastify from 'fastify'
import t from 'tap'
import authPlugin, { session } from '../../lib/index.js'
import { createInstance } from '../schemes/session/app.js'
import { secret } from '../schemes/session/bare-app.js'

/** An application in a frame of another site had no session, because SameSite=Lax withholds its cookie there. */

const partitioned = /^__Host-web=[^;]*; Path=\/; HttpOnly; Secure; SameSite=None; Partitioned/
const framed = { session: { sameSite: 'none' } } as const
const own = { host: 'app.test', 'sec-fetch-site': 'same-origin', origin: 'http://app.test' }
const partner = { host: 'app.test', 'sec-fetch-site': 'cross-site', origin: 'https://partner.example' }

t.test('writes and removes a partitioned cookie with sameSite none', async t => {
  const { app, ask, enter } = await createInstance(framed)
  t.teardown(() => app.close())
  const { setCookie, cookie } = await enter()
  t.match(setCookie, partitioned)
  const { setCookies: [removal = ''] } = await ask('/logout', { cookie })
  t.match(removal, partitioned)
  t.match(removal, /Max-Age=0$/)
  t.match((await ask('/me', { method: 'GET', cookie: '__Host-web=forged' })).setCookies, [partitioned])
})

t.test('writes no partitioned cookie otherwise', async t => {
  for (const sameSite of ['lax', 'strict'] as const) {
    const { app, enter } = await createInstance({ session: { sameSite } })
    t.teardown(() => app.close())
    t.notMatch((await enter()).setCookie, /Partitioned|None/)
  }
})

t.test('admits the frame, and the site around it only if it is listed in origins', async t => {
  for (const origins of [[], ['https://partner.example']]) {
    const { app, ask, enter } = await createInstance({
      ...framed,
      gatehouse: { origins },
      after: async app => { app.post('/write', async () => ({})) }
    })
    t.teardown(() => app.close())
    const { cookie } = await enter({}, own)
    t.equal((await ask('/write', { cookie, headers: own })).status, 200)
    const allowed = origins.length > 0 ? 200 : 403
    t.equal((await ask('/write', { cookie, headers: partner })).status, allowed)
    t.equal((await ask('/login', { headers: partner })).status, allowed)
    t.equal((await ask('/write', { cookie, headers: { ...partner, origin: 'https://evil.example' } })).status, 403)
  }
})

t.test('refuses sameSite none without secure, and anything else, with AUTH_MISCONFIGURED', async t => {
  for (const options of [{ sameSite: 'none', secure: false }, { sameSite: 'None' }, { sameSite: null }]) {
    const app = Fastify()
    t.teardown(() => app.close())
    const schemes = { web: session({ secret: secret(), ...options } as never) }
    await t.rejects(
      async () => {
        await app.register(authPlugin, { schemes })
      },
      { code: 'AUTH_MISCONFIGURED', message: /schemes\.web\.sameSite/ }
    )
  }
})
