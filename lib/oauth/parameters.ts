import { unescape } from 'node:querystring'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TokenService } from '../../types/tokens.js'
import { getOrCreate } from '../util/objects.js'
import { isScopeToken } from '../util/options.js'
import type { Client } from './client.js'
import { oauthError } from './errors.js'
import type { Server } from './server.js'

/** Bytes of a form. */
const maxFormBytes = 16_384

interface Parameter {
  /** The value, the first one if the parameter is repeated. */
  readonly value: string
  /** As it was sent, percent-encoded. */
  readonly raw: string
  count: number
}

/**
 * The parameters of a request, from a form or a query. A parameter without a value counts as left out (RFC 6749, 3.1).
 */
export class Parameters {
  readonly #all = new Map<string, Parameter>()

  /** Parses the form encoding (`application/x-www-form-urlencoded`). */
  constructor (text: string) {
    for (const part of text.split('&')) {
      if (part === '') continue
      const equals = part.indexOf('=')
      const name = decodeForm(equals === -1 ? part : part.slice(0, equals))
      const raw = equals === -1 ? '' : part.slice(equals + 1)
      getOrCreate(this.#all, name, () => ({ value: decodeForm(raw), raw, count: 0 })).count++
    }
  }

  /** Returns the value of a parameter, the first one if it is repeated, or `null`. */
  get (name: string): string | null {
    return this.#all.get(name)?.value || null
  }

  /** Returns a value as it was sent, percent-encoded, or `null`. */
  raw (name: string): string | null {
    return this.#all.get(name)?.raw || null
  }

  isRepeated (name: string): boolean {
    return (this.#all.get(name)?.count ?? 0) > 1
  }

  /** Returns the fields with their first values, for the application's own page. */
  fields (): Readonly<Record<string, string>> {
    return Object.freeze(Object.fromEntries([...this.#all].map(([name, { value }]) => [name, value])))
  }

  /**
   * Rejects repeated parameters and empty names (RFC 6749, 3.2). Several resources could be meant, but a token has one
   * (RFC 8707).
   * @throws {OAuthError} `invalid_target`, `invalid_request`
   */
  check (): void {
    for (const [name, { count }] of this.#all) {
      if (name === '') throw oauthError('invalid_request', 'A parameter has no name')
      if (count === 1) continue
      if (name === 'resource') throw oauthError('invalid_target', 'A token has one resource: name one')
      throw oauthError('invalid_request', 'A parameter is repeated')
    }
  }
}

/** Decodes a form-encoded text. Like the URL Standard, it replaces bytes that are not UTF-8. */
export function decodeForm (text: string): string {
  return unescape(text.replaceAll('+', ' '))
}

/** Makes forms the only accepted bodies of a context, even if the application has other parsers. */
export function acceptForms (context: FastifyInstance): void {
  context.removeAllContentTypeParsers()
  context.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: maxFormBytes },
    (_request, body, done) => { done(null, new Parameters(String(body))) }
  )
}

/**
 * Returns the form of a request.
 * @throws {OAuthError} `invalid_request` for any other body, or none, and as {@link Parameters.check}.
 */
export function formOf ({ body }: FastifyRequest): Parameters {
  if (!(body instanceof Parameters)) {
    throw oauthError('invalid_request', 'The request must be form-encoded', { status: 415 })
  }
  body.check()
  return body
}

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

/** Returns the scopes of the parameter `scope`; `null` without one. @throws {OAuthError} `invalid_scope` */
export function readScopes (scope: string | null): readonly string[] | null {
  if (scope === null) return null
  const all = scope.split(' ')
  if (!all.every(isScopeToken)) throw oauthError('invalid_scope', 'The scope is malformed')
  // The grants of a client decide if there is a refresh token, so offline_access changes nothing.
  const names = [...new Set(all)].filter(name => name !== 'offline_access')
  return names.length === 0 ? null : names
}

/**
 * Returns the requested scopes that a client may have, or all of them without a request.
 * @throws {OAuthError} `invalid_scope` if nothing is left.
 */
export function scopesFor (client: Client, requested: readonly string[] | null): readonly string[] {
  const scopes = requested === null ? client.scopes : requested.filter(name => client.scopes.includes(name))
  if (scopes.length === 0 && requested !== null) throw noScopeLeft()
  return scopes
}

/**
 * Returns the resource that a request names, and the scopes of its parameter `scope` that the client may have. Without
 * the parameter, they are all that the client may have at this resource, if it lists its scopes.
 * @throws {OAuthError} `invalid_scope` if nothing is left, and as {@link chooseResource}.
 */
export function chooseScopes (
  server: Server, client: Client, parameters: Parameters
): { readonly service: TokenService, readonly scopes: readonly string[] } {
  const requested = readScopes(parameters.get('scope'))
  const allowed = scopesFor(client, requested)
  const service = chooseResource(server, parameters.get('resource'))
  if (requested !== null || service.scopes === null) return { service, scopes: allowed }
  const listed = new Set(service.scopes)
  const scopes = allowed.filter(name => listed.has(name))
  if (scopes.length === 0 && allowed.length > 0) throw noScopeLeft()
  return { service, scopes }
}

/** Returns the refusal if no requested scope is left. */
export function noScopeLeft () {
  return oauthError('invalid_scope', 'None of the scopes can be given')
}
