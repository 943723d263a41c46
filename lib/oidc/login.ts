import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { OidcTokens } from '../../types/oidc.js'
import type { PrincipalInput } from '../../types/principal.js'
import { callFunction, internalError, misconfigured } from '../errors.js'
import type { OwnSessions } from '../plugin/internals.js'
import { queryText } from '../util/encoding.js'
import { forbidReuse, sendOnwardPage } from '../util/endpoints.js'
import { getOrCreate, hasFields, isNo, isObject } from '../util/objects.js'
import { LoginError } from './errors.js'
import type { LoginSettings, LogoutSettings } from './options.js'
import type { PendingLogin, PendingLogins } from './pending-logins.js'
import type { Claims, Provider, Redeemed } from './provider.js'

/** The parts of one registration of `oidcLogin`. */
export interface LoginParts {
  readonly settings: LoginSettings
  readonly sessions: OwnSessions
  readonly provider: Provider
  readonly pendingLogins: PendingLogins
}

/** Begins a login: remembers it in the browser, and redirects to the provider. */
export async function beginLogin (
  { settings, sessions, provider, pendingLogins }: LoginParts, request: FastifyRequest, reply: FastifyReply
): Promise<FastifyReply> {
  const login = sessions.loginRequestOf(request)
  if (login.maxAge !== null && settings.provider.endpoints !== null) {
    const reason = 'a route requires a recent login, and a provider without OpenID does not say when that was'
    throw new LoginError('too-old', reason)
  }
  const pending = pendingLogins.begin(request, reply, login)
  return forbidReuse(reply).redirect(await provider.authorizationUrl(pending), 302)
}

/** Ends a login: checks the answer of the provider, asks the application who it is, and begins a session. */
export async function endLogin (
  login: LoginParts, request: FastifyRequest, reply: FastifyReply
): Promise<FastifyReply> {
  const query = new URLSearchParams(queryText(request.raw.url))
  const pending = findPending(login, request, query)
  const redeemed = await redeem(login, { query, pending, reply })
  const claims = await claimsOf(login.settings, redeemed)
  const authenticatedAt = authTimeOf(claims)
  checkAge(pending, authenticatedAt)
  const person = await personOf(login.settings, { claims, tokens: redeemed.tokens, request })
  noteProvider(login, request, redeemed.tokens)
  await reply.login(person, { scheme: login.settings.session, stateChecked: true, authenticatedAt })
  return sendBack(login, reply, pending.path)
}

/** Returns the login that this browser began. Without it, any site could log a person in as somebody else. */
function findPending ({ pendingLogins }: LoginParts, request: FastifyRequest, query: URLSearchParams): PendingLogin {
  const [state = '', ...others] = query.getAll('state')
  const pending = others.length === 0 ? pendingLogins.find(request, state) : null
  if (pending !== null) return pending
  throw new LoginError('retry', 'this browser began no login with this state in the last ten minutes, or has ended it')
}

interface Answer {
  readonly query: URLSearchParams
  readonly pending: PendingLogin
  readonly reply: FastifyReply
}

/** Redeems the code, which ends the pending login. If the provider did not answer, the page can be loaded again. */
async function redeem ({ provider, pendingLogins }: LoginParts, { query, pending, reply }: Answer): Promise<Redeemed> {
  try {
    const redeemed = await provider.redeem(query, pending)
    pendingLogins.end(reply, pending)
    return redeemed
  } catch (error) {
    if (!(error instanceof LoginError) || error.kind !== 'unavailable') pendingLogins.end(reply, pending)
    throw error
  }
}

/** Returns the claims of the ID token, or what `profile` finds out. */
async function claimsOf ({ profile }: LoginSettings, { claims, tokens }: Redeemed): Promise<Claims> {
  if (profile === null) return withSubject(claims)
  const answer = await askProfile(profile, tokens.access_token)
  if (isNo(answer)) throw new LoginError('no-account', 'the function profile found nobody')
  if (isObject(answer) && hasFields(answer)) return answer
  throw internalError('the function profile of oidcLogin must return an object, or null for nobody')
}

/**
 * Refuses a subject identifier that is empty, longer than OpenID Connect Core, 2, allows, or has control characters,
 * which stores do not accept. The specification only allows ASCII, but not every provider follows it.
 */
function withSubject (claims: Claims): Claims {
  const sub = String(claims['sub'])
  if (/^[^\p{Cc}\p{Cs}]+$/u.test(sub) && Buffer.byteLength(sub) <= 255) return claims
  throw new LoginError('retry', 'the sub of the ID token is empty, too long, or has control characters')
}

async function askProfile (profile: NonNullable<LoginSettings['profile']>, accessToken: string): Promise<unknown> {
  try {
    return await profile(accessToken)
  } catch (cause) {
    throw new LoginError('unavailable', 'the function profile, which asks the provider, threw', { cause })
  }
}

/** Returns the time at which the person proved who they are, never in the future; `null` if it is unknown. */
function authTimeOf ({ auth_time: time }: Claims): Date | null {
  return typeof time === 'number' && time > 0 ? new Date(Math.min(time * 1000, Date.now())) : null
}

/**
 * Refuses a login that is older than the route allows. The route would refuse it too and ask for another login, without
 * end. A maximum age of 0 requires a login that took place after the redirect to the provider.
 */
function checkAge ({ maxAge, begunAt }: PendingLogin, authenticatedAt: Date | null): void {
  if (maxAge === null) return
  // The claim is in whole seconds.
  const oldest = maxAge === 0 ? begunAt - begunAt % 1000 : Date.now() - maxAge * 1000
  if (authenticatedAt !== null && authenticatedAt.getTime() >= oldest) return
  const found = authenticatedAt === null ? 'no auth_time' : 'an older auth_time'
  const reason = `a route requires a login of the last ${maxAge} seconds, and the ID token has ${found}`
  throw new LoginError('too-old', reason)
}

async function personOf (
  { person }: LoginSettings, found: Parameters<LoginSettings['person']>[0]
): Promise<PrincipalInput> {
  const answer: unknown = await callFunction('the function person of oidcLogin', () => person(found))
  if (isNo(answer)) throw new LoginError('no-account', 'the function person knows no account of this person')
  return answer as PrincipalInput
}

/** Keeps the ID token for the logout, if there is one at the provider. */
function noteProvider (
  { settings: { logout, path }, sessions }: LoginParts, request: FastifyRequest, { id_token: idToken }: OidcTokens
): void {
  if (logout !== null && idToken !== undefined) sessions.noteProvider(request, { name: path, idToken })
}

/**
 * Sends the person to where the login was needed. A browser that came from another site does not send a `Strict` cookie
 * after a redirect, but from a page of this site it does.
 */
function sendBack ({ settings, sessions }: LoginParts, reply: FastifyReply, path: string | null): FastifyReply {
  const target = path ?? settings.fallback
  if (sessions.cookie.sameSite === 'Strict') return sendOnwardPage(reply, target)
  return forbidReuse(reply).redirect(target, 303)
}

/** Logins that share one route for the logout, by the name of the provider. */
type Logins = Map<string, LoginParts>

/** The logout routes of an application by path. By HTTP server, which all contexts have in common. */
const logoutRoutes = new WeakMap<object, Map<string, Logins>>()

/**
 * Adds a login to the logout route of its path. Returns the logins of the route if it must be declared, and `null` if
 * another login has declared it.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if the other login is for another session scheme.
 */
export function joinLogout ({ server }: FastifyInstance, { path }: LogoutSettings, login: LoginParts): Logins | null {
  const all = getOrCreate(logoutRoutes, server, () => new Map<string, Logins>())
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
