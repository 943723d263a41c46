import type { Agent } from 'node:http'
import type { FastifyRequest } from 'fastify'
import type { SchemeName } from '../../types/names.js'
import type { OidcTokens } from '../../types/oidc.js'
import { misconfigured } from '../errors.js'
import { issuerUrlProblem, parseAgent, parseHosts, sourceUrl } from '../jose/remote/fetch-json.js'
import { isLocalPath } from '../schemes/session/login-redirect.js'
import { describeValue } from '../util/describe.js'
import { isPlainObject } from '../util/objects.js'
import { functionOf, isScopeToken, listOf, object, oneOf, optional, orTrue, text } from '../util/options.js'

/** Configures the provider of a login. */
export interface ProviderSettings {
  readonly redirectUri: string
  /** The issuer; without OpenID, the authorization endpoint. */
  readonly server: URL
  /** The endpoints of a provider without OpenID; `null` for the others. */
  readonly endpoints: { readonly authorize: string, readonly token: string } | null
  readonly clientId: string
  readonly clientSecret: string | null
  readonly clientAuthentication: 'basic' | 'post' | null
  /** Separated by spaces; `null` if none is asked for. */
  readonly scope: string | null
  readonly parameters: Readonly<Record<string, string>>
  readonly insecureHosts: readonly string[]
  readonly agent: Agent | null
}

/** The parsed options of `oidcLogin`. */
export interface LoginSettings {
  readonly provider: ProviderSettings
  /** The paths of the routes, with the prefix. */
  readonly path: string
  readonly callbackPath: string
  readonly session: SchemeName
  readonly person: (login: {
    readonly claims: object, readonly tokens: OidcTokens, readonly request: FastifyRequest
  }) => unknown
  /** `null` for an OpenID provider. */
  readonly profile: ((accessToken: string) => unknown) | null
  readonly fallback: string
  readonly logout: LogoutSettings | null
}

export interface LogoutSettings {
  readonly path: string
  readonly redirectUri: string
}

const parseEndpoints = object({ authorize: text, token: text })

const parse = object({
  redirectUri: parseRedirectUri,
  issuer: optional(text, null),
  endpoints: optional(parseEndpoints, null),
  clientId: trimmedText,
  clientSecret: optional(trimmedText, null),
  clientAuthentication: optional(oneOf('basic', 'post'), null),
  session: text,
  path: optional(parsePath, null),
  scopes: optional(listOf(parseScope), [] as readonly string[]),
  parameters: optional(parseParameters, Object.freeze({})),
  person: functionOf<LoginSettings['person']>('({ claims, tokens, request }) => principal or null'),
  profile: optional(functionOf<NonNullable<LoginSettings['profile']>>('(accessToken) => claims or null'), null),
  fallback: optional(parseFallback, '/'),
  logout: optional(parseLogout, null),
  insecureHosts: optional(parseHosts, [] as readonly string[]),
  agent: optional(parseAgent, null),
  logLevel: (value: unknown) => value,
  logSerializers: (value: unknown) => value
})

/**
 * Parses the options of `oidcLogin`.
 * @param prefix the prefix of the context.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the fix.
 */
export function parseLoginOptions (options: unknown, prefix: string): LoginSettings {
  const parsed = parse(options, 'The options of oidcLogin')
  const { redirectUri, endpoints, profile, logout, clientSecret, clientAuthentication } = parsed
  checkKind(parsed)
  if (clientAuthentication !== null && clientSecret === null) {
    throw misconfigured('The option oidcLogin.clientAuthentication needs clientSecret: a public client has none.')
  }
  const callbackPath = new URL(redirectUri).pathname
  const path = parsed.path ?? parentOf(callbackPath)
  checkStanding(prefix, { redirectUri: callbackPath, path })
  const scopes = endpoints === null ? ['openid', ...parsed.scopes] : parsed.scopes
  const provider = Object.freeze({
    redirectUri,
    server: parseServer(parsed),
    endpoints,
    clientId: parsed.clientId,
    clientSecret,
    clientAuthentication,
    scope: scopes.length === 0 ? null : [...new Set(scopes)].join(' '),
    parameters: parsed.parameters,
    insecureHosts: parsed.insecureHosts,
    agent: parsed.agent
  })
  const { session, person, fallback } = parsed
  return Object.freeze({
    provider,
    path,
    callbackPath,
    session: session as SchemeName,
    person,
    profile,
    fallback,
    logout: logout === null ? null : completeLogout(logout, redirectUri, prefix)
  })
}

/** Checks that the options are of one kind of provider. */
function checkKind ({ issuer, endpoints, profile, logout }: ReturnType<typeof parse>): void {
  if ((issuer === null) === (endpoints === null)) {
    throw misconfigured('The options of oidcLogin need one of issuer, for an OpenID provider, and endpoints, for any ' +
      `other. ${issuer === null ? 'There is neither' : 'There are both'}.`)
  }
  if (endpoints !== null && profile === null) {
    throw misconfigured('The option oidcLogin.profile is missing: without an ID token, a function (accessToken) => ' +
      'claims must ask the provider who the person is.')
  }
  const misplaced = endpoints === null ? profile !== null && 'profile' : logout !== null && 'logout'
  if (misplaced !== false) {
    throw misconfigured(`The option oidcLogin.${misplaced} cannot be combined with ` +
      `${endpoints === null ? 'issuer, as the ID token says who the person is' : 'endpoints'}. Leave it out.`)
  }
}

/** Parses a text that the provider compares. With the line break of a file at its end, every login would fail. */
function trimmedText (value: unknown, option: string): string {
  const parsed = text(value, option)
  if (parsed.trim() === parsed) return parsed
  throw misconfigured(`${option} has white space around it, such as the line break at the end of a file. Remove it.`)
}

/** Characters that the path of a route may have: no others need an encoding, in the URL or in the name of a cookie. */
const pathForm = /^(?:\/[\w.-]+)+$/

const pathExample = "such as '/login/google', of letters, digits, '-', '_' and '.'"

function parsePath (value: unknown, option: string): string {
  if (typeof value === 'string' && pathForm.test(value)) return value
  throw misconfigured(`${option} must be a path with the prefix of its context, ${pathExample}. Got ` +
    `${describeValue(value)}.`)
}

function parseRedirectUri (value: unknown, option: string): string {
  const written = text(value, option)
  const url = parseUrl(written, 'redirectUri', null)
  if (url.href !== written || url.search !== '' || url.hash !== '' || !pathForm.test(url.pathname)) {
    throw misconfigured(`${option} must be a URL in its usual form without a query, whose path is one ` +
      `${pathExample}. Got ${describeValue(value)}.`)
  }
  return written
}

function parseUrl (value: string, name: string, insecureHosts: readonly string[] | null): URL {
  const url = sourceUrl(value, insecureHosts)
  if (url instanceof URL) return url
  throw misconfigured(`The option oidcLogin.${name} ${url}. Got ${describeValue(value)}.`)
}

function parseServer ({ issuer, endpoints, insecureHosts }: ReturnType<typeof parse>): URL {
  if (endpoints === null) return parseIssuer(String(issuer), insecureHosts)
  parseUrl(endpoints.token, 'endpoints.token', insecureHosts)
  return parseUrl(endpoints.authorize, 'endpoints.authorize', insecureHosts)
}

function parseIssuer (issuer: string, insecureHosts: readonly string[]): URL {
  const problem = issuerUrlProblem(issuer, insecureHosts)
  if (problem === null) return new URL(issuer)
  throw misconfigured(`The option oidcLogin.issuer ${problem}. Got ${describeValue(issuer)}.`)
}

function parentOf (callbackPath: string): string {
  const [, parent] = /^(.+)\/callback$/.exec(callbackPath) ?? []
  if (parent !== undefined) return parent
  throw misconfigured('The option oidcLogin.path is missing. It can be left out if the path of redirectUri ends in ' +
    '/callback: then a login begins at the path before that.')
}

/** Checks that the routes stand in this context, where the provider sends people. */
function checkStanding (prefix: string, paths: Readonly<Record<'redirectUri' | 'path', string>>): void {
  for (const [name, path] of Object.entries(paths)) {
    if (path.startsWith(`${prefix}/`)) continue
    throw misconfigured(`The option oidcLogin.${name} has the path ${path}, but oidcLogin is registered in a context ` +
      `with the prefix ${prefix}, where no such route can stand. Register it in a context that fits the path, or ` +
      `give a path below ${prefix}.`)
  }
  if (paths.path !== paths.redirectUri) return
  throw misconfigured('The option oidcLogin.path is the path of redirectUri, where a login ends. Choose another path.')
}

function parseScope (value: unknown, option: string): string {
  if (typeof value === 'string' && isScopeToken(value)) return value
  throw misconfigured(`${option} must be the name of a scope. Got ${describeValue(value)}.`)
}

/** Parameters that belong to the protocol, with the option that sets them. */
const protocolParameters: ReadonlyMap<string, string> = new Map([
  ['client_id', 'clientId'], ['client_secret', 'clientSecret'], ['redirect_uri', 'redirectUri'], ['scope', 'scopes'],
  ...[
    'response_type', 'response_mode', 'state', 'nonce', 'code_challenge', 'code_challenge_method', 'max_age',
    'request', 'request_uri'
  ].map(name => [name, ''] as const)
])

function parseParameters (value: unknown, option: string): Readonly<Record<string, string>> {
  if (!isPlainObject(value) || !Object.values(value).every(each => typeof each === 'string')) {
    throw misconfigured(`${option} must be an object of strings, such as { prompt: 'select_account' }. Got ` +
      `${describeValue(value)}.`)
  }
  for (const name of Object.keys(value)) {
    const other = protocolParameters.get(name)
    if (other === undefined) continue
    const from = other === '' ? '' : ` from the option ${other}`
    throw misconfigured(`${option} cannot have '${name}', which the protocol sets${from}. Leave it out.`)
  }
  return Object.freeze({ ...value as Record<string, string> })
}

function parseFallback (value: unknown, option: string): string {
  if (typeof value === 'string' && isLocalPath(value)) return value
  throw misconfigured(`${option} must be a path of this application, such as '/home'. Got ${describeValue(value)}.`)
}

const parseLogoutOptions = object({ path: optional(parsePath, null), redirectUri: optional(text, null) })

function parseLogout (value: unknown, option: string): ReturnType<typeof parseLogoutOptions> {
  return orTrue(parseLogoutOptions)(value, option)
}

function completeLogout (
  { path, redirectUri }: ReturnType<typeof parseLogoutOptions>, loginUri: string, prefix: string
): LogoutSettings {
  const target = redirectUri ?? `${new URL(loginUri).origin}/`
  parseUrl(target, 'logout.redirectUri', [])
  const standing = path ?? `${prefix}/logout`
  if (standing.startsWith(`${prefix}/`)) return Object.freeze({ path: standing, redirectUri: target })
  throw misconfigured(`The option oidcLogin.logout.path is ${standing}, but oidcLogin is registered in a context ` +
    `with the prefix ${prefix}. Give a path below it.`)
}
