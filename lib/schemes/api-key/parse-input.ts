import type { ApiKeyBounds, ApiKeyChange, ApiKeyInput, ApiKeyRecord, NewApiKeyBounds } from '../../../types/api-keys.js'
import type { PrincipalInput } from '../../../types/principal.js'
import type { StoreOwner } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { principalFrom } from '../../kit/principal.js'
import { isObject, isValidDate, property } from '../../util/objects.js'
import { atRunTime, parseDuration, readOptions } from '../../util/options.js'

/** The fields of a key that the caller chooses. */
export type KeyFields = Pick<ApiKeyRecord, 'name' | 'scopes' | 'roles' | 'expiresAt' | 'rateLimit'>

const fieldNames = ['name', 'scopes', 'roles', 'expiresAt', 'rateLimit'] as const

/** Characters of the name of a key, a scope or a role. */
const maxNameLength = 200
/** Characters of a realm, and of an id. */
const maxOwnerLength = 1_000
/** Seconds: ten years. */
const maxOverlap = 10 * 365 * 86_400
/** The last instant of the year 9999: later ones have no plain ISO 8601 form, and some stores cannot hold them. */
const maxExpiry = Date.UTC(10_000, 0) - 1
/** Scopes of a key, and roles: stores limit the size of a record. */
const maxNames = 200

/** Parses the fields of a new key. @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseInput (input: ApiKeyInput): KeyFields {
  return atRunTime(() => {
    const fields = readOptions(input, fieldNames, 'it')
    const name = parseName(fields.name)
    return { scopes: [], roles: [], expiresAt: null, rateLimit: null, ...parseFields(fields), name }
  }, 'apiKeys.create()')
}

/** Parses the fields of a change. @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseChange (change: ApiKeyChange): Partial<KeyFields> {
  return atRunTime(() => parseFields(readOptions(change, fieldNames, 'it')), 'apiKeys.update()')
}

/**
 * Parses the bounds of a call, given the rest of its arguments.
 * @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong.
 */
export function parseBounds (method: 'create' | 'update', bounds: readonly unknown[]): NewApiKeyBounds {
  return atRunTime(() => {
    // an explicit `undefined` is refused: read as "left out", it would lift every bound
    const given = bounds.length === 0 ? {} : bounds[0]
    const options = readOptions(given, method === 'create' ? ['within', 'maxKeys'] : ['within'], 'its bounds')
    return { ...parseWithin(options), ...parseMaxKeys(options) }
  }, `apiKeys.${method}()`)
}

/**
 * Parses the options of `rotate`. The overlap is in milliseconds.
 * @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong.
 */
export function parseRotation (options: unknown): NewApiKeyBounds & { readonly overlap: number } {
  return atRunTime(() => {
    const given = readOptions(options, ['overlap', 'within', 'maxKeys'], 'it')
    const length = parseDuration(given.overlap, 'overlap')
    if (length > maxOverlap) throw internalError('overlap must be at most ten years')
    return { overlap: length * 1000, ...parseWithin(given), ...parseMaxKeys(given) }
  }, 'apiKeys.rotate()')
}

/** Refuses an owner that a store cannot hold. @throws {AuthError} `AUTH_FAULT` */
export function checkOwner ({ realm, id }: StoreOwner): void {
  if (isText(realm, maxOwnerLength) && isText(id, maxOwnerLength)) return
  throw internalError('the realm and the id of the owner of API keys must be strings of 1 to ' +
    `${maxOwnerLength} characters`)
}

/** Parses `within`. Anything but a principal is refused, as it would lift the bound. */
function parseWithin (options: Readonly<Record<string, unknown>>): ApiKeyBounds {
  if (!('within' in options)) return {}
  const { within } = options
  const rights = isObject(within) ? [property(within, 'scopes'), property(within, 'roles')] : []
  if (!isObject(within) || !rights.every(Array.isArray)) {
    throw internalError('within must be a principal with scopes and roles')
  }
  return { within: principalFrom(within as unknown as PrincipalInput, '') }
}

function parseMaxKeys ({ maxKeys }: Readonly<Record<string, unknown>>): Pick<NewApiKeyBounds, 'maxKeys'> {
  if (maxKeys === undefined) return {}
  if (typeof maxKeys !== 'number' || !Number.isSafeInteger(maxKeys) || maxKeys < 1) {
    throw internalError('maxKeys must be a whole number, 1 or more')
  }
  return { maxKeys }
}

function parseFields (fields: Readonly<Record<string, unknown>>): Partial<KeyFields> {
  return {
    ...'name' in fields ? { name: parseName(fields.name) } : {},
    ...'scopes' in fields ? { scopes: parseNames(fields.scopes, 'scopes') } : {},
    ...'roles' in fields ? { roles: parseNames(fields.roles, 'roles') } : {},
    ...'expiresAt' in fields ? { expiresAt: parseExpiry(fields.expiresAt) } : {},
    ...'rateLimit' in fields ? { rateLimit: parseRateLimit(fields.rateLimit) } : {}
  }
}

function parseName (name: unknown): string {
  if (!isText(name, maxNameLength)) throw internalError(`name must be a string of 1 to ${maxNameLength} characters`)
  return name
}

function parseNames (value: unknown, field: string): readonly string[] {
  if (!Array.isArray(value) || value.length > maxNames || !value.every(name => isText(name, maxNameLength))) {
    throw internalError(`${field} must be a list of up to ${maxNames} names`)
  }
  return [...new Set<string>(value)]
}

function parseExpiry (value: unknown): string | null {
  if (value === null) return null
  if (!isValidDate(value) || value.getTime() <= Date.now() || value.getTime() > maxExpiry) {
    throw internalError('expiresAt must be a Date in the future, up to the year 9999, or null')
  }
  return value.toISOString()
}

function parseRateLimit (value: unknown): KeyFields['rateLimit'] {
  if (value === null) return null
  const { max, window } = readOptions(value, ['max', 'window'], 'rateLimit')
  if (typeof max !== 'number' || !Number.isSafeInteger(max) || max < 1) {
    throw internalError('rateLimit.max must be a whole number of requests, 1 or more')
  }
  const length = parseDuration(window, 'rateLimit.window')
  if (length < 1) throw internalError('rateLimit.window must be at least one second')
  return { max, window: length }
}

function isText (value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value.trim() !== '' && value.length <= maxLength
}
