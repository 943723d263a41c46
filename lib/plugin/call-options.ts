import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SchemeChoice, SchemeName } from '../../types/names.js'
import type { Features } from '../../types/scheme.js'
import type { LoginOptions } from '../../types/sessions.js'
import type { StoreOwner } from '../../types/store.js'
import type { GrantOptions, IssueOptions, RefreshOptions } from '../../types/tokens.js'
import { type AuthError, internalError, misconfigured } from '../errors.js'
import type { BoundScheme } from '../policy/policy.js'
import { describeValue, joinNames } from '../util/describe.js'
import { isObject, isPlainObject, property } from '../util/objects.js'
import {
  asGiven, atRunTime, date, listOf, object, oneOf, partial, string, text, type Parser
} from '../util/options.js'
import type { BoundSchemes } from './schemes.js'

function isRequest (value: unknown): value is FastifyRequest {
  return isObject(value) && isObject(property(value, 'raw'))
}

const flag = oneOf(true, false)

function dateOrNull (value: unknown, option: string): Date | null {
  return value === null ? null : date(value, option)
}

function anObject (value: unknown, option: string): object {
  if (isObject(value)) return value
  throw misconfigured(`${option} must be an object. Got ${describeValue(value)}.`)
}

function plainObject (value: unknown, option: string): object {
  if (isPlainObject(value)) return value
  throw misconfigured(`${option} must be a plain object. Got ${describeValue(value)}.`)
}

function openingRequest (value: unknown, option: string): FastifyRequest {
  if (isRequest(value)) return value
  throw misconfigured(
    `${option} must be the request of Fastify that opened the connection. Got ${describeValue(value)}.`
  )
}

/** The parsers of the options of a call: one for each option that it has. */
type Parsers<T> = { readonly [K in keyof T]-?: Parser<unknown> }

/**
 * Returns the parser of the options of a call. A key that is misspelled or `undefined` must not count as left out. The
 * parser throws `AUTH_FAULT`, whose detail names the call and the key.
 */
function optionsOf<T extends object> (call: string, parsers: Parsers<T>): (options: unknown) => T {
  const parse = partial(parsers)
  return options => atRunTime(() => parse(options, `The options of ${call}`)) as T
}

export const parseLoginOptions = optionsOf<LoginOptions>('reply.login()', {
  scheme: string, keep: flag, renew: flag, stateChecked: flag, authenticatedAt: dateOrNull, data: anObject
})

export const parseIssueOptions = optionsOf<IssueOptions>('tokens.issue()', {
  scheme: string, expiresIn: asGiven, claims: plainObject
})

export const parseGrantOptions = optionsOf<GrantOptions>('tokens.grant()', {
  scheme: string, scopes: listOf(string), client: text, authenticatedAt: date
})

export const parseRefreshOptions = optionsOf<RefreshOptions>('tokens.refresh()', {
  scheme: string, scopes: listOf(string), client: string
})

export const parseAttemptOptions = optionsOf<{ readonly realm?: string }>('guesses.attempt()', { realm: string })

const authenticateOptions = object({ request: openingRequest })

export function parseAuthenticateOptions (options: unknown): { readonly request: FastifyRequest } {
  return atRunTime(() => authenticateOptions(options, 'The options of gatehouse.authenticate()'))
}

export function parseRevokeAllOptions (options: unknown, call: string): { readonly except?: string } {
  return optionsOf<{ readonly except?: string }>(call, { except: string })(options)
}

/** Parses the options of a call whose only option is `scheme`. */
export function parseSchemeOption (options: unknown, call: string): string | undefined {
  return optionsOf<SchemeChoice>(call, { scheme: string })(options).scheme
}

/**
 * Parses the owner that a call names.
 * @throws {AuthError} `AUTH_FAULT` for a value that is not an owner, such as the `request.principal` of an anonymous
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

/** Names what some schemes can do, as messages say it, and the function that creates such a scheme. */
const factories = {
  'issue tokens': 'jwt({ sign })',
  'keep sessions': 'session()',
  'manage API keys': 'apiKey({ managed })',
  'refresh tokens, which needs sign.refresh': 'jwt()',
  'sign tokens with an issuer and an audience': 'jwt({ issuer, audience, sign })'
}

/** Returns the error for a call that needs a scheme of a kind of which there is none. */
export function noProvider (verb: keyof typeof factories): AuthError {
  return internalError(`no scheme of this application can ${verb}: add one, created by ${factories[verb]}`)
}

/**
 * Returns the scheme that a call means: the one that it names, or the only one there is.
 * @param verb what these schemes do, for the message.
 * @throws {AuthError} `AUTH_FAULT` if there is none, if the named one is not among them, or if there are several and
 * the call names none.
 */
export function chooseProvider<F> (
  providers: ReadonlyArray<Provider<F>>, name: string | undefined, verb: keyof typeof factories
): Provider<F> {
  const [only, ...others] = name === undefined ? providers : providers.filter(each => each.name === name)
  if (only !== undefined && others.length === 0) return only
  if (providers.length === 0) throw noProvider(verb)
  const names = joinNames(providers.map(each => `'${each.name}'`))
  throw internalError(name === undefined
    ? `several schemes can ${verb}: name one of them, ${names}, in the option scheme`
    : `the scheme ${describeValue(name)} cannot ${verb}. Known: ${names}`)
}
