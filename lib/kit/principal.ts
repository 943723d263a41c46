import type { No, Principal, PrincipalFrom, PrincipalInput } from '../../types/principal.js'
import type { Load, LoadContext } from '../../types/scheme.js'
import { AuthError, functionError, internalError, misconfigured } from '../errors.js'
import { describeValue } from '../util/describe.js'
import {
  deepFrozenCopy, hasFields, hasProperty, isMisplacedPromise, isNo, isObject, property
} from '../util/objects.js'

const none: readonly string[] = Object.freeze([])

/**
 * Creates a frozen principal from a value of the application, which is not changed. Accessors of its class are read,
 * and properties of `Object.prototype` are ignored.
 * @param source how a message names the value: "the result of schemes.service.verify".
 * @throws {AuthError} `AUTH_FAULT` if `id` is missing, or `scopes` or `roles` is not a list of strings.
 */
export function principalFrom<P extends PrincipalInput> (
  input: P, realm: string, source = 'a principal'
): PrincipalFrom<P> {
  const id = isObject(input) ? property(input, 'id') : undefined
  if (typeof id !== 'string' || id === '') throw noPrincipal(input, id, source)
  const principal: Principal = Object.freeze({
    ...input,
    realm: text(property(input, 'realm'), 'realm', source) ?? realm,
    id,
    scopes: names(property(input, 'scopes'), 'scopes', source),
    roles: names(property(input, 'roles'), 'roles', source)
  })
  return principal as PrincipalFrom<P>
}

/** Returns the error for a value that is not a principal. It contains no text of the value, which may be a secret. */
function noPrincipal (input: unknown, id: unknown, source: string): AuthError {
  const isPromise = isMisplacedPromise(input)
  const other = isObject(input) ? `an object whose id is ${describeKind(id)}` : describeKind(input)
  const got = isPromise ? 'a promise: await it first' : other
  return internalError(`${source} must be an object with a non-empty string id. Got ${got}`)
}

function describeKind (value: unknown): string {
  return typeof value === 'string' && value !== '' ? 'a text' : describeValue(value)
}

/**
 * Creates the principal from the result of the function `verify` of a scheme; `null` for a "no" ({@link isNo}).
 * @throws {AuthError} as {@link principalFrom} does.
 */
export function answeredPrincipal<P extends PrincipalInput> (answer: P | No, scheme: string): PrincipalFrom<P> | null {
  return isNo(answer) ? null : principalFrom(answer, scheme, `the result of schemes.${scheme}.verify`)
}

/**
 * Adds the fields that `load` returned to a principal; `null` for a "no" ({@link isNo}). Its realm and id stay those
 * that the credential proved.
 * @param scheme the name of the scheme, for messages.
 * @throws {AuthError} `AUTH_FAULT` for a result that is neither an object nor a "no", and as {@link principalFrom}.
 */
export function loadedPrincipal (principal: Principal, loaded: unknown, scheme: string): Principal | null {
  if (isNo(loaded)) return null
  if (!isObject(loaded)) {
    throw internalError(`the load function for the scheme '${scheme}' returned neither a principal nor null`)
  }
  if (!hasFields(loaded)) {
    throw internalError(`the load function for the scheme '${scheme}' returned a Map, an Error or another object ` +
      'that does not keep its content in fields. Return an object with the fields to add, or null')
  }
  const { realm, id } = principal
  const rights = (['scopes', 'roles'] as const).flatMap(
    field => hasProperty(loaded, field) ? [[field, property(loaded, field)]] : []
  )
  const merged: Principal = { ...principal, ...loaded, ...Object.fromEntries(rights), realm, id }
  return principalFrom(merged, realm, `the result of load for the scheme '${scheme}'`) as Principal
}

/**
 * Calls `load`, outside of the guard, and completes a principal as {@link loadedPrincipal} does.
 * @throws {AuthError} `AUTH_FAULT` for an error that `load` throws, so that its status is not that of the response.
 */
export async function loadPrincipal (
  load: Load, principal: Principal, context: LoadContext
): Promise<Principal | null> {
  const { scheme } = context
  try {
    return loadedPrincipal(principal, await load(principal, context), scheme)
  } catch (cause) {
    throw loadError(cause, scheme)
  }
}

/** Returns the fault for an error that `load` threw, so that its status and its message are not those of a response. */
export function loadError (cause: unknown, scheme: string): AuthError {
  return functionError(`the load function for the scheme '${scheme}'`, cause)
}

/**
 * Creates a principal from an option. Many requests share it, so its lists and plain objects are deep-frozen copies.
 * @param which how the message names the principal's credential.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function principalAtBoot<P extends PrincipalInput> (input: P, realm: string, which: string): PrincipalFrom<P> {
  let principal: PrincipalFrom<P>
  try {
    principal = deepFrozenCopy(principalFrom(input, realm))
  } catch (cause) {
    throw misconfigured(
      `The principal of ${which} is wrong: ${cause instanceof AuthError ? cause.detail : 'it cannot be read'}.`
    )
  }
  checkEffects(principal, which)
  return principal
}

/**
 * Refuses fields with which managed API keys are limited, and which would be fields without an effect in a table. The
 * name of a plan is not a limit: a function of a route may read it.
 */
function checkEffects (principal: object, which: string): void {
  const rename = 'Give the field another name if only your own code reads it.'
  const [expiresAt, rateLimit] = ['expiresAt', 'rateLimit'].map(field => property(principal, field) ?? null)
  if (expiresAt !== null) {
    throw misconfigured(`The principal of ${which} has expiresAt, but no entry of a table expires. Use managed API ` +
      `keys, which may expire. ${rename}`)
  }
  if (rateLimit === null || typeof rateLimit !== 'object') return
  throw misconfigured(`The principal of ${which} has a rateLimit, which would limit nothing. Set rateLimit in the ` +
    `config.auth of routes, or use managed API keys, which have limits of their own. ${rename}`)
}

/** Returns the realms of principals, each once. */
export function realmsOf (principals: readonly Principal[]): readonly string[] {
  return Object.freeze([...new Set(principals.map(({ realm }) => realm))])
}

function text (value: unknown, field: string, source: string): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw internalError(`the ${field} of ${source} must be a non-empty string. Got ${describeKind(value)}`)
}

function names (value: unknown, field: string, source: string): readonly string[] {
  if (value === undefined) return none
  const copy = Array.isArray(value) ? Array.from(value as unknown[]) : null
  if (copy?.every(name => typeof name === 'string') !== true) {
    const got = copy === null ? describeKind(value) : 'a list with other elements'
    throw internalError(`the ${field} of ${source} must be a list of strings. Got ${got}`)
  }
  return Object.freeze(copy)
}

/** Parses the option `decorate` of a scheme: `true` for the scheme's own name, or another name. */
export function decorateOption (value: unknown, option: string): true | string {
  if (value === true || (typeof value === 'string' && /^[A-Za-z][\w-]*$/.test(value))) return value
  throw misconfigured(`${option} must be true, or the name of a property of request, such as 'user'. Got ` +
    `${describeValue(value)}.`)
}
