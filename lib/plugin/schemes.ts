import type { FastifyInstance } from 'fastify'
import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { Principal } from '../../types/principal.js'
import type { Features, Made, Scheme, SchemeContext } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import { AuthError, misconfigured } from '../errors.js'
import { checkSource } from '../kit/read-credential.js'
import { isAmbient } from '../kit/sources.js'
import { createGuessLimiter, type GuessLimiter } from '../limits/guesses.js'
import type { BoundScheme } from '../policy/policy.js'
import { hasPermission, type Permissions } from '../policy/requirements.js'
import { ensureDeadline } from '../stores/deadline.js'
import { toStoreError } from '../stores/operations.js'
import { memoryStore } from '../stores/memory/index.js'
import { describeValue } from '../util/describe.js'
import { isMisplacedPromise, isObject, isPlainObject, jsonObject } from '../util/objects.js'
import {
  functionOf, isHttpToken, listOf, oneOf, readOptions, syncFunctionOf, text, type Parser
} from '../util/options.js'
import { isScheme, missingMember, type Options } from './options.js'

/** The schemes of one application, by name. */
export type BoundSchemes = ReadonlyMap<string, BoundScheme>

/** The schemes of one application, and the parts that they share with it. */
export interface OpenedSchemes {
  readonly schemes: BoundSchemes
  readonly guesses: GuessLimiter
  readonly store: Store
  readonly grants: SchemeContext['grants']
}

/**
 * Prepares the store, then creates every scheme for one application, under its name.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a store that is not ready, and for a factory that returns no scheme.
 */
export async function openSchemes (app: FastifyInstance, options: Options): Promise<OpenedSchemes> {
  const { store: configured, load, permissions, limits, origins } = options
  const store = configured === null ? createMemoryStore(app) : ensureDeadline(configured)
  await migrate(store)
  const guesses = createGuessLimiter(store, limits.guesses, origins)
  const common = { store, shared: configured !== null, load, grants: createGrants(permissions) }
  const schemes = new Map<string, BoundScheme>()
  for (const [name, definition] of options.schemes) {
    const context: SchemeContext = Object.freeze({ ...common, guesses: guesses.of(name) })
    const made = typeof definition === 'function' ? await definition(app, name, context) : definition
    const { scheme, features } = parseMade(made, name)
    const ownLoad = scheme.load === undefined ? load : scheme.load
    schemes.set(name, Object.freeze({
      name, scheme, ambient: isAmbient(scheme), load: ownLoad, features: Object.freeze({ ...features })
    }))
  }
  checkClientRealms(schemes)
  return { schemes, guesses, store, grants: common.grants }
}

/**
 * Declares the routes of schemes.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a function that returns a promise: nobody would wait for its routes, or
 * see its error.
 */
export function declareRoutes (app: FastifyInstance, schemes: Iterable<BoundScheme>): void {
  for (const { name, features } of schemes) {
    const declared: unknown = features.routes?.(app)
    if (!isMisplacedPromise(declared)) continue
    throw misconfigured(`The option schemes.${name}.features.routes must declare its routes at once. It returned a ` +
      'promise. Prepare what the routes need in the function that makes the scheme, which may be asynchronous.')
  }
}

/** Returns the realms of clients: the issuers that sign in this application. */
export function clientRealms (schemes: BoundSchemes): ReadonlySet<string> {
  return new Set([...schemes.values()].flatMap(({ features }) => features.tokens?.service?.issuer ?? []))
}

/** Rejects a scheme whose principals would have the realm of clients, by its name or by an option. */
function checkClientRealms (schemes: BoundSchemes): void {
  const reserved = clientRealms(schemes)
  for (const { name, scheme, features } of schemes.values()) {
    if (features.tokens === undefined && reserved.has(name)) {
      throw misconfigured(`The option schemes.${name} has the name of an issuer that signs tokens in this ` +
        'application, so its people would be in the realm of clients. Rename the scheme, or the issuer.')
    }
    const realm = scheme.realms?.find(each => reserved.has(each))
    if (realm !== undefined) {
      throw misconfigured(`The option schemes.${name} has a principal in the realm '${realm}'. That is the realm of ` +
        'clients, because this application signs tokens with the same issuer. Leave the realm out, or set another one.')
    }
  }
}

/** Creates the store of an application that configures none. It is closed with the application. */
function createMemoryStore (app: FastifyInstance): Store {
  const store = memoryStore()
  app.addHook('onClose', async () => { await store.close() })
  return store
}

async function migrate (store: Store): Promise<void> {
  try {
    await store.migrate()
  } catch (error) {
    throw misconfigured(`The option store is not ready (${toStoreError('migrate', error).detail}). Check that the ` +
      'database is running, that its address is right, and that this user may create tables.')
  }
}

/**
 * Creates `grants` of a {@link SchemeContext}. Where names are declared, rules accept no others. A principal may still
 * have others, which no role includes.
 */
function createGrants (permissions: Permissions): SchemeContext['grants'] {
  return (principal: Principal, kind, name) => permissions[kind]?.has(name) === false
    ? principal[kind].includes(name)
    : hasPermission(principal, permissions.requirement(kind, name, `the ${kind} of a principal`))
}

interface SchemeParts {
  readonly scheme: Scheme<Principal>
  readonly features: Features
}

function parseMade (made: Made<Principal>, name: string): SchemeParts {
  const option = `The option schemes.${name}`
  if (isScheme(made)) return { scheme: checkedScheme(made, option), features: {} }
  if (isObject(made) && isScheme(made.scheme) && isObject(made.features)) {
    return { scheme: checkedScheme(made.scheme, option), features: parseFeatures(made.features, option) }
  }
  if (typeof made === 'function') {
    throw misconfigured(`${option} is a function that returned another one. Call it, as in apiKey({ keys }).`)
  }
  const missing = missingMember(made) ?? missingMember(isObject(made) ? made.scheme : null)
  if (missing !== null) throw misconfigured(`${option} is a function whose scheme ${missing}`)
  throw misconfigured(`${option} is a function that returned no scheme. Return an object with ` +
    'authenticate() and openapi, or { scheme, features }.')
}

const featureNames = ['routes', 'sessions', 'apiKeys', 'tokens'] as const satisfies ReadonlyArray<keyof Features>

/** Returns the features of a scheme. Rejects misspelled ones, because calls of the application would miss them. */
function parseFeatures (features: object, option: string): Features {
  for (const [key, feature] of Object.entries(readOptions(features, featureNames, `${option}.features`))) {
    const isRight = key === 'routes' ? typeof feature === 'function' : isObject(feature)
    if (!isRight) {
      throw misconfigured(`${option}.features.${key} must be ${key === 'routes' ? 'a function' : 'an object'}. ` +
        `Got ${describeValue(feature)}.`)
    }
  }
  return features
}

const flag = oneOf(true, false)

/**
 * The parsers of optional members of a scheme. Of the flags that restrict, `ambient` and `ownerUnknown`, every value
 * except `false`, `null` and `undefined` counts as `true`.
 */
const memberParsers = {
  challenge: syncFunctionOf('(failure) => challenge, list of challenges or null'),
  refuse: functionOf('(request, reply, failure) => true if it answered'),
  load: (value, option) => value === null ? null : parseLoad(value, option),
  sources: listOf(checkSource),
  reportsAuthTime: flag,
  delegated: flag,
  accepts: parseJson,
  realms: listOf(text),
  cacheControl: parseHeaderText
} as const satisfies { readonly [K in keyof Scheme]?: Parser<unknown> }

const parseLoad = functionOf('(principal, { scheme, request }) => fields or null, or null')

function parseHeaderText (value: unknown, option: string): string {
  if (typeof value === 'string' && /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/.test(value)) return value
  throw misconfigured(`${option} must be the value of a header, such as 'private'. Got ${describeValue(value)}.`)
}

/** Checks an object that is written to documents and snapshots as JSON. */
function parseJson (value: unknown, option: string): void {
  if (!isPlainObject(value)) throw misconfigured(`${option} must be a plain object. Got ${describeValue(value)}.`)
  try {
    jsonObject(value, option)
  } catch (error) {
    throw error instanceof AuthError ? misconfigured(error.detail) : error
  }
}

function checkMembers (scheme: Scheme<Principal>, option: string): void {
  for (const [member, parse] of Object.entries(memberParsers)) {
    const value = scheme[member as keyof typeof memberParsers]
    if (value !== undefined) parse(value, `${option}.${member}`)
  }
}

/** Checks the description of a scheme, which says where its credential is, and its optional members. */
function checkedScheme (scheme: Scheme<Principal>, option: string): Scheme<Principal> {
  checkMembers(scheme, option)
  checkDescription(scheme.openapi, `${option}.openapi`)
  return scheme
}

const parseType = oneOf('http', 'apiKey', 'oauth2', 'openIdConnect', 'mutualTLS')
const parseIn = oneOf('header', 'query', 'cookie')

/** Checks what `sources`, challenges and OpenAPI documents are made of, unless the scheme has them itself. */
function checkDescription (openapi: OpenApiSecurityScheme, option: string): void {
  parseJson(openapi, option)
  parseType(openapi.type, `${option}.type`)
  switch (openapi.type) {
    case 'http':
      checkToken(openapi.scheme, `${option}.scheme`, "an HTTP authentication scheme (RFC 9110, 11.1), such as 'bearer'")
      break
    case 'apiKey': {
      const kind = parseIn(openapi.in, `${option}.in`)
      checkToken(openapi.name, `${option}.name`, `a ${kind === 'query' ? 'query parameter' : kind}, such as 'x-key'`)
      break
    }
    case 'oauth2':
      checkFlows(openapi.flows, `${option}.flows`)
      break
    case 'openIdConnect':
      text(openapi.openIdConnectUrl, `${option}.openIdConnectUrl`)
      break
    case 'mutualTLS':
  }
}

function checkToken (value: unknown, option: string, thing: string): void {
  if (typeof value === 'string' && isHttpToken(value)) return
  throw misconfigured(`${option} must be the name of ${thing}. Got ${describeValue(value)}.`)
}

function checkFlows (flows: unknown, option: string): void {
  const isFlow = (flow: unknown): boolean => isObject(flow) && isObject(flow.scopes)
  if (isObject(flows) && Object.values(flows).every(isFlow)) return
  throw misconfigured(`${option} must be an object of flows, each with its scopes, such as { clientCredentials: { ` +
    `tokenUrl: 'https://id.example.com/token', scopes: {} } }. Got ${describeValue(flows)}.`)
}
