import type { StoreEntry, StoreOwner, StoreRecord } from '../../types/store.js'
import { AuthError, internalError, misconfigured } from '../errors.js'
import { describeValue } from '../util/describe.js'
import { isObject, ownField, ownFields } from '../util/objects.js'
import { atRunTime, type Parsed, type Parser, type Shape } from '../util/options.js'

/**
 * Returns the parser of the value of one kind of records. A record that cannot be read was damaged, or written by
 * something else, and is never believed. Fields that are not in the shape are left out, because a later version may
 * have written them.
 *
 * @example
 * const parseConsent = recordParser({ client: text, scopes: listOf(text) })
 * const { client, scopes } = parseConsent(record)
 * @throws {AuthError} `AUTH_FAULT`, naming the kind, the id and the field, for the log.
 */
export function recordParser<S extends Shape> (shape: S): (record: StoreEntry) => Parsed<S> {
  const parse = fieldsOf(shape)
  return ({ kind, id, value }) => atRunTime(() => parse(value, 'value'), unreadable(kind, id))
}

/** Returns the owner of a record that always has one. @throws {AuthError} `AUTH_FAULT` for a record without one. */
export function ownerOf ({ kind, id, owner }: StoreEntry): StoreOwner {
  if (owner === null) throw internalError(`${unreadable(kind, id)}: it has no owner`)
  return { realm: owner.realm, id: owner.id }
}

/** Names a record. Its id is not a secret: stores never receive secrets. */
function unreadable (kind: string, id: string): string {
  return `store: the record ${id} of the kind '${kind}' cannot be read`
}

/** Returns the parser of an object in a record. */
export function fieldsOf<S extends Shape> (shape: S): Parser<Parsed<S>> {
  const parsers = Object.entries(shape)
  return (value, path) => {
    if (!isObject(value)) throw misconfigured(`${path} must be an object. Got ${describeValue(value)}.`)
    const fields = ownFields(value)
    return Object.freeze(
      Object.fromEntries(parsers.map(([name, parse]) => [name, parse(fields[name], `${path}.${name}`)]))
    ) as Parsed<S>
  }
}

/**
 * Returns a field of a record as it is stored, or `undefined` if there is none. For calls that also work with damaged
 * records: those that remove records, or choose among all records of an owner.
 */
export function fieldIn (record: Pick<StoreEntry, 'value'>, name: string): unknown {
  const value: unknown = record.value
  return isObject(value) ? ownField(value, name) : undefined
}

/** Returns a time in a record, in milliseconds since 1970. One that cannot be read counts as the earliest, 0. */
export function timeIn (record: Pick<StoreEntry, 'value'>, name: string): number {
  const time = fieldIn(record, name)
  return typeof time === 'number' ? time : 0
}

/**
 * Returns true if the scheme or server whose records have these fields may remove a record. It may also remove one that
 * is damaged, unless a field that is still a string names another scheme or server, which shares the store.
 */
export function isRemovable (record: StoreRecord, own: Readonly<Record<string, string>>): boolean {
  return Object.entries(own).every(([name, value]) => {
    const field = fieldIn(record, name)
    return typeof field !== 'string' || field === value
  })
}

/** Parses any number that JSON has. */
export function number (value: unknown, path: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw misconfigured(`${path} must be a number. Got ${describeValue(value)}.`)
}

/** Returns the parser of a value that may be `null`. */
export function orNull<T> (parse: Parser<T>): Parser<T | null> {
  return (value, path) => value === null ? null : parse(value, path)
}

/** The number of times that a record is read and changed while other calls change it too, before a call gives up. */
const maxAttempts = 20

/**
 * Reads and changes a record, and tries again if another call has changed it at the same time.
 * @param subject the record in the error, such as `an API key`.
 * @param attempt returns `undefined` if another call came first.
 * @throws {AuthError} `AUTH_UNAVAILABLE` if other calls always come first.
 */
export async function changeRecord<T> (subject: string, attempt: () => Promise<T | undefined>): Promise<T> {
  for (let i = 0; i < maxAttempts; i++) {
    const result = await attempt()
    if (result !== undefined) return result
  }
  throw new AuthError('AUTH_UNAVAILABLE', `${subject} is changed by too many calls at once`)
}
