import t from 'tap'
import { fakeIssuer } from '../../lib/testing/index.js'
import type { FakeIssuerOptions } from '../../lib/testing/index.js'
import { clock, createApp, routes, serve, until } from './remote-app.js'

const audience = 'https://api.example.com'
const oauth = '/.well-known/oauth-authorization-server'
const openid = '/.well-known/openid-configuration'

t.test('finds the metadata at each well-known location', async t => {
  for (const options of [
    {}, { metadata: 'oauth' }, { path: '/one', metadata: 'oauth' }, { path: '/one' },
    { path: '/one', metadata: 'openid-inserted' }, { path: '/one/two/', metadata: 'openid' }
  ] as const satisfies readonly FakeIssuerOptions[]) {
    await using provider = await fakeIssuer({ algorithms: ['ES256'], ...options })
    const { statuses } = await createApp(t, { issuer: provider.issuer, audience: provider.audience })
    t.same(await statuses(provider.token()), [200], JSON.stringify(options))
    t.equal(provider.requests.metadata, 1)
  }
})

t.test('keeps a trailing slash of the issuer, and drops it in the paths', async t => {
  await using keys = await fakeIssuer({ algorithms: ['ES256'] })
  const documents: Record<string, unknown> = {}
  const paths: string[] = []
  const host = await serve(t, routes(documents, paths))
  const issuer = `http://${host}/tenant/`
  documents[`/tenant${openid}`] = { issuer, jwks_uri: keys.jwksUri }
  const { statuses } = await createApp(t, { issuer, audience })
  t.same(await statuses(keys.token({ iss: issuer })), [200], 'with the keys on another host')
  t.same(paths, [`${oauth}/tenant`, `/tenant${openid}`])
  const other = await createApp(t, { issuer: `http://${host}/tenant`, audience })
  t.same(await other.statuses(keys.token({ iss: `http://${host}/tenant` })), [503])
  t.match(other.log.join(''), /another issuer, .*tenant\//)
})

t.test('tries the next location after an unusable answer, and remembers which one worked', async t => {
  await using keys = await fakeIssuer({ algorithms: ['ES256'] })
  const time = clock(t)
  const documents: Record<string, unknown> = {}
  const paths: string[] = []
  const host = await serve(t, routes(documents, paths))
  const issuer = `http://${host}/t`
  const good = { issuer, jwks_uri: keys.jwksUri }
  const bad = [undefined, { ...good, issuer: `${issuer}/` }, { ...good, issuer: [issuer] }, {
    ...good, issuer: undefined
  }, [good], 'text', { issuer }, { ...good, jwks_uri: 7 }, { ...good, jwks_uri: 'http://keys.example.com/jwks' },
  { ...good, jwks_uri: 'file:///etc/passwd' }, {
    ...good, jwks_uri: keys.jwksUri.replace('//', '//user:password@')
  }, { ...good, jwks_uri: 'not a URL' }]
  for (const [i, first] of bad.entries()) {
    documents[`${oauth}/t`] = first
    documents[`/t${openid}`] = i % 2 === 0 ? good : first
    documents[`${openid}/t`] = good
    const { statuses } = await createApp(t, { issuer, audience })
    t.same(await statuses(keys.token({ iss: issuer })), [200], JSON.stringify(first) ?? 'nothing')
    const worked = i % 2 === 0 ? `/t${openid}` : `${openid}/t`
    t.equal(paths.splice(0).at(-1), worked)
    time.advance(3600)
    await statuses(keys.token({ iss: issuer }))
    await until(() => paths.length > 0)
    t.same(paths.splice(0), [worked], 'it is tried first when the metadata is fetched again')
  }
  for (const path of Object.keys(documents)) documents[path] = undefined
  const { ask, log } = await createApp(t, { issuer, audience })
  t.match(await ask(keys.token({ iss: issuer })), { status: 503, retryAfter: 1 })
  t.same(paths, [`${oauth}/t`, `/t${openid}`, `${openid}/t`])
  t.match(log.join(''), /no metadata of the issuer/)
})

t.test('stops the attempt at a location that does not answer, and starts the next with another', async t => {
  await using keys = await fakeIssuer({ algorithms: ['ES256'] })
  const time = clock(t)
  const documents: Record<string, unknown> = {}
  const paths: string[] = []
  const host = await serve(t, routes(documents, paths))
  const issuer = `http://${host}`
  documents[oauth] = (request: { socket: { destroy(): void } }) => { request.socket.destroy() }
  documents[openid] = { issuer, jwks_uri: keys.jwksUri }
  const { statuses } = await createApp(t, { issuer, audience })
  t.same(await statuses(keys.token({ iss: issuer })), [503])
  t.same(paths, [oauth])
  time.advance(1)
  t.same(await statuses(keys.token({ iss: issuer })), [200])
  t.same(paths, [oauth, openid])
})

t.test('repeats discovery after the keys could not be fetched from the known jwks_uri', async t => {
  await using one = await fakeIssuer({ algorithms: ['ES256'] })
  await using two = await fakeIssuer({ algorithms: ['ES256'] })
  const time = clock(t)
  const documents: Record<string, unknown> = {}
  const host = await serve(t, routes(documents))
  const issuer = `http://${host}`
  documents[openid] = { issuer, jwks_uri: one.jwksUri }
  const { statuses } = await createApp(t, { issuer, audience })
  t.same(await statuses(one.token({ iss: issuer })), [200])
  one.fail('404')
  documents[openid] = { issuer, jwks_uri: two.jwksUri }
  t.same(await statuses(two.token({ iss: issuer }, { header: { kid: 'new' } })), [503])
  time.advance(30)
  t.same(
    await statuses(
      two.token({ iss: issuer }, { header: { kid: 'new' } }), two.token({ iss: issuer }), one.token({ iss: issuer })
    ),
    [401, 200, 401]
  )
})
