import type { FastifyReply, FastifyRequest } from 'fastify'
import type { OidcTokens } from '../../types/oidc.js'
import type { PrincipalInput } from '../../types/principal.js'
import type { SessionFeature } from '../../types/sessions.js'
import { internalError } from '../errors.js'
import { isNo, isObject } from '../util/objects.js'
import { forbidReuse, sendOnwardPage } from '../util/page.js'
import { LoginError } from './errors.js'
import type { LoginSettings } from './options.js'
import type { Claims, Provider, Redeemed } from './provider.js'
import type { Tries, Try } from './tries.js'

/** The parts of a session scheme that logins need. */
export type LoginSessions = Required<
  Pick<SessionFeature, 'wishOf' | 'deriveKeys' | 'cookie' | 'noteProvider' | 'providerOf'>
>

/** The parts of one registration of `oidcLogin`. */
export interface Login {
  readonly settings: LoginSettings
  readonly sessions: LoginSessions
  readonly provider: Provider
  readonly tries: Tries
}

/** Begins a login: remembers it in the browser, and redirects to the provider. */
export async function begin (
  { settings, sessions, provider, tries }: Login, request: FastifyRequest, reply: FastifyReply
): Promise<FastifyReply> {
  const wish = sessions.wishOf(request)
  if (wish.maxAge !== null && settings.provider.endpoints !== null) {
    throw new LoginError('old', 'a provider without OpenID does not say when the person logged in, as a route requires')
  }
  const begun = tries.begin(request, reply, wish)
  return forbidReuse(reply).redirect(await provider.authorizationUrl(begun), 302)
}

/** Ends a login: checks the answer of the provider, asks the application who it is, and begins a session. */
export async function end (login: Login, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const query = queryOf(request)
  const begun = findTry(login, request, query)
  const redeemed = await redeem(login, { query, begun, reply })
  const claims = await claimsOf(login.settings, redeemed)
  const authenticatedAt = authTimeOf(claims)
  checkAge(begun, authenticatedAt)
  const person = await personOf(login.settings, { claims, tokens: redeemed.tokens, request })
  noteProvider(login, request, redeemed.tokens)
  await reply.login(person, { scheme: login.settings.session, stateChecked: true, authenticatedAt })
  return sendBack(login, reply, begun.path)
}

function queryOf ({ raw: { url = '' } }: FastifyRequest): URLSearchParams {
  const start = url.indexOf('?')
  return new URLSearchParams(start === -1 ? '' : url.slice(start + 1))
}

/** Returns the try that this browser began. Without it, any site could send a person here with a login of its own. */
function findTry ({ tries }: Login, request: FastifyRequest, query: URLSearchParams): Try {
  const [state = '', ...others] = query.getAll('state')
  const begun = others.length === 0 ? tries.find(request, state) : null
  if (begun !== null) return begun
  throw new LoginError('again', 'this browser began no login with this state in the last ten minutes, or has ended it')
}

interface Answer {
  readonly query: URLSearchParams
  readonly begun: Try
  readonly reply: FastifyReply
}

/** Redeems the code. The try is over with it, unless the provider did not answer: then the page can be loaded again. */
async function redeem ({ provider, tries }: Login, { query, begun, reply }: Answer): Promise<Redeemed> {
  try {
    const redeemed = await provider.redeem(query, begun)
    tries.end(reply, begun)
    return redeemed
  } catch (error) {
    if (!(error instanceof LoginError) || error.kind !== 'unavailable') tries.end(reply, begun)
    throw error
  }
}

/** Returns the claims of the ID token, or what `profile` finds out. */
async function claimsOf ({ profile }: LoginSettings, { claims, tokens }: Redeemed): Promise<Claims> {
  if (profile === null) return claims
  const answer = await askProfile(profile, tokens.access_token)
  if (isNo(answer)) throw new LoginError('unknown', 'the function profile found nobody')
  if (isObject(answer)) return answer
  throw internalError('the function profile of oidcLogin must return an object, or null for nobody')
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
 * Refuses a login that does not fulfil what a route asked for: the route would refuse it too, and ask again, without an
 * end. A maximum age of 0 asks for a login since it was asked for.
 */
function checkAge ({ maxAge, begunAt }: Try, authenticatedAt: Date | null): void {
  if (maxAge === null) return
  // the claim is in whole seconds
  const oldest = maxAge === 0 ? begunAt - begunAt % 1000 : Date.now() - maxAge * 1000
  if (authenticatedAt !== null && authenticatedAt.getTime() >= oldest) return
  const found = authenticatedAt === null ? 'no auth_time' : 'an older auth_time'
  throw new LoginError('old', `a route requires a login of the last ${maxAge} seconds, and the ID token has ${found}`)
}

async function personOf (
  { person }: LoginSettings, found: Parameters<LoginSettings['person']>[0]
): Promise<PrincipalInput> {
  const answer = await person(found)
  if (isNo(answer)) throw new LoginError('unknown', 'the function person knows no account of this person')
  return answer as PrincipalInput
}

/** Keeps the ID token for the logout, if there is one at the provider. */
function noteProvider (
  { settings: { logout, path }, sessions }: Login, request: FastifyRequest, { id_token: idToken }: OidcTokens
): void {
  if (logout !== null && idToken !== undefined) sessions.noteProvider(request, { name: path, idToken })
}

/**
 * Sends the person to where the login was needed. A browser that came from another site does not send a `Strict` cookie
 * after a redirect, but from a page of this site it does.
 */
function sendBack ({ settings, sessions }: Login, reply: FastifyReply, path: string | null): FastifyReply {
  const target = path ?? settings.fallback
  if (sessions.cookie.sameSite === 'Strict') return sendOnwardPage(reply, target)
  return forbidReuse(reply).redirect(target, 303)
}
