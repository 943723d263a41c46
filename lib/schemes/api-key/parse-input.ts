import type { ApiKeyBounds, ApiKeyChange, ApiKeyInput, ApiKeyRecord, NewApiKeyBounds } from '../../../types/api-keys.js'
import type { PrincipalInput } from '../../../types/principal.js'
import type { StoreOwner } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { principalFrom } from '../../kit/principal.js'
import { parseDuration } from '../../util/duration.js'
import { atRunTime, readOptions } from '../../util/options.js'
import { isObject, property } from '../../util/objects.js'

/** The fields of a key that people decide. */
export type KeyFields = Pick<ApiKeyRecord, 'name' | 'scopes' | 'roles' | 'expiresAt' | 'rateLimit'>

const decided = ['name', 'scopes', 'roles', 'expiresAt', 'rateLimit'] as const

const longestName = 200
/** Characters of a realm, and of an id. */
const maxOwnerLength = 1_000
/** Seconds: ten years. */
const longestOverlap = 10 * 365 * 86_400
/** The last instant of four digits of year, which every store and ISO 8601 can hold. */
const latest = Date.UTC(10_000, 0) - 1
/** Of scopes, and of roles. What a store keeps has its limits. */
const mostNames = 200

/** @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseInput (input: ApiKeyInput): KeyFields {
  return atRunTime(() => {
    const said = readOptions(input, decided, 'it')
    return { scopes: [], roles: [], expiresAt: null, rateLimit: null, name: nameOf(said.name), ...parsed(said) }
  }, 'apiKeys.create()')
}

/** @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseChange (change: ApiKeyChange): Partial<KeyFields> {
  return atRunTime(() => parsed(readOptions(change, decided, 'it')), 'apiKeys.update()')
}

/** @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseBounds (method: 'create' | 'update', bounds: readonly unknown[]): NewApiKeyBounds {
  return atRunTime(() => {
    // `undefined` must not read as "left out": it would bound nothing
    const given = bounds.length === 0 ? {} : bounds[0]
    const said = readOptions(given, method === 'create' ? ['within', 'maxKeys'] : ['within'], 'its bounds')
    return { ...boundsOf(said), ...maxKeysOf(said) }
  }, `apiKeys.${method}()`)
}

function maxKeysOf ({ maxKeys }: Readonly<Record<string, unknown>>): Pick<NewApiKeyBounds, 'maxKeys'> {
  if (maxKeys === undefined) return {}
  if (typeof maxKeys !== 'number' || !Number.isSafeInteger(maxKeys) || maxKeys < 1) {
    throw internalError('maxKeys must be a whole number of keys, 1 or more')
  }
  return { maxKeys }
}

/** The overlap in milliseconds, and the bounds beside it. @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseRotation (options: unknown): NewApiKeyBounds & { readonly overlap: number } {
  return atRunTime(() => {
    const said = readOptions(options, ['overlap', 'within', 'maxKeys'], 'it')
    const length = parseDuration(said.overlap, 'overlap')
    if (length > longestOverlap) throw internalError('overlap must be ten years at most')
    return { overlap: length * 1000, ...boundsOf(said), ...maxKeysOf(said) }
  }, 'apiKeys.rotate()')
}

/** Somebody who is to bound a key, and is nobody, would bound nothing. */
function boundsOf (said: Readonly<Record<string, unknown>>): ApiKeyBounds {
  if (!('within' in said)) return {}
  const { within } = said
  const rights = isObject(within) ? [property(within, 'scopes'), property(within, 'roles')] : []
  if (!isObject(within) || !rights.every(Array.isArray)) throw internalError('within must be a principal, with its scopes and roles')
  return { within: principalFrom(within as unknown as PrincipalInput, '') }
}

/** Rejects an owner that a store cannot keep. @throws {AuthError} `AUTH_FAULT` */
export function checkOwner ({ realm, id }: StoreOwner): void {
  if (isText(realm, maxOwnerLength) && isText(id, maxOwnerLength)) return
  throw internalError(`the realm and the id of the owner of API keys must be texts of 1 to ${maxOwnerLength} characters`)
}

function parsed (said: Readonly<Record<string, unknown>>): Partial<KeyFields> {
  return {
    ...'name' in said ? { name: nameOf(said.name) } : {},
    ...'scopes' in said ? { scopes: namesOf(said.scopes, 'scopes') } : {},
    ...'roles' in said ? { roles: namesOf(said.roles, 'roles') } : {},
    ...'expiresAt' in said ? { expiresAt: endOf(said.expiresAt) } : {},
    ...'rateLimit' in said ? { rateLimit: limitOf(said.rateLimit) } : {}
  }
}

function nameOf (name: unknown): string {
  if (!isText(name, longestName)) throw internalError(`name must be a text of 1 to ${longestName} characters`)
  return name
}

function namesOf (value: unknown, field: string): readonly string[] {
  if (!Array.isArray(value) || value.length > mostNames || !value.every(name => isText(name, longestName))) throw internalError(`${field} must be a list of up to ${mostNames} names`)
  return [...new Set<string>(value)]
}

function endOf (value: unknown): string | null {
  if (value === null) return null
  if (!(value instanceof Date) || !(value.getTime() > Date.now()) || value.getTime() > latest) throw internalError('expiresAt must be a Date in the future, up to the year 9999, or null')
  return value.toISOString()
}

function limitOf (value: unknown): KeyFields['rateLimit'] {
  if (value === null) return null
  const { max, window } = readOptions(value, ['max', 'window'], 'rateLimit')
  if (typeof max !== 'number' || !Number.isSafeInteger(max) || max < 1) throw internalError('rateLimit.max must be a whole number of requests, 1 or more')
  const length = parseDuration(window, 'rateLimit.window')
  if (length < 1) throw internalError('rateLimit.window must be at least one second')
  return { max, window: length }
}

function isText (value: unknown, longest: number): value is string {
  return typeof value === 'string' && value.trim() !== '' && value.length <= longest
}
