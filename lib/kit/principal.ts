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
 * @throws {AuthError} `AUTH_FAULT` if `id` is missing, or `scopes` or `roles` is not a list of strings.
 */
export function principalFrom<P extends PrincipalInput> (input: P, realm: string): PrincipalFrom<P> {
  const id = typeof input === 'object' && input !== null ? property(input, 'id') : undefined
  if (typeof id !== 'string' || id === '') {
    const hint = isMisplacedPromise(input) ? ', and no promise of it: await it first' : ''
    throw internalError(`a principal must be an object with a non-empty string id${hint}`)
  }
  const principal: Principal = Object.freeze({
    ...input,
    realm: text(property(input, 'realm'), 'realm') ?? realm,
    id,
    scopes: names(property(input, 'scopes'), 'scopes'),
    roles: names(property(input, 'roles'), 'roles')
  })
  return principal as PrincipalFrom<P>
}

/**
 * Creates the principal from the result of an application's function; `null` for a "no" ({@link isNo}).
 * @throws {AuthError} as {@link principalFrom} does.
 */
export function answeredPrincipal<P extends PrincipalInput> (answer: P | No, realm: string): PrincipalFrom<P> | null {
  return isNo(answer) ? null : principalFrom(answer, realm)
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
  return principalFrom({ ...principal, ...loaded, ...Object.fromEntries(rights), realm, id }, realm) as Principal
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

/** Creates a principal that many requests share: its lists and plain objects are deep-frozen copies. */
export function keptPrincipal<P extends PrincipalInput> (input: P, realm: string): PrincipalFrom<P> {
  return deepFrozenCopy(principalFrom(input, realm))
}

/**
 * Creates a principal from an option, as {@link keptPrincipal} does.
 * @param which how the message names the principal's credential.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function principalAtBoot<P extends PrincipalInput> (input: P, realm: string, which: string): PrincipalFrom<P> {
  let principal: PrincipalFrom<P>
  try {
    principal = keptPrincipal(input, realm)
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
 * name of a plan is no limit: a function of a route may read it.
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

function text (value: unknown, field: string): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw internalError(`a principal's ${field} must be a non-empty string`)
}

function names (value: unknown, field: string): readonly string[] {
  if (value === undefined) return none
  const copy = Array.isArray(value) ? Array.from(value as unknown[]) : null
  if (copy?.every(name => typeof name === 'string') !== true) {
    throw internalError(`a principal's ${field} must be a list of strings`)
  }
  return Object.freeze(copy)
}

/** Parses the option `decorate` of a scheme: `true` for the scheme's own name, or another name. */
export function decorateOption (value: unknown, option: string): true | string {
  if (value === true || (typeof value === 'string' && /^[A-Za-z][\w-]*$/.test(value))) return value
  throw misconfigured(`${option} must be true, or the name of a property of request, such as 'user'. Got ` +
    `${describeValue(value)}.`)
}
