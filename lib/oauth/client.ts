import { hash } from 'node:crypto'
import type { OAuthGrant } from '../../types/oauth.js'
import { misconfigured } from '../errors.js'
import { checkSecret } from '../secrets/check-secret.js'
import { describeValue } from '../util/describe.js'
import { isPlainObject } from '../util/objects.js'
import { isScopeToken, listOf, object, oneOf, optional, string, text, type Parser } from '../util/options.js'

/** A secret of a client, of which only the digest is known. */
export interface ClientSecret {
  /** SHA-256, in base64url. */
  readonly digest: string
  /** Milliseconds since 1970; `null` if it does not expire. */
  readonly expiresAt: number | null
}

/** A client of the authorization server. */
export interface Client {
  readonly id: string
  readonly name: string
  readonly redirectUris: readonly string[]
  readonly scopes: readonly string[]
  readonly grants: readonly OAuthGrant[]
  /** None for a public client. */
  readonly secrets: readonly ClientSecret[]
  /** `true` for a client that authenticates. */
  readonly isConfidential: boolean
  /** `undefined` for the server's own rule. */
  readonly consent: 'remember' | false | undefined
  /** `true` if its tokens carry the roles of people. */
  readonly roles: boolean
  /** The schemes whose tokens it may introspect. */
  readonly introspect: readonly string[]
}

/** Returns the digest under which a secret is known. */
export function digestOf (secret: string | Uint8Array): string {
  return hash('sha256', secret, 'base64url')
}

export const grantNames = ['authorization_code', 'refresh_token', 'client_credentials'] as const

/** Parses a list of scopes. @param declared the scopes of the application; `null` if it declares none. */
export function scopesParser (declared: ReadonlySet<string> | null): Parser<readonly string[]> {
  return listOf((value, option) => {
    const scope = string(value, option)
    if (!isScopeToken(scope)) {
      throw misconfigured(`${option} must be a scope (RFC 6749, 3.3): visible ASCII characters without spaces, ` +
        `quotes and backslashes. Got ${describeValue(value)}.`)
    }
    if (declared?.has(scope) === false) {
      throw misconfigured(`${option} is ${describeValue(scope)}, which the option scopes of the plugin does not ` +
        'declare. Add it there, or correct the name.')
    }
    return scope
  })
}

export const parseRedirectUris = listOf(parseRedirectUri)

const parseGrantList = listOf(oneOf(...grantNames))

/** Parses the grants of a client. */
export function parseGrants (value: unknown, option: string): readonly OAuthGrant[] {
  return parseGrantList(value, option)
}

/** The fields of a client that decide which grants it may have. */
interface GrantRules {
  readonly grants: readonly OAuthGrant[] | null
  readonly redirectUris: readonly string[]
  readonly isConfidential: boolean
}

/** Returns the grants of a client. @throws {AuthError} `AUTH_MISCONFIGURED` for grants that the client cannot use. */
export function grantsOf ({ grants, redirectUris, isConfidential }: GrantRules, option: string): readonly OAuthGrant[] {
  const hasUris = redirectUris.length > 0
  const all = grants ?? (hasUris ? ['authorization_code', 'refresh_token'] as const : [])
  if (all.includes('authorization_code') !== hasUris) {
    throw misconfigured(`${option} has only one of redirectUris and the grant authorization_code. Give it both or ` +
      'neither: codes are sent to redirect URIs.')
  }
  if (all.includes('refresh_token') && !hasUris) {
    throw misconfigured(`${option} has the grant refresh_token without authorization_code, which gives the first ` +
      'refresh token. Add it, with redirectUris, or remove refresh_token.')
  }
  if (all.includes('client_credentials') && !isConfidential) {
    throw misconfigured(`${option} has the grant client_credentials, which needs a secret (RFC 6749, 4.4). Give the ` +
      'client one, or remove the grant.')
  }
  return Object.freeze([...all])
}

/** URL schemes that browsers run, or read from the machine, instead of opening an application. */
const unsafeSchemes: ReadonlySet<string> = new Set([
  'about:', 'blob:', 'data:', 'file:', 'filesystem:', 'javascript:', 'vbscript:', 'view-source:'
])

const loopbackHost = /^(?:127\.0\.0\.1|\[::1\]|localhost)$/

/**
 * Parses a redirect URI (RFC 6749, 3.1.2; RFC 8252, 7). It stays the text that was written, because URIs are compared
 * as text.
 */
function parseRedirectUri (value: unknown, option: string): string {
  const uri = text(value, option)
  const problem = redirectUriProblem(uri)
  if (problem === null) return uri
  throw misconfigured(`${option} ${problem}. Got ${describeValue(value)}.`)
}

/** Returns the reason why a URI cannot be registered, as the end of a sentence; `null` if it can. */
function redirectUriProblem (uri: string): string | null {
  if (!/^[!-~]+$/.test(uri) || !URL.canParse(uri)) return 'must be an absolute URI in ASCII'
  const url = new URL(uri)
  if (unsafeSchemes.has(url.protocol)) return 'has a scheme that browsers do not open an application for'
  // Without them, browsers take the rest for a path of the server itself.
  if (/^https?:$/.test(url.protocol) && !/^https?:\/\/[^/\\]/i.test(uri)) return 'must have // and a host'
  if (uri.includes('#')) return 'must not have a fragment (RFC 6749, 3.1.2)'
  if (uri.includes('*')) return 'has a wildcard, but URIs are compared as text: write each of them'
  if (url.username !== '' || url.password !== '' || /^[^/?]*\/\/[^/?]*@/.test(uri)) {
    return 'must not have a user name or password'
  }
  if (url.protocol === 'http:' && !loopbackHost.test(url.hostname)) {
    return 'must be https: plain http is for 127.0.0.1, [::1] and localhost only'
  }
  return null
}

const loopbackUri = /^(http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost))(?::(\d{1,5}))?([/?].*)?$/s

/**
 * Returns true if a URI is one of the registered ones. Native applications listen on a free port, so that it may differ
 * on a loopback host (RFC 8252, 7.3); `localhost` is one, because many clients register it.
 */
export function isRegistered (registered: readonly string[], uri: string): boolean {
  if (registered.includes(uri)) return true
  const given = loopbackParts(uri)
  return given !== null && registered.some(each => loopbackParts(each) === given)
}

/** Returns a loopback URI without its port, or `null` for any other URI. */
function loopbackParts (uri: string): string | null {
  const [, host, port = '80', rest = ''] = loopbackUri.exec(uri) ?? []
  return host === undefined || Number(port) > 65_535 ? null : `${host} ${rest}`
}

/**
 * Returns true for a URI that any program on the machine may receive: loopback, or of a private-use scheme (RFC 8252,
 * 8.6).
 */
export function isNative (uri: string): boolean {
  return !uri.startsWith('https:')
}

/** The beginning of the ids of clients in the store, which no id of the table may have. */
export const storedPrefix = 'client_'

/** Lists the names that the entries of a table may use. */
export interface TableContext {
  /** The scopes that the application declares; `null` if it declares none. */
  readonly scopes: ReadonlySet<string> | null
  /** The schemes of the resources. */
  readonly resources: readonly string[]
  /** Ids that no client may have. */
  readonly reserved: readonly string[]
}

/** Parses the option `clients`. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseTable (value: unknown, option: string, context: TableContext): ReadonlyMap<string, Client> {
  if (!isPlainObject(value)) {
    throw misconfigured(`${option} must be an object of clients by id. Got ${describeValue(value)}.`)
  }
  const parse = entryParser(context)
  const clients = Object.entries(value).map(([id, entry]) => {
    checkId(id, option, context)
    return [id, clientOf(id, parse(entry, `${option}.${id}`), `${option}.${id}`)] as const
  })
  return new Map(clients)
}

function checkId (id: string, option: string, { reserved }: TableContext): void {
  if (!/^[\w.~-]{1,100}$/.test(id)) {
    throw misconfigured(`${option} has the id ${describeValue(id)}. Use letters, digits and -._~, at most 100.`)
  }
  if (reserved.includes(id) || id.startsWith(storedPrefix)) {
    throw misconfigured(`${option} has the id '${id}', which is reserved. Choose another one.`)
  }
}

type Entry = ReturnType<ReturnType<typeof entryParser>>

function entryParser ({ scopes, resources }: TableContext) {
  return object({
    name: optional(text, null),
    redirectUris: optional(parseRedirectUris, []),
    scopes: optional(scopesParser(scopes), []),
    grants: optional(parseGrants, null),
    secrets: optional(parseSecrets, []),
    consent: optional(oneOf<'remember' | false>('remember', false), undefined),
    roles: optional(oneOf(true), false),
    introspect: optional(listOf(oneOf(...resources)), [])
  })
}

const secretList = listOf((value, path) => digestOf(checkSecret(value, { minBytes: 16, path })))

const parseSecrets: Parser<readonly ClientSecret[]> = (value, option) => {
  const digests = secretList(value, option)
  if (digests.length < 1 || digests.length > 2 || new Set(digests).size < digests.length) {
    throw misconfigured(`${option} must have one secret, or two different ones while one replaces the other. Leave ` +
      'it out for a public client.')
  }
  return digests.map(digest => Object.freeze({ digest, expiresAt: null }))
}

function clientOf (id: string, entry: Entry, option: string): Client {
  const { name, redirectUris, scopes, secrets, introspect } = entry
  const isConfidential = secrets.length > 0
  if (introspect.length > 0 && !isConfidential) {
    throw misconfigured(`${option}.introspect needs secrets: a public client cannot prove who it is (RFC 7662, 2.1). ` +
      'Set secrets, or leave introspect out.')
  }
  const grants = grantsOf({ grants: entry.grants, redirectUris, isConfidential }, option)
  if (grants.length === 0 && introspect.length === 0) {
    throw misconfigured(`${option} can do nothing: give it redirectUris, or grants such as ['client_credentials'].`)
  }
  return Object.freeze({ ...entry, id, name: name ?? id, scopes, grants, isConfidential })
}
