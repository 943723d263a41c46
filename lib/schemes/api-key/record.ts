import type { ApiKeyRecord } from '../../../types/api-keys.js'
import type { RateLimitRule } from '../../../types/limits.js'
import type { JsonObject, JsonValue, StoreEntry, StoreRecord } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { deepFreeze, isObject, ownFields } from '../../util/objects.js'

/** The kind of API keys in a store. */
export const kind = 'api-key'

/** Milliseconds for which the record of an expired key is kept, so that requests with it are refused as expired. */
const keptAfterEndMs = 7 * 86_400_000

/** The record of a key, and the scheme that it belongs to. */
export interface StoredKey {
  /** The prefix of the scheme's keys, which separates two schemes that share a store. */
  readonly prefix: string
  readonly record: ApiKeyRecord
}

/** Returns the instant at which a key ends, in milliseconds since 1970; `Infinity` when it does not. */
export function endOf ({ expiresAt, sunsetAt }: ApiKeyRecord): number {
  return Math.min(instantOf(expiresAt), instantOf(sunsetAt))
}

function instantOf (text: string | null): number {
  return text === null ? Infinity : Date.parse(text)
}

/** Returns the entry of a key for the store, under the digest of the key. */
export function entryOf ({ prefix, record }: StoredKey): StoreEntry {
  const { id, owner, rateLimit, ...rest } = record
  const limit = rateLimit === null ? null : { max: rateLimit.max, window: rateLimit.window }
  const end = endOf(record)
  const value: JsonObject = { ...rest, rateLimit: limit, prefix }
  return { kind, id, owner, value, expiresAt: end === Infinity ? null : new Date(end + keptAfterEndMs) }
}

/** Parses a record of the store. @throws {AuthError} `AUTH_FAULT` when it is not one that this plugin wrote. */
export function parseStoredKey ({ id, owner, value: fields }: StoreRecord): StoredKey {
  if (owner === null) throw unreadable()
  const value = ownFields(fields) as JsonObject
  const record: ApiKeyRecord = {
    id,
    owner,
    name: parseText(value.name),
    start: parseText(value.start),
    scopes: parseNames(value.scopes),
    roles: parseNames(value.roles),
    createdAt: parseText(value.createdAt),
    expiresAt: parseOptional(value.expiresAt),
    lastUsedAt: parseOptional(value.lastUsedAt),
    rateLimit: parseRateLimit(value.rateLimit),
    replacedBy: parseOptional(value.replacedBy),
    replacedAt: parseOptional(value.replacedAt),
    sunsetAt: parseOptional(value.sunsetAt)
  }
  return deepFreeze({ prefix: parseText(value.prefix), record })
}

function parseText (value: JsonValue | undefined): string {
  if (typeof value !== 'string') throw unreadable()
  return value
}

function parseOptional (value: JsonValue | undefined): string | null {
  return value === null ? null : parseText(value)
}

function parseNames (value: JsonValue | undefined): readonly string[] {
  if (!Array.isArray(value)) throw unreadable()
  return value.map(parseText)
}

function parseRateLimit (value: JsonValue | undefined): RateLimitRule | null {
  if (value === null) return null
  if (!isObject(value) || typeof value.max !== 'number' || typeof value.window !== 'number') throw unreadable()
  return { max: value.max, window: value.window }
}

function unreadable (): Error {
  return internalError('the store has a record of an API key that cannot be read')
}
