import type { FastifyInstance } from 'fastify'
import type { CredentialSource } from '../../../types/scheme.js'
import { misconfigured } from '../../errors.js'
import { issuerUrlProblem, sourceUrl } from '../../jose/remote/fetch-json.js'
import { describeValue } from '../../util/describe.js'
import { allowEveryOrigin, declarePreflight, sendJson } from '../../util/endpoints.js'
import { isScopeToken, listOf, object, optional, orTrue, text } from '../../util/options.js'
import type { IssuerSettings, JwtSettings } from './options.js'

/** Configures the document that tells clients where to get tokens (RFC 9728). */
export interface ResourceOptions {
  /** The name of the resource that clients show to people. */
  readonly name?: string
  /** The URL of a page for developers. */
  readonly documentation?: string
  /** The scopes that clients may request. */
  readonly scopes?: readonly string[]
  /**
   * The URL of the document, if it is not the well-known URL of the audience. The plugin declares the route if the path
   * is in its context; otherwise serve the document there by other means.
   */
  readonly metadata?: string
}

/** {@link ResourceOptions}, parsed. */
export interface ResourceSettings {
  readonly name: string | null
  readonly documentation: string | null
  readonly scopes: readonly string[] | null
  readonly metadata: string | null
}

const parseObject = object({
  name: optional(text, null),
  documentation: optional(webUrl, null),
  scopes: optional(listOf(parseScope), null),
  metadata: optional(webUrl, null)
})

/** Parses the option `resource`. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseResource (value: unknown, option: string): ResourceSettings {
  return orTrue(parseObject)(value, option)
}

function webUrl (value: unknown, option: string): string {
  const url = sourceUrl(text(value, option), null)
  if (url instanceof URL) return text(value, option)
  throw misconfigured(`${option} ${url}. Got ${describeValue(value)}.`)
}

/** Parses a scope. Rejects `offline_access`, which is not a scope of a resource (RFC 9728, 2). */
function parseScope (value: unknown, option: string): string {
  const scope = text(value, option)
  if (!isScopeToken(scope)) {
    throw misconfigured(`${option} has characters that a scope cannot have (RFC 6749, 3.3), such as spaces, quotes ` +
      'or non-ASCII characters.')
  }
  if (scope !== 'offline_access') return scope
  throw misconfigured(`${option} is offline_access, which clients request from an authorization server. Leave it out.`)
}

/** A protected resource: the URL of its metadata, and the route that serves it. */
export interface ProtectedResource {
  readonly metadataUrl: string
  /** Declares the route of the document. */
  readonly routes: (app: FastifyInstance) => void
}

const wellKnown = '/.well-known/oauth-protected-resource'

/**
 * Describes the first audience of a scheme as a protected resource.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if the audience or an issuer is not a URL, or the document cannot be served.
 */
export function createResource (settings: ResourceSettings, scheme: JwtSettings): ProtectedResource {
  const { issuers, sources, path, remote } = scheme
  const option = `The option ${path}.resource`
  if (typeof issuers === 'function') {
    throw misconfigured(`${option} needs the issuers as a list: the document names them.`)
  }
  const resource = resourceOf(issuers, option)
  const authorizationServers = issuers.map(({ issuer, path }) => issuerUrl(issuer, remote.insecureHosts, path))
  const metadataUrl = settings.metadata ?? `${resource.origin}${wellKnown}${pathOf(resource)}${resource.search}`
  const document = Object.freeze({
    resource: resource.text,
    authorization_servers: authorizationServers,
    // RFC 9728, 3.2: parameters without values are left out
    ...settings.scopes === null || settings.scopes.length === 0 ? {} : { scopes_supported: settings.scopes },
    bearer_methods_supported: bearerMethods(sources),
    ...settings.name === null ? {} : { resource_name: settings.name },
    ...settings.documentation === null ? {} : { resource_documentation: settings.documentation }
  })
  return {
    metadataUrl,
    routes: app => {
      const url = routeOf(app, { metadataUrl, isOwn: settings.metadata !== null, option })
      if (url !== null) declare(app, { url, document, option })
    }
  }
}

interface ResourceUrl {
  /** The audience as it is configured, because clients compare it as text (RFC 9728, 3.3). */
  readonly text: string
  readonly origin: string
  readonly pathname: string
  readonly search: string
}

/** Returns the first audience. Every issuer in the document must issue tokens for it. */
function resourceOf (issuers: readonly IssuerSettings[], option: string): ResourceUrl {
  const identifier = issuers[0]?.audience?.[0]
  const url = identifier === undefined ? 'is missing' : sourceUrl(identifier, null)
  const problem = url instanceof URL ? (String(identifier).includes('#') ? 'must not have a fragment' : null) : url
  if (problem !== null || !(url instanceof URL)) {
    const which = identifier === undefined ? 'It' : `'${identifier}'`
    throw misconfigured(
      `${option} needs the URL of this application as the first audience (RFC 9728, 1.2). ${which} ${problem}.`
    )
  }
  const other = issuers.find(({ audience }) => audience !== null && !audience.includes(String(identifier)))
  if (other === undefined) {
    return { text: String(identifier), origin: url.origin, pathname: url.pathname, search: url.search }
  }
  throw misconfigured(`${option} names every issuer, but ${other.path}.audience lacks the first audience of the ` +
    'scheme, so tokens that clients get there would be refused. Add it.')
}

function pathOf ({ pathname }: ResourceUrl): string {
  return pathname === '/' ? '' : pathname
}

/** Returns the identifier of an authorization server (RFC 8414, 2). */
function issuerUrl (issuer: string | null, insecureHosts: readonly string[], path: string): string {
  const problem = issuer === null ? 'must be named' : issuerUrlProblem(issuer, insecureHosts)
  if (problem === null) return String(issuer)
  throw misconfigured(`The option ${path}.issuer ${problem}, because the option resource names it to clients that ` +
    'need a token.')
}

/** Returns the methods of RFC 6750 by which clients may send a token (RFC 9728, 2). */
function bearerMethods (sources: readonly CredentialSource[]): readonly string[] {
  const methods = [
    ...sources.includes('bearer') ? ['header'] : [], ...sources.includes('query:access_token') ? ['query'] : []
  ]
  return Object.freeze(methods)
}

interface Served {
  readonly metadataUrl: string
  /** `true` if the application set the URL of the document with `metadata`. */
  readonly isOwn: boolean
  readonly option: string
}

/** Returns the pattern of the route within the context of the plugin; `null` if the application set a URL elsewhere. */
function routeOf (app: FastifyInstance, { metadataUrl, isOwn, option }: Served): string | null {
  const { pathname } = new URL(metadataUrl)
  const isWithin = pathname.startsWith(`${app.prefix}/`)
  if (!isWithin && isOwn) return null
  if (!isWithin) {
    throw misconfigured(`${option} has its document at ${pathname}, which is outside of the context of the plugin ` +
      `with the prefix ${app.prefix}. Set the URL at which it is served, such as resource: { metadata: 'https://…' }` +
      ', or register the plugin without a prefix.')
  }
  if (/^[\w\-.~/]*$/.test(pathname)) return pathname.slice(app.prefix.length)
  throw misconfigured(`${option} has its document at ${pathname}, which no route can serve. Use only letters, digits ` +
    'and -._~ in the path of the audience, or set the URL at which the document is served: ' +
    "resource: { metadata: 'https://…' }.")
}

interface Declared {
  readonly url: string
  readonly document: object
  readonly option: string
}

function declare (app: FastifyInstance, { url, document, option }: Declared): void {
  if (app.hasRoute({ method: 'GET', url: `${app.prefix}${url}` })) {
    throw misconfigured(`${option} has its document at ${app.prefix}${url}, where another route is declared. Two ` +
      'schemes cannot describe one resource: give each an audience of its own, or let one describe both.')
  }
  const config = { auth: { public: 'describes the protected resource to clients (RFC 9728)' } }
  const options = { config, schema: { hide: true } as object, onSend: allowEveryOrigin }
  app.get(url, options, async (_request, reply) =>
    sendJson(reply.header('cache-control', 'public, max-age=3600'), document))
  declarePreflight(app, url)
}
