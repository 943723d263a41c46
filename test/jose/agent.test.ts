import { Agent as HttpAgent } from 'node:http'
import { Agent, createServer } from 'node:https'
import t from 'tap'
import { fakeIssuer } from '../../lib/testing/index.js'
import { selfSigned } from '../fixtures/certificate.js'
import { createApp, routes, serve } from './remote-app.js'

const audience = 'https://api.example.com'

t.test('fetches keys from a private certificate authority only with an agent that trusts it', async t => {
  await using keys = await fakeIssuer({ algorithms: ['ES256'] })
  const { cert, key } = selfSigned()
  const documents: Record<string, unknown> = {}
  const server = createServer({ cert, key }, routes(documents))
  const host = (await serve(t, () => {}, server)).replace('127.0.0.1', 'localhost')
  const issuer = `https://${host}`
  const jwks = await (await fetch(keys.jwksUri)).json()
  documents['/.well-known/openid-configuration'] = { issuer, jwks_uri: `${issuer}/jwks` }
  documents['/jwks'] = jwks
  const agent = new Agent({ ca: cert })
  t.teardown(() => { agent.destroy() })
  const trusting = await createApp(t, { issuer, audience, agent })
  t.same(await trusting.statuses(keys.token({ iss: issuer })), [200])
  const other = await createApp(t, { issuer, audience })
  t.same(await other.statuses(keys.token({ iss: issuer })), [503])
  t.match(other.log.join(''), /DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED/)
  const plain = await createApp(t, { issuer, audience, agent: new HttpAgent() })
  t.same(await plain.statuses(keys.token({ iss: issuer })), [503])
  t.match(plain.log.join(''), /ERR_INVALID_PROTOCOL/)
})

t.test('fetches from hosts in insecureHosts without TLS, through an agent', async t => {
  await using keys = await fakeIssuer({ algorithms: ['ES256'] })
  const hosts: string[] = []
  class Proxy extends HttpAgent {
    override createConnection (...[options, done]: Parameters<HttpAgent['createConnection']>) {
      hosts.push(`${options.host}:${String(options.port)}`)
      const { hostname, port } = new URL(keys.issuer)
      return super.createConnection({ ...options, host: hostname, port: Number(port) }, done)
    }
  }
  const agent = new Proxy()
  const { statuses } = await createApp(
    t,
    {
      issuer: 'http://keycloak:8080',
      audience,
      keys: 'http://keycloak:8080/jwks.json',
      insecureHosts: ['keycloak'],
      agent
    }
  )
  t.same(await statuses(keys.token({ iss: 'http://keycloak:8080' })), [200])
  t.same(hosts, ['keycloak:8080'])
})
