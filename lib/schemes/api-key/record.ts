import type { ApiKeyRecord } from '../../../types/api-keys.js'
import type { RateLimitRule } from '../../../types/limits.js'
import type { JsonObject, JsonValue, StoreEntry, StoreRecord } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { deepFreeze, isObject, ownFields } from '../../util/objects.js'

/** Under which a store keeps keys. */
export const kind = 'api-key'

/** How long a key that ended is remembered, so that whoever still sends it is told that it expired. Milliseconds. */
const remembered = 7 * 86_400_000

/** A key as it is kept. */
export interface StoredKey {
  /** The scheme's, so that two schemes over one store have each their own keys. */
  readonly prefix: string
  readonly record: ApiKeyRecord
}

/** When a key ends, in milliseconds since 1970; `Infinity` when it does not. */
export function endOf ({ expiresAt, sunsetAt }: ApiKeyRecord): number {
  return Math.min(instantOf(expiresAt), instantOf(sunsetAt))
}

function instantOf (text: string | null): number {
  return text === null ? Infinity : Date.parse(text)
}

/** A key as a store keeps it: in place of the key, its digest. */
export function entryOf ({ prefix, record }: StoredKey): StoreEntry {
  const { id, owner, rateLimit, ...rest } = record
  const limit = rateLimit === null ? null : { max: rateLimit.max, window: rateLimit.window }
  const end = endOf(record)
  const value: JsonObject = { ...rest, rateLimit: limit, prefix }
  return { kind, id, owner, value, expiresAt: end === Infinity ? null : new Date(end + remembered) }
}

/** What a store kept, read again. @throws {AuthError} `AUTH_FAULT` when it is no key: somebody else wrote it. */
export function storedKeyOf ({ id, owner, value: kept }: StoreRecord): StoredKey {
  if (owner === null) throw unreadable()
  const value = ownFields(kept) as JsonObject
  const record: ApiKeyRecord = {
    id,
    owner,
    name: text(value.name),
    start: text(value.start),
    scopes: names(value.scopes),
    roles: names(value.roles),
    createdAt: text(value.createdAt),
    expiresAt: optional(value.expiresAt),
    lastUsedAt: optional(value.lastUsedAt),
    rateLimit: limitOf(value.rateLimit),
    replacedBy: optional(value.replacedBy),
    replacedAt: optional(value.replacedAt),
    sunsetAt: optional(value.sunsetAt)
  }
  return deepFreeze({ prefix: text(value.prefix), record })
}

function text (value: JsonValue | undefined): string {
  if (typeof value !== 'string') throw unreadable()
  return value
}

function optional (value: JsonValue | undefined): string | null {
  return value === null ? null : text(value)
}

function names (value: JsonValue | undefined): readonly string[] {
  if (!Array.isArray(value)) throw unreadable()
  return value.map(text)
}

function limitOf (value: JsonValue | undefined): RateLimitRule | null {
  if (value === null) return null
  if (!isObject(value) || typeof value.max !== 'number' || typeof value.window !== 'number') throw unreadable()
  return { max: value.max, window: value.window }
}

function unreadable (): Error {
  return internalError('the store has an API key that cannot be read')
}
