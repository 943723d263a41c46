import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { misconfigured } from '../errors.js'
import { sendOnwardPage } from '../util/page.js'
import type { LoginParts } from './login.js'
import type { LogoutSettings } from './options.js'

/** Logins that share one route for the logout, by the name of the provider. */
type Logins = Map<string, LoginParts>

/** The logout routes of an application by path. By HTTP server, which all contexts have in common. */
const routes = new WeakMap<object, Map<string, Logins>>()

/**
 * Adds a login to the logout route of its path. Returns the logins of the route if it must be declared, and `null` if
 * another login has declared it.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if the other login is for another session scheme.
 */
export function joinLogout ({ server }: FastifyInstance, { path }: LogoutSettings, login: LoginParts): Logins | null {
  const all = routes.get(server) ?? new Map<string, Logins>()
  routes.set(server, all)
  const logins = all.get(path)
  if (logins === undefined) {
    const first: Logins = new Map([[login.settings.path, login]])
    all.set(path, first)
    return first
  }
  const [other] = [...logins.values()] as [LoginParts, ...LoginParts[]]
  if (other.settings.session !== login.settings.session) {
    throw misconfigured(`The option oidcLogin.logout.path is ${path}, which ends sessions of the scheme ` +
      `'${other.settings.session}' already. Give the logout of '${login.settings.session}' another path.`)
  }
  logins.set(login.settings.path, login)
  return null
}

/**
 * Ends the session of a request, and then at the provider where it was begun. The provider is reached by a page,
 * because browsers apply the `form-action` of the page with the form to redirects.
 */
export async function logOut (logins: Logins, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const [first] = [...logins.values()] as [LoginParts, ...LoginParts[]]
  const from = first.sessions.providerOf(request)
  await reply.logout({ scheme: first.settings.session })
  const login = from === null ? undefined : logins.get(from.name)
  const backTo = ((login ?? first).settings.logout as LogoutSettings).redirectUri
  const idToken = from?.idToken ?? null
  const url = login === undefined ? null : await urlAtProvider(login, { request, idToken, backTo })
  return sendOnwardPage(reply, url ?? backTo)
}

interface ProviderLogout {
  readonly request: FastifyRequest
  readonly idToken: string | null
  readonly backTo: string
}

/** Returns the URL of the logout at the provider; `null` if it has none, or does not answer, which is logged. */
async function urlAtProvider (
  { provider }: LoginParts, { request, idToken, backTo }: ProviderLogout
): Promise<string | null> {
  try {
    return await provider.logoutUrl(idToken, backTo)
  } catch (error) {
    request.log.warn({ err: error }, 'the session was ended here, but not at the provider')
    return null
  }
}
