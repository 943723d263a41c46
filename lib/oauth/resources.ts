import type { TokenService } from '../../types/tokens.js'
import type { Client } from './client.js'
import { oauthError } from './errors.js'
import type { Server } from './setup.js'

/**
 * Returns the resource that a request names (RFC 8707), or the first one. A bare origin matches with and without its
 * slash.
 * @throws {OAuthError} `invalid_target`
 */
export function chooseResource ({ services }: Server, named: string | null): TokenService {
  const [first] = services as readonly [TokenService, ...TokenService[]]
  if (named === null) return first
  const found = services.find(({ resource }) => isResource(resource, named))
  if (found !== undefined) return found
  throw oauthError('invalid_target', 'The resource is unknown')
}

/** Returns true if a request means this resource. */
export function isResource (resource: string, named: string): boolean {
  return resource === named || (isOrigin(resource) && withoutSlash(resource) === withoutSlash(named))
}

function isOrigin (resource: string): boolean {
  return URL.canParse(resource) && /^https?:\/\/[^/?#]+\/?$/.test(resource)
}

function withoutSlash (text: string): string {
  return text.endsWith('/') ? text.slice(0, -1) : text
}

const scopeList = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/

/** Returns the scopes of the parameter `scope`; `null` without one. @throws {OAuthError} `invalid_scope` */
export function readScopes (scope: string | null): readonly string[] | null {
  if (scope === null) return null
  if (!scopeList.test(scope)) throw oauthError('invalid_scope', 'The scope is malformed')
  // every grant can be refreshed that may be, so that offline_access changes nothing
  const names = [...new Set(scope.split(' '))].filter(name => name !== 'offline_access')
  return names.length === 0 ? null : names
}

/**
 * Returns the requested scopes that a client may have, or all of them without a request.
 * @throws {OAuthError} `invalid_scope` if nothing is left.
 */
export function scopesFor (client: Client, requested: readonly string[] | null): readonly string[] {
  const scopes = requested === null ? client.scopes : requested.filter(name => client.scopes.includes(name))
  if (scopes.length === 0 && requested !== null) throw nothingLeft()
  return scopes
}

/** Returns the refusal if no requested scope is left. */
export function nothingLeft () {
  return oauthError('invalid_scope', 'None of the scopes can be given')
}
