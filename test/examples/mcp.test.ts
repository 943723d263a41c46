import {
  Client, StreamableHTTPClientTransport, UnauthorizedError, type OAuthClientProvider, type OAuthDiscoveryState,
  type StoredOAuthTokens
} from '@modelcontextprotocol/client'
import t from 'tap'
import { basic, decide, post, visit } from '../fixtures/oauth-client.js'
import { logIn, startQuiet, type Quiet } from './app.js'
import { freePort } from '../fixtures/browser.js'

const callback = 'http://127.0.0.1:5010/callback'

/** A client with a configured id. Its person logs in as Ben, and allows what it asks for. */
class Agent implements OAuthClientProvider {
  readonly redirectUrl = callback
  readonly clientMetadata = { redirect_uris: [callback] }
  answer = new URLSearchParams()
  #tokens: StoredOAuthTokens | undefined
  #verifier = ''
  #discovered: OAuthDiscoveryState | undefined
  readonly #desk: Quiet

  constructor (desk: Quiet) {
    this.#desk = desk
  }

  clientInformation () { return { client_id: 'agent', issuer: this.#desk.config.PUBLIC_URL } }

  tokens () { return this.#tokens }

  saveTokens (tokens: StoredOAuthTokens) { this.#tokens = tokens }

  codeVerifier () { return this.#verifier }

  saveCodeVerifier (verifier: string) { this.#verifier = verifier }

  discoveryState () { return this.#discovered }

  saveDiscoveryState (state: OAuthDiscoveryState) { this.#discovered = state }

  async redirectToAuthorization ({ pathname, search }: URL) {
    const { cookie } = await logIn(this.#desk, 'ben')
    const { answer } = await visit(this.#desk.app, pathname + search, cookie)
    this.answer = new URLSearchParams((await decide(this.#desk.app, answer.body, cookie)).params)
  }
}

t.test('an MCP client finds its way from the address to the orders', async t => {
  const desk = await startQuiet({ PORT: String(await freePort()) })
  const { app, config: { PORT, PUBLIC_URL } } = desk
  await app.listen({ port: PORT, host: '127.0.0.1' })
  const agent = new Agent(desk)
  const transport = () => new StreamableHTTPClientTransport(new URL(`${PUBLIC_URL}/mcp`), { authProvider: agent })
  const first = transport()
  await t.rejects(new Client({ name: 'agent', version: '1' }).connect(first), UnauthorizedError)
  await first.finishAuth(agent.answer)
  const client = new Client({ name: 'agent', version: '1' })
  await client.connect(transport())
  t.teardown(() => client.close())
  t.match(client.getServerVersion(), { name: 'order-desk' })
  t.same((await client.listTools()).tools.map(({ name }) => name), ['list_open_orders'])
  const { content } = await client.callTool({ name: 'list_open_orders' })
  t.match(content, [{ text: /1004: 8 × Bar stool, black for Café Lumen/ }])
})

t.test('the MCP endpoint', async t => {
  const desk = await startQuiet()
  const { app, config } = desk
  const tokenFor = async (resource: string) => {
    const fields = { grant_type: 'client_credentials', scope: 'orders:read', resource }
    const { body } = await post(app, '/oauth/token', fields, basic('partner', config.PARTNER_SECRET))
    return String((body as { access_token: string }).access_token)
  }
  const token = await tokenFor(`${config.PUBLIC_URL}/mcp`)
  const list = async (headers: Record<string, string>) => await app.inject({
    method: 'POST',
    url: '/mcp',
    headers: { accept: 'application/json, text/event-stream', ...headers },
    payload: { jsonrpc: '2.0', id: 1, method: 'tools/list' }
  })
  const authorization = `Bearer ${token}`

  await t.test('leads from a 401 to the authorization server', async t => {
    const refused = await list({})
    t.equal(refused.statusCode, 401)
    const [, url = ''] = /resource_metadata="([^"]+)"/.exec(String(refused.headers['www-authenticate'])) ?? []
    t.match(refused.headers['www-authenticate'], 'scope="orders:read"')
    t.match((await app.inject(new URL(url).pathname)).json(), {
      resource: `${config.PUBLIC_URL}/mcp`, authorization_servers: [config.PUBLIC_URL], resource_name: 'Order desk'
    })
  })

  await t.test('accepts no token for the API', async t => {
    const other = await tokenFor(`${config.PUBLIC_URL}/api`)
    t.equal((await list({ authorization: `Bearer ${other}` })).statusCode, 401)
    t.equal((await list({ authorization })).statusCode, 200)
  })

  await t.test('refuses pages of other origins, also with a token', async t => {
    t.equal((await list({ authorization, origin: config.PUBLIC_URL })).statusCode, 200)
    for (const origin of ['https://evil.example', 'null', `${config.PUBLIC_URL}.evil.example`]) {
      t.equal((await list({ authorization, origin })).statusCode, 403, origin)
    }
  })
})
