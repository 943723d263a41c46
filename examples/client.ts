import cookie from '@fastify/cookie'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import * as oauth from 'openid-client'
import { clientPage, type ClientOrder } from './views/client.js'

/*
 * An application of somebody else, in a process of its own. It shows the orders of people who allow it, and knows no
 * more than the address of the order desk, its own id and its secret. `npm run client` takes the secret from the file
 * that the server generated.
 */
const { ISSUER = 'http://localhost:3000', CLIENT_PORT = '4000', DASHBOARD_SECRET = '' } = process.env
const home = `http://127.0.0.1:${CLIENT_PORT}`
const redirectUri = `${home}/callback`

/** The state of one browser: the secrets of the login that it began, and the tokens of the login that it finished. */
interface Visit {
  readonly verifier: string
  readonly state: string
  tokens: oauth.TokenEndpointResponse | null
}

/** Visits by the value of a cookie. */
const visits = new Map<string, Visit>()
const app = Fastify({ logger: { level: 'warn' } })
await app.register(cookie)

app.get('/', async (request, reply) => {
  const visit = visitOf(request)
  const orders = visit === undefined || visit.tokens === null ? null : await ordersOf(visit, visit.tokens)
  return sendPage(reply, orders, null)
})

/** Sends the browser to the order desk, with a challenge that only this application can meet. */
app.get('/connect', async (_request, reply) => {
  const visit = { verifier: oauth.randomPKCECodeVerifier(), state: oauth.randomState(), tokens: null }
  const id = oauth.randomState()
  visits.set(id, visit)
  const url = oauth.buildAuthorizationUrl(await findServer(), {
    redirect_uri: redirectUri,
    scope: 'orders:read',
    state: visit.state,
    code_challenge: await oauth.calculatePKCECodeChallenge(visit.verifier),
    code_challenge_method: 'S256'
  })
  return reply.setCookie('visit', id, { httpOnly: true, sameSite: 'lax', path: '/' }).redirect(url.href, 303)
})

/** The browser comes back with a code, which is exchanged for tokens, or with an error. */
app.get('/callback', async (request, reply) => {
  const visit = visitOf(request)
  if (visit === undefined) return reply.redirect('/', 303)
  try {
    visit.tokens = await oauth.authorizationCodeGrant(await findServer(), new URL(request.url, home), {
      pkceCodeVerifier: visit.verifier, expectedState: visit.state
    })
    return await reply.redirect('/', 303)
  } catch (error) {
    if (error instanceof oauth.AuthorizationResponseError && error.error === 'access_denied') {
      return sendPage(reply, null, 'You did not allow it, so there is nothing to show.')
    }
    request.log.warn(error)
    return sendPage(reply.code(400), null, 'That did not work. Please try again.')
  }
})

function visitOf ({ cookies }: FastifyRequest): Visit | undefined {
  return visits.get(cookies['visit'] ?? '')
}

function sendPage (reply: FastifyReply, orders: readonly ClientOrder[] | null, message: string | null): FastifyReply {
  return reply.type('text/html; charset=utf-8').send(clientPage(orders, message))
}

/** Reads the metadata of the order desk. Without TLS, it is only asked on this machine. */
async function findServer (): Promise<oauth.Configuration> {
  const issuer = new URL(ISSUER)
  const execute = issuer.hostname === 'localhost' ? [oauth.allowInsecureRequests] : []
  const authentication = oauth.ClientSecretBasic(DASHBOARD_SECRET)
  return await oauth.discovery(issuer, 'dashboard', undefined, authentication, { algorithm: 'oauth2', execute })
}

/** Returns the orders, by new tokens if the old ones have expired; `null` if the person has disconnected us. */
async function ordersOf (visit: Visit, tokens: oauth.TokenEndpointResponse): Promise<readonly ClientOrder[] | null> {
  const response = await fetch(`${ISSUER}/api/orders`, { headers: { authorization: `Bearer ${tokens.access_token}` } })
  if (response.ok) return await response.json() as readonly ClientOrder[]
  if (response.status !== 401) throw new Error(`The order desk answered ${response.status}`)
  visit.tokens = await refresh(tokens)
  return visit.tokens === null ? null : await ordersOf(visit, visit.tokens)
}

async function refresh ({ refresh_token: token = '' }: oauth.TokenEndpointResponse) {
  try {
    return await oauth.refreshTokenGrant(await findServer(), token)
  } catch (error) {
    if (error instanceof oauth.ResponseBodyError && error.error === 'invalid_grant') return null
    throw error
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { void app.close() })
await app.listen({ host: '127.0.0.1', port: Number(CLIENT_PORT) })
process.stdout.write(`Sales dashboard   ${home}   shows the orders of ${ISSUER}\n`)
