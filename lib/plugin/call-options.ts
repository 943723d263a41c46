import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SchemeChoice, SchemeName } from '../../types/names.js'
import type { Features } from '../../types/scheme.js'
import type { LoginOptions } from '../../types/sessions.js'
import type { StoreOwner } from '../../types/store.js'
import type { GrantOptions, IssueOptions, RefreshOptions } from '../../types/tokens.js'
import { internalError, misconfigured } from '../errors.js'
import type { BoundScheme } from '../policy/policy.js'
import { describeValue, joinNames } from '../util/describe.js'
import { isObject, isPlainObject, isValidDate, property } from '../util/objects.js'
import { atRunTime, readOptions } from '../util/options.js'
import type { BoundSchemes } from './schemes.js'

const kinds = {
  'a string': (value: unknown) => typeof value === 'string',
  'a non-empty string': (value: unknown) => typeof value === 'string' && value !== '',
  'true or false': (value: unknown) => typeof value === 'boolean',
  'an object': isObject,
  'a plain object': isPlainObject,
  'a list of strings': (value: unknown) => Array.isArray(value) && value.every(each => typeof each === 'string'),
  'a valid Date': isValidDate,
  'a valid Date, or null': (value: unknown) => value === null || isValidDate(value),
  "Fastify's request": isRequest,
  anything: () => true
} as const

function isRequest (value: unknown): value is FastifyRequest {
  return isObject(value) && isObject(property(value, 'raw'))
}

type Kinds = Readonly<Record<string, keyof typeof kinds>>

/**
 * Parses the options of a call: known keys only, each of the right kind. A key that is misspelled or `undefined` must
 * not count as left out.
 * @throws {AuthError} `AUTH_FAULT`, whose detail names the call and the key.
 */
function parseCallOptions (options: unknown, call: string, known: Kinds): unknown {
  return atRunTime(() => {
    const fields = readOptions(options, Object.keys(known), `The options of ${call}`)
    for (const [key, value] of Object.entries(fields)) {
      const kind = known[key] as keyof typeof kinds
      if (kinds[kind](value)) continue
      throw misconfigured(`The option ${key} of ${call} must be ${kind}. Got ${describeValue(value)}.`)
    }
    return fields
  })
}

export function parseLoginOptions (options: unknown): LoginOptions {
  return parseCallOptions(options, 'reply.login()', {
    scheme: 'a string',
    keep: 'true or false',
    renew: 'true or false',
    stateChecked: 'true or false',
    authenticatedAt: 'a valid Date, or null',
    data: 'an object'
  }) as LoginOptions
}

export function parseIssueOptions (options: unknown): IssueOptions {
  return parseCallOptions(options, 'tokens.issue()', {
    scheme: 'a string', expiresIn: 'anything', claims: 'a plain object'
  }) as IssueOptions
}

export function parseGrantOptions (options: unknown): GrantOptions {
  return parseCallOptions(options, 'tokens.grant()', {
    scheme: 'a string',
    scopes: 'a list of strings',
    client: 'a non-empty string',
    authenticatedAt: 'a valid Date'
  }) as GrantOptions
}

export function parseRefreshOptions (options: unknown): RefreshOptions {
  return parseCallOptions(options, 'tokens.refresh()', {
    scheme: 'a string', scopes: 'a list of strings', client: 'a string'
  }) as RefreshOptions
}

export function parseAuthenticateOptions (options: unknown): { readonly request: FastifyRequest } {
  const call = 'gatehouse.authenticate()'
  const parsed = parseCallOptions(options, call, { request: "Fastify's request" }) as { request?: FastifyRequest }
  if (parsed.request === undefined) throw internalError(`${call} needs { request }, which opened the connection.`)
  return { request: parsed.request }
}

export function parseAttemptOptions (options: unknown): { readonly realm?: string } {
  return parseCallOptions(options, 'guesses.attempt()', { realm: 'a string' }) as { readonly realm?: string }
}

export function parseRevokeAllOptions (options: unknown, call: string): { readonly except?: string } {
  return parseCallOptions(options, call, { except: 'a string' }) as { readonly except?: string }
}

/** Parses the options of a call whose only option is `scheme`. */
export function parseSchemeOption (options: unknown, call: string): string | undefined {
  return (parseCallOptions(options, call, { scheme: 'a string' }) as SchemeChoice).scheme
}

/**
 * Parses the owner that a call names.
 * @throws {AuthError} `AUTH_FAULT` for a value that is no owner, such as the `request.principal` of an anonymous
 * caller.
 */
export function parseOwner (owner: unknown, call: string): StoreOwner {
  const [realm, id] = isObject(owner) ? [property(owner, 'realm'), property(owner, 'id')] : []
  if (typeof realm === 'string' && typeof id === 'string') return Object.freeze({ realm, id })
  throw internalError(`The owner of ${call} must be { realm, id }, such as a principal. Got ${describeValue(owner)}.`)
}

/**
 * Parses the reply that a call sets headers on.
 * @throws {AuthError} `AUTH_FAULT` for any other value, which may be a token: the detail does not show it.
 */
export function parseReply (reply: unknown, call: string): FastifyReply {
  if (isObject(reply) && typeof property(reply, 'header') === 'function') return reply as object as FastifyReply
  throw internalError(`${call} needs the reply of the request as its first argument`)
}

/**
 * Parses the request that a call is about.
 * @throws {AuthError} `AUTH_FAULT` for any other value.
 */
export function parseRequest (request: unknown, call: string): FastifyRequest {
  if (isRequest(request)) return request
  throw internalError(`${call} needs the request as its first argument. Got ${describeValue(request)}`)
}

/**
 * Parses the function that checks a password for `guesses.attempt()`.
 * @throws {AuthError} `AUTH_FAULT` for any other value, which may be a password: the detail does not show it.
 */
export function parseCheck<C> (check: C): C {
  if (typeof check === 'function') return check
  throw internalError('guesses.attempt() needs a function as its third argument, such as () => ' +
    'verifyPassword(password, hash): a check that has begun cannot be limited')
}

/**
 * Returns the scheme that a call names.
 * @throws {AuthError} `AUTH_FAULT` if there is no such scheme.
 */
export function chooseScheme (schemes: BoundSchemes, name: unknown): BoundScheme {
  const bound = typeof name === 'string' ? schemes.get(name) : undefined
  if (bound !== undefined) return bound
  throw internalError(`there is no scheme ${describeValue(name)}. Known: ${joinNames([...schemes.keys()], 'and')}`)
}

/** A scheme that has a feature. */
export interface Provider<F> {
  readonly name: SchemeName
  readonly feature: F
}

/** Returns the schemes that have a feature. */
export function providersOf<F> (
  schemes: BoundSchemes, pick: (features: Features) => F | undefined
): ReadonlyArray<Provider<F>> {
  return [...schemes.values()].flatMap(({ name, features }) => {
    const feature = pick(features)
    return feature === undefined ? [] : [{ name: name as SchemeName, feature }]
  })
}

/**
 * Returns the scheme that a call means: the one that it names, or the only one there is.
 * @param verb what these schemes do, for the message: "keep sessions".
 * @throws {AuthError} `AUTH_FAULT` if there is none, if the named one is not among them, or if there are several and
 * the call names none.
 */
export function chooseProvider<F> (
  providers: ReadonlyArray<Provider<F>>, name: string | undefined, verb: string
): Provider<F> {
  const [only, ...others] = name === undefined ? providers : providers.filter(each => each.name === name)
  if (only !== undefined && others.length === 0) return only
  if (providers.length === 0) throw internalError(`no scheme of this application can ${verb}`)
  const names = joinNames(providers.map(each => `'${each.name}'`))
  throw internalError(name === undefined
    ? `several schemes can ${verb}: name one of them, ${names}, in the option scheme`
    : `the scheme ${describeValue(name)} cannot ${verb}. Known: ${names}`)
}
