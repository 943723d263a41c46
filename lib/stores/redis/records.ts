import { randomUUID } from 'node:crypto'
import type {
  JsonObject, StoreCount, StoreEntry, StoreIncrement, StoreOwner, StoreRecord
} from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { checkEntry, checkName, checkOwner, milliseconds, valueOf, windowOf } from '../limits.js'
import type { RedisClient } from './options.js'
import type { Names } from './scripts.js'
import * as scripts from './scripts.js'

/** Records that one script takes: a script stops the whole server while it runs. */
const atOnce = 100

/** What a record is asked for. */
const asked = ['v', 'o', 'd', 'e', 'k', 'i'] as const

/** The answer to it, where there is one. */
type Fields = readonly [
  version: string, owner: string, data: string, end: string, kind: string | null, id: string | null
]

/** What {@link scripts.find} answers with. */
type Found = readonly [0, readonly string[]] | readonly [1, readonly Fields[]]

/** Where the records are. */
export interface Place {
  readonly client: RedisClient
  readonly names: Names
}

export function add (place: Place, entry: StoreEntry): Promise<boolean> {
  return write(place, scripts.add, entry, [])
}

export function swap (place: Place, record: StoreRecord): Promise<boolean> {
  return write(place, scripts.swap, record, [record.version])
}

async function write (
  { client, names }: Place, script: scripts.Script, entry: StoreEntry, more: readonly string[]
): Promise<boolean> {
  checkEntry(entry)
  const { kind, id, expiresAt } = entry
  const [owner, at] = [names.owner(entry.owner), milliseconds(expiresAt, kind)]
  const args = [
    valueOf(kind, entry.value).json, randomUUID(), owner, at === null ? '' : String(at), id, kind, names.channel(kind),
    ...more
  ]
  return await scripts.run(client, script, names.both(kind, id, owner), args) === 1
}

export async function get ({ client, names }: Place, kind: string, id: string): Promise<StoreRecord | null> {
  checkName(kind, id)
  const found = await client.hmget(names.record(kind, id), ...asked)
  return found[0] === null ? null : recordOf(found as unknown as Fields)
}

/**
 * The index is a key of the script too, and only the record says which: it is asked with the owner it is thought to
 * have until that is the one.
 */
export async function take ({ client, names }: Place, kind: string, id: string): Promise<StoreRecord | null> {
  checkName(kind, id)
  for (let owner = ''; ;) {
    const reply = await scripts.run(client, scripts.take, names.both(kind, id, owner), [owner, id, names.channel(kind)])
    if (typeof reply !== 'string') return reply === null ? null : recordOf(reply as Fields)
    owner = reply
  }
}

/**
 * Reads all records of an owner at one instant: one after the other, a session that is renewed meanwhile would be
 * missed, old and new. The records are keys of the script, and only the index says which: it is asked with those that
 * it is thought to have until that is so.
 */
export async function find (
  { client, names }: Place, kind: string, owner: StoreOwner
): Promise<readonly StoreRecord[]> {
  checkOwner(kind, owner)
  const own = names.owner(owner)
  for (let ids: readonly string[] = []; ;) {
    const keys = [names.index(kind, own), ...ids.map(id => names.record(kind, id))]
    const reply = await scripts.run(client, scripts.find, keys, [own, ...ids]) as Found
    if (reply[0] === 1) return reply[1].map(recordOf)
    ids = reply[1]
  }
}

/**
 * The ids are read in one step and taken in another. A session that is renewed between them is a new one that was not
 * read, and an old one that is gone before it is taken. So they are read again until none is left.
 */
export async function takeAll (
  place: Place, kind: string, owner: StoreOwner, except: string | undefined
): Promise<readonly StoreRecord[]> {
  if (except !== undefined) checkName(kind, except)
  const taken: StoreRecord[] = []
  for (;;) {
    const ids = (await idsOf(place, kind, owner)).filter(id => id !== except)
    if (ids.length === 0) return taken
    for (let from = 0; from < ids.length; from += atOnce) {
      taken.push(...await takeSome(place, kind, owner, ids.slice(from, from + atOnce)))
    }
  }
}

async function takeSome (
  { client, names }: Place, kind: string, owner: StoreOwner, ids: readonly string[]
): Promise<readonly StoreRecord[]> {
  const own = names.owner(owner)
  const keys = [names.index(kind, own), ...ids.map(id => names.record(kind, id))]
  const reply = await scripts.run(
    client, scripts.takeAll, keys, [own, names.channel(kind), ...ids]
  ) as readonly Fields[]
  return reply.map(recordOf)
}

/** The ids in the index of an owner. Of some the record may be gone. */
async function idsOf ({ client, names }: Place, kind: string, owner: StoreOwner): Promise<readonly string[]> {
  checkOwner(kind, owner)
  return await client.zrange(names.index(kind, names.owner(owner)), 0, -1)
}

export async function increment (
  { client, names }: Place, kind: string, id: string, options: StoreIncrement
): Promise<StoreCount> {
  checkName(kind, id)
  const args = [String(windowOf(kind, options)), String(options.ceiling ?? Number.MAX_SAFE_INTEGER)]
  const [counted, count, end] = await scripts.run(
    client, scripts.increment, [names.counter(kind, id)], args
  ) as readonly [number, number, string | null]
  return { counted: counted === 1, count, expiresAt: end === null ? null : new Date(Number(end)) }
}

export async function decrement ({ client, names }: Place, kind: string, id: string, expiresAt: Date): Promise<void> {
  checkName(kind, id)
  await scripts.run(client, scripts.decrement, [names.counter(kind, id)], [String(expiresAt.getTime())])
}

/** @throws {AuthError} `AUTH_FAULT` for a record that does not say what it belongs to. */
function recordOf ([version, owner, data, end, kind, id]: Fields): StoreRecord {
  if (kind === null || id === null) {
    throw internalError(
      'store: a record in Redis has no kind and id. An earlier version of this plugin wrote it: remove the keys of that version'
    )
  }
  return {
    kind,
    id,
    owner: ownerOf(owner),
    value: JSON.parse(data) as JsonObject,
    expiresAt: end === '' ? null : new Date(Number(end)),
    version
  }
}

function ownerOf (text: string): StoreOwner | null {
  if (text === '') return null
  const [realm, id] = JSON.parse(text) as [string, string]
  return { realm, id }
}
