import { createServer } from 'node:net'
import {
  Client, StreamableHTTPClientTransport, UnauthorizedError, type OAuthClientProvider, type OAuthDiscoveryState,
  type StoredOAuthClientInformation, type StoredOAuthTokens
} from '@modelcontextprotocol/client'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { jwt, session } from '../../lib/index.js'
import { oauthServer } from '../../lib/oauth/index.js'
import { movableClock } from '../fixtures/clock.js'
import { recordEvents } from '../fixtures/events.js'
import { pair, secretOf } from '../fixtures/tokens.js'
import { decide, login } from './app.js'

/** The MCP client starts with nothing but the URL of the endpoint, and discovers everything else. */

const callback = 'http://127.0.0.1:5010/callback'
const people = new Map([['ann', { id: 'ann', scopes: ['tools:use', 'orders:write'] }]])

/** The scope that a tool requires in addition to that of the endpoint. */
const toolScopes = new Map([['cancel', 'orders:write']])

function scopesOf ({ body }: FastifyRequest): string {
  const call = body as { readonly method?: string, readonly params?: { readonly name?: string } } | undefined
  return (call?.method === 'tools/call' ? toolScopes.get(call.params?.name ?? '') : undefined) ?? 'tools:use'
}

function serverFor (id: string): McpServer {
  const server = new McpServer({ name: 'orders', version: '1.0.0' })
  const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] })
  server.registerTool('whoami', { description: 'Who is calling' }, async () => text(id))
  server.registerTool('cancel', { description: 'Cancels an order' }, async () => text(`cancelled by ${id}`))
  return server
}

async function freePort (): Promise<number> {
  return await new Promise(resolve => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => { resolve(port) })
    })
  })
}

interface Served {
  readonly app: FastifyInstance
  readonly origin: string
  /** Every response, such as `401 POST /mcp`. */
  readonly answers: string[]
}

/** Starts an application that is the MCP server and the authorization server. */
async function startServer (t: Test): Promise<Served> {
  const answers: string[] = []
  const port = await freePort()
  const origin = `http://127.0.0.1:${port}`
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('onResponse', async (request, reply) => {
    answers.push(`${reply.statusCode} ${request.method} ${request.url.split('?')[0]}`)
  })
  await app.register(gatehouse, {
    schemes: {
      web: session({ secret: secretOf(), loginPath: '/login' }),
      mcp: jwt({
        issuer: origin,
        audience: `${origin}/mcp`,
        keys: pair('ec').privateKey,
        sign: { realm: 'web', refresh: { secret: secretOf() } },
        resource: { name: 'Orders' }
      })
    },
    default: 'mcp',
    scopes: { 'tools:use': 'Use the tools', 'orders:write': 'Cancel your orders' },
    load: principal => people.get(principal.id) ?? null
  })
  await app.register(oauthServer, {
    session: 'web',
    resources: ['mcp'],
    clients: { agent: { redirectUris: ['http://127.0.0.1/callback'], scopes: ['tools:use', 'orders:write'] } }
  })
  const open = { config: { auth: { public: 'for tests' } } }
  app.get('/login', open, async (_request, reply) => await reply.type('text/html').send('<form method="post">'))
  app.post<{ Body: { id: string } }>('/login', open, async (request, reply) => {
    await reply.login({ id: request.body.id })
    return { returnTo: app.gatehouse.sessions.returnTo(request, '/') }
  })
  await app.register(async child => {
    child.gatehouse.default({ schemes: 'mcp', scopes: 'tools:use' })
    child.route({
      method: ['GET', 'POST', 'DELETE'],
      url: '/mcp',
      config: { auth: { scopes: scopesOf } },
      handler: async ({ method, headers, body, principal }) =>
        await createMcpHandler(() => serverFor(principal.id)).fetch(
          new Request(`${origin}/mcp`, { method, headers: headers as Record<string, string> }), { parsedBody: body }
        )
    })
  })
  await app.listen({ port, host: '127.0.0.1' })
  return { app, origin, answers }
}

/** A client that keeps its state, and acts as the browser of a person who logs in and allows everything. */
class Agent implements OAuthClientProvider {
  readonly redirectUrl = callback
  readonly clientMetadata = { redirect_uris: [callback], client_name: 'Agent' }
  readonly requests: URLSearchParams[] = []
  answer = new URLSearchParams()
  #tokens: StoredOAuthTokens | undefined
  #verifier = ''
  #state = ''
  #discovered: OAuthDiscoveryState | undefined
  #client: StoredOAuthClientInformation
  readonly #app: FastifyInstance

  constructor ({ app, origin }: Served) {
    this.#app = app
    this.#client = { client_id: 'agent', issuer: origin }
  }

  clientInformation () { return this.#client }

  saveClientInformation (client: StoredOAuthClientInformation) { this.#client = client }

  tokens () { return this.#tokens }

  saveTokens (tokens: StoredOAuthTokens) { this.#tokens = tokens }

  codeVerifier () { return this.#verifier }

  saveCodeVerifier (verifier: string) { this.#verifier = verifier }

  state () {
    this.#state = secretOf()
    return this.#state
  }

  discoveryState () { return this.#discovered }

  saveDiscoveryState (state: OAuthDiscoveryState) { this.#discovered = state }

  async redirectToAuthorization (url: URL) {
    this.requests.push(url.searchParams)
    const { cookie } = await login(this.#app)
    const page = await fetch(url, { headers: { cookie, accept: 'text/html' }, redirect: 'manual' })
    const { params } = await decide(this.#app, await page.text(), cookie)
    if (params['state'] !== this.#state) throw new Error('another state came back')
    this.answer = new URLSearchParams(params)
  }
}

/** Connects a client that follows every authorization redirect. */
async function connect (t: Test, served: Served) {
  const agent = new Agent(served)
  const url = new URL(`${served.origin}/mcp`)
  const first = new StreamableHTTPClientTransport(url, { authProvider: agent })
  const client = new Client({ name: 'agent', version: '1.0.0' })
  await t.rejects(client.connect(first), UnauthorizedError)
  await first.finishAuth(agent.answer)
  const transport = new StreamableHTTPClientTransport(url, { authProvider: agent })
  const connected = new Client({ name: 'agent', version: '1.0.0' })
  await connected.connect(transport)
  t.teardown(() => connected.close())
  return { agent, transport, client: connected }
}

t.test('an MCP client discovers the server from a 401, and calls a tool', async t => {
  const served = await startServer(t)
  const { agent, client } = await connect(t, served)
  t.same((await client.listTools()).tools.map(({ name }) => name), ['whoami', 'cancel'])
  t.match(await client.callTool({ name: 'whoami' }), { content: [{ text: 'ann' }] })
  t.match(Object.fromEntries(agent.requests[0] ?? []), {
    client_id: 'agent',
    resource: `${served.origin}/mcp`,
    scope: 'tools:use',
    code_challenge_method: 'S256',
    response_type: 'code'
  })
  t.equal(agent.requests.length, 1)
  t.equal(agent.answer.get('iss'), served.origin)
  t.same(served.answers, [
    '401 POST /mcp',
    '200 GET /.well-known/oauth-protected-resource/mcp',
    '200 GET /.well-known/oauth-authorization-server',
    '200 POST /login',
    '200 GET /oauth/authorize',
    '200 POST /oauth/consent',
    '200 POST /oauth/token',
    '200 POST /mcp',
    '202 POST /mcp',
    '405 GET /mcp',
    '200 POST /mcp',
    '200 POST /mcp'
  ])
})

t.test('an MCP client steps up from a 403', async t => {
  const served = await startServer(t)
  const { agent, client, transport } = await connect(t, served)
  await t.rejects(client.callTool({ name: 'cancel' }), UnauthorizedError)
  t.equal(agent.requests[1]?.get('scope'), 'tools:use orders:write')
  await transport.finishAuth(agent.answer)
  t.match(await client.callTool({ name: 'cancel' }), { content: [{ text: 'cancelled by ann' }] })
  t.equal(agent.tokens()?.scope, 'tools:use orders:write')
})

t.test('an MCP client refreshes once its access token has expired', async t => {
  const clock = movableClock(t)
  const refreshed = recordEvents(t, 'token-refreshed')
  const served = await startServer(t)
  const { agent, client } = await connect(t, served)
  const before = agent.tokens()
  clock.offset = 20 * 60 * 1000
  t.match(await client.callTool({ name: 'whoami' }), { content: [{ text: 'ann' }] })
  t.match(refreshed, [{ client: 'agent', id: 'ann' }])
  t.not(agent.tokens()?.refresh_token, before?.refresh_token)
  t.equal(agent.requests.length, 1, 'nobody was asked again')
})
