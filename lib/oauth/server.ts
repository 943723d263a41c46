import type { FastifyInstance } from 'fastify'
import type { SchemeName } from '../../types/names.js'
import type { ConsentPage } from '../../types/oauth.js'
import type { SchemeContext, Load } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import type { TokenService } from '../../types/tokens.js'
import { misconfigured } from '../errors.js'
import { issuerUrlProblem } from '../jose/remote/fetch-json.js'
import type { GuessLimiter } from '../limits/guesses.js'
import { internalsOf, ownSessions, type Internals, type OwnSessions } from '../plugin/internals.js'
import { noteSecret } from '../secrets/secret-uses.js'
import { describeValue } from '../util/describe.js'
import { listOf, object, oneOf, optional, text } from '../util/options.js'
import { parseTable, type Client } from './client.js'
import { StoredClients } from './stored-clients.js'

/** The session scheme that people log in with, and the parts of it that the server needs. */
export interface SessionScheme {
  readonly name: SchemeName
  readonly redirectToLogin: OwnSessions['redirectToLogin']
  /** The keys of the forms that people submit, the newest first. */
  readonly formKeys: readonly Uint8Array[]
}

/** The parts of one authorization server. */
export interface Server {
  readonly issuer: string
  /** The prefix of the protocol's routes. */
  readonly prefix: string
  readonly session: SessionScheme
  /** The signing scheme of each resource, in the order of the options. */
  readonly services: readonly TokenService[]
  readonly table: ReadonlyMap<string, Client>
  readonly stored: StoredClients
  readonly hasPublicClients: boolean
  readonly consent: 'ask' | 'remember' | false
  readonly consentPage: ConsentPage | null
  readonly store: Store
  readonly guesses: GuessLimiter
  readonly grants: SchemeContext['grants']
  /** The `load` of the session scheme, or else of the plugin. */
  readonly load: Load | null
  /** The scopes that the application declares; `null` if it declares none. */
  readonly scopes: ReadonlySet<string> | null
  readonly scopeDescriptions: Readonly<Record<string, string>>
}

const parse = object({
  session: text,
  resources: listOf(text),
  clients: (value: unknown = {}) => value,
  consent: optional(parseConsent, 'ask' as const),
  prefix: optional(parsePrefix, '/oauth'),
  publicClients: optional(oneOf<boolean>(true, false), null),
  logLevel: (value: unknown) => value,
  logSerializers: (value: unknown) => value
})

/**
 * Parses the options of `oauthServer`, and connects it with the schemes of the application.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the fix.
 */
export function createServer (app: FastifyInstance, options: unknown): Server {
  const parsed = parse(options, 'The options of oauthServer')
  const internals = internalsOf(app, 'oauthServer')
  if (internals.oauth !== null) throw misconfigured('oauthServer is registered twice. Register it once.')
  if (app.prefix !== '') {
    throw misconfigured(`oauthServer is registered in a context with the prefix ${app.prefix}, where its metadata ` +
      'cannot be at its well-known path. Register it without a prefix, and set its own option prefix.')
  }
  const { store, guesses, grants, permissions: { scopes }, scopeDescriptions } = internals
  const session = sessionOf(parsed.session, internals)
  const services = servicesOf(parsed.resources, internals, session.name)
  const issuer = issuerOf(services)
  const table = parseTable(parsed.clients, 'The option oauthServer.clients', {
    scopes, resources: parsed.resources, reserved: services.map(({ firstParty }) => firstParty)
  })
  noteClientSecrets(internals.app, parsed.clients as object)
  const hasPublicClients = parsed.publicClients ?? [...table.values()].some(({ isConfidential }) => !isConfidential)
  checkPublic(table, hasPublicClients)
  const { consent } = parsed
  return Object.freeze({
    issuer,
    prefix: parsed.prefix,
    session,
    services,
    table,
    stored: new StoredClients({ store, issuer, scopes, allowsPublic: hasPublicClients }),
    hasPublicClients,
    consent: typeof consent === 'function' ? 'ask' : consent,
    consentPage: typeof consent === 'function' ? consent : null,
    store,
    guesses,
    grants,
    load: internals.schemes.get(session.name)?.load ?? null,
    scopes,
    scopeDescriptions
  })
}

/** Notes the secrets of the clients in the options, which are parsed already, for the doctor. */
function noteClientSecrets (app: FastifyInstance, clients: object): void {
  for (const [id, client] of Object.entries(clients) as [string, { readonly secrets?: readonly string[] }][]) {
    const path = `oauthServer.clients.${id}.secrets`
    for (const secret of client.secrets ?? []) noteSecret(app, { purpose: path, path }, secret)
  }
}

/** Returns a client by its id, or `null`. */
export function findClient ({ table, stored }: Server, id: string): Client | null | Promise<Client | null> {
  return table.get(id) ?? stored.find(id)
}

function sessionOf (name: string, internals: Internals): SessionScheme {
  const { redirectToLogin, deriveKeys } = ownSessions(internals, name, 'The option oauthServer.session')
  return Object.freeze({ name: name as SchemeName, redirectToLogin, formKeys: deriveKeys('oauth form') })
}

function servicesOf (names: readonly string[], { schemes }: Internals, session: string): readonly TokenService[] {
  const option = 'The option oauthServer.resources'
  if (names.length === 0) throw misconfigured(`${option} is empty. Name a scheme that signs tokens.`)
  if (new Set(names).size < names.length) throw misconfigured(`${option} names a scheme twice. Name each once.`)
  const services = names.map((name, i) => {
    const service = schemes.get(name)?.features.tokens?.service
    if (service !== undefined) return service
    throw misconfigured(`${option}[${i}] must be a jwt() scheme with sign, an issuer and an audience. Got ` +
      `${describeValue(name)}.`)
  })
  for (const { scheme, realm } of services) {
    if (realm === session) continue
    throw misconfigured(`People log in with the scheme '${session}', whose realm is its name, but the scheme ` +
      `'${scheme}' signs for people of another realm. Set schemes.${scheme}.sign.realm to '${session}'.`)
  }
  return Object.freeze(services)
}

/** Returns the issuer of all resources (RFC 8414, 2). */
function issuerOf (services: readonly TokenService[]): string {
  const [first] = services as readonly [TokenService, ...TokenService[]]
  const { issuer } = first
  const other = services.find(each => each.issuer !== issuer)
  if (other !== undefined) {
    throw misconfigured(`The option oauthServer.resources has schemes with different issuers: '${other.scheme}' has ` +
      'another one than the first. Give all of them the same issuer.')
  }
  const problem = issuerUrlProblem(issuer, null)
  if (problem !== null) {
    throw misconfigured(`The option schemes.${first.scheme}.issuer ${problem}, because it is the issuer of ` +
      `oauthServer. Got ${describeValue(issuer)}.`)
  }
  return issuer
}

function checkPublic (table: ReadonlyMap<string, Client>, hasPublicClients: boolean): void {
  const found = [...table.values()].find(({ isConfidential }) => !isConfidential)
  if (hasPublicClients || found === undefined) return
  throw misconfigured(`The option oauthServer.publicClients is false, but the client '${found.id}' has no secret. ` +
    'Give it secrets, or leave publicClients out.')
}

function parseConsent (value: unknown, option: string): 'remember' | false | ConsentPage {
  if (value === 'remember' || value === false) return value
  if (typeof value === 'function') return value as ConsentPage
  throw misconfigured(`${option} must be 'remember', false, or a function (request, reply, consent) that sends a ` +
    `page. Got ${describeValue(value)}.`)
}

function parsePrefix (value: unknown, option: string): string {
  if (typeof value === 'string' && /^(?:\/[\w.~-]+)+$/.test(value)) return value
  throw misconfigured(`${option} must be a path without a slash at its end, such as '/oauth'. Got ` +
    `${describeValue(value)}.`)
}
