import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import Provider, { type ClientMetadata, type Configuration, type InteractionResults, type JWK } from 'oidc-provider'
import type { Test } from 'tap'

/** The person at the provider, and how they act. */
export interface Person {
  id: string
  /** `true` to refuse the login to the application. */
  denies: boolean
}

interface ProviderOptions {
  readonly client?: Partial<ClientMetadata>
  readonly configuration?: Partial<Configuration>
  /** The name of the provider in the application. */
  readonly name?: string
}

const { privateKey } = await generateKeyPair('RS256', { extractable: true })
const key = { ...await exportJWK(privateKey), kid: 'one', use: 'sig', alg: 'RS256' } as JWK

export const clientId = 'app'
export const clientSecret = 'secret of the client, 32 characters long'

/** Starts `oidc-provider` in this process, where one person logs in and consents without being asked. */
export async function openIdProvider (t: Test, options: ProviderOptions = {}) {
  const { client = {}, configuration = {}, name = 'idp' } = options
  const person: Person = { id: 'ann', denies: false }
  const requests: string[] = []
  const server = createServer()
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const close = async () => await new Promise<void>(resolve => {
    server.closeAllConnections()
    server.close(() => { resolve() })
  })
  t.teardown(close)
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, {
    clients: [{
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: [`https://app.example.com/login/${name}/callback`],
      post_logout_redirect_uris: ['https://app.example.com/'],
      ...client
    }],
    cookies: { keys: ['a key of the cookies of the provider'] },
    jwks: { keys: [key] },
    findAccount: (_context, id) => ({
      accountId: id, claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true })
    }),
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    ...configuration
  })
  const callback = provider.callback()
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    requests.push(`${request.method} ${request.url?.replace(/\?.*/, '')}`)
    if (request.url?.startsWith('/interaction/') === true) await interact(provider, { person, request, response })
    else await callback(request, response)
  }
  server.on('request', (request, response) => {
    answer(request, response).catch((error: unknown) => { response.writeHead(500).end(String(error)) })
  })
  return { issuer, person, requests, close }
}

interface Interaction {
  readonly person: Person
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** Acts as the person, who logs in and allows everything. */
async function interact (provider: Provider, { person, request, response }: Interaction): Promise<void> {
  const { prompt, params, session } = await provider.interactionDetails(request, response)
  const finish = async (result: InteractionResults, merge: boolean) => {
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: merge })
  }
  if (person.denies) return await finish({ error: 'access_denied', error_description: 'not today' }, false)
  if (prompt.name === 'login') return await finish({ login: { accountId: person.id } }, false)
  const grant = new provider.Grant({ accountId: session?.accountId ?? '', clientId: String(params['client_id']) })
  grant.addOIDCScope(String(params['scope']))
  await finish({ consent: { grantId: await grant.save() } }, true)
}
