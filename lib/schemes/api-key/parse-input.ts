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
/** Seconds: ten years. */
const longestOverlap = 10 * 365 * 86_400
/** The last instant of four digits of year, which every store and ISO 8601 can hold. */
const latest = Date.UTC(10_000, 0) - 1
/** Of scopes, and of roles. What a store keeps has its limits. */
const mostNames = 200

/** @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseInput (input: ApiKeyInput): KeyFields & { readonly owner: StoreOwner } {
  return atRunTime(() => {
    const said = readOptions(input, ['owner', ...decided], 'it')
    return { owner: ownerOf(said.owner), scopes: [], roles: [], expiresAt: null, rateLimit: null, name: nameOf(said.name), ...parsed(said) }
  }, 'apiKeys.create()')
}

/** @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseChange (change: ApiKeyChange): Partial<KeyFields> {
  return atRunTime(() => parsed(readOptions(change, decided, 'it')), 'apiKeys.update()')
}

/** @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseBounds (method: 'create' | 'update', bounds: unknown): NewApiKeyBounds {
  return atRunTime(() => {
    const said = readOptions(bounds, method === 'create' ? ['within', 'most'] : ['within'], 'what bounds it')
    return { ...boundsOf(said), ...mostOf(said) }
  }, `apiKeys.${method}()`)
}

function mostOf (said: Readonly<Record<string, unknown>>): Pick<NewApiKeyBounds, 'most'> {
  if (!('most' in said)) return {}
  if (typeof said.most !== 'number' || !Number.isSafeInteger(said.most) || said.most < 1) throw internalError('most must be a whole number of keys, 1 or more')
  return { most: said.most }
}

/** The overlap in milliseconds, and the bounds beside it. @throws {AuthError} `AUTH_FAULT`, whose detail says what is wrong. */
export function parseRotation (options: unknown): NewApiKeyBounds & { readonly overlap: number } {
  return atRunTime(() => {
    const said = readOptions(options, ['overlap', 'within', 'most'], 'it')
    const length = parseDuration(said.overlap, 'overlap')
    if (length > longestOverlap) throw internalError('overlap must be ten years at most')
    return { overlap: length * 1000, ...boundsOf(said), ...mostOf(said) }
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

/** An owner as a principal has one, and nothing else that it brings along. */
export function ownerOf (owner: unknown): StoreOwner {
  const [realm, id] = isObject(owner) ? [property(owner, 'realm'), property(owner, 'id')] : []
  if (!isText(realm, 1_000) || !isText(id, 1_000)) throw internalError('the owner of API keys must be { realm, id }, as a principal has them')
  return { realm, id }
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
