import { createHash } from 'node:crypto'
import type { StoreOwner } from '../../../types/store.js'
import { ownerKey } from '../../util/encoding.js'

/** A Lua script: its text, and the SHA-1 hash under which Redis caches it. */
export interface Script {
  readonly text: string
  readonly sha: string
}

/** The reply of a script. */
export type Reply = string | number | null | readonly Reply[]

function createScript (text: string): Script {
  return Object.freeze({ text, sha: createHash('sha1').update(text).digest('hex') })
}

/* Every key that a script uses is passed in KEYS, and all of them are in one slot of a cluster. A record is a hash with
   the fields `k` (kind), `i` (id), `v` (version), `o` (owner), `d` (data) and `e` (expiry in milliseconds, or '').
   Kind and id are also in its key; the fields let callers check that a reply belongs to the record they wanted. The
   index of an owner is a sorted set of ids by expiry; it expires with its last member. */

const now = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`

/** Defines the function `limit`, which lets an index expire with its last member. */
const limit = `
local function limit (index)
  local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  if last[2] == 'inf' then redis.call('PERSIST', index) elseif last[2] then redis.call('PEXPIREAT', index, last[2]) end
end`

/**
 * Defines the function `write`, which writes a record, and adds it to the index if it has an owner. KEYS: record,
 * index. `at` is the expiry in milliseconds, or ''.
 */
const write = `${limit}
local function write (data, version, owner, at, id, kind)
  redis.call('HSET', KEYS[1], 'k', kind, 'i', id, 'd', data, 'v', version, 'o', owner, 'e', at)
  if at == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIREAT', KEYS[1], at) end
  if owner == '' then return end
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  redis.call('ZADD', KEYS[2], at == '' and 'inf' or at, id)
  limit(KEYS[2])
end`

/** KEYS: record, index. ARGV: data, version, owner, at, id, kind, channel. */
export const add = createScript(`${now}${write}
if ARGV[4] ~= '' and tonumber(ARGV[4]) <= now then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
write(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
redis.call('PUBLISH', ARGV[7], ARGV[5])
return 1`)

/** KEYS: record, index. ARGV: data, version, owner, at, id, kind, channel, the version that was read. */
export const swap = createScript(`${now}${write}
local found = redis.call('HMGET', KEYS[1], 'v', 'o')
if found[1] ~= ARGV[8] or found[2] ~= ARGV[3] then return 0 end
if ARGV[4] ~= '' and tonumber(ARGV[4]) <= now then
  redis.call('DEL', KEYS[1])
  if ARGV[3] ~= '' then
    redis.call('ZREM', KEYS[2], ARGV[5])
    limit(KEYS[2])
  end
else
  write(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
end
redis.call('PUBLISH', ARGV[7], ARGV[5])
return 1`)

/**
 * KEYS: record, index. ARGV: owner, id, channel. Replies with the record, or with its owner if that is not the one in
 * ARGV.
 */
export const take = createScript(`${limit}
local found = redis.call('HMGET', KEYS[1], 'v', 'o', 'd', 'e', 'k', 'i')
if not found[1] then return false end
if found[2] ~= ARGV[1] then return found[2] end
redis.call('DEL', KEYS[1])
if ARGV[1] ~= '' then
  redis.call('ZREM', KEYS[2], ARGV[2])
  limit(KEYS[2])
end
redis.call('PUBLISH', ARGV[3], ARGV[2])
return found`)

/**
 * KEYS: index, records. ARGV: owner, the ids of the records. Replies with 1 and the records, or with 0 and the ids in
 * the index if those are not the ones in ARGV.
 */
export const find = createScript(`
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
local same = #ids == #ARGV - 1
for i = 1, #ids do same = same and ids[i] == ARGV[i + 1] end
if not same then return { 0, ids } end
local records = {}
for i = 1, #ids do
  local found = redis.call('HMGET', KEYS[i + 1], 'v', 'o', 'd', 'e', 'k', 'i')
  if found[1] and found[2] == ARGV[1] then records[#records + 1] = found end
end
return { 1, records }`)

/** KEYS: index, records. ARGV: owner, channel, the ids of the records. Replies with those that existed. */
export const takeAll = createScript(`${limit}
local taken = {}
for i = 2, #KEYS do
  local found = redis.call('HMGET', KEYS[i], 'v', 'o', 'd', 'e', 'k', 'i')
  redis.call('ZREM', KEYS[1], ARGV[i + 1])
  if found[1] and found[2] == ARGV[1] then
    redis.call('DEL', KEYS[i])
    redis.call('PUBLISH', ARGV[2], ARGV[i + 1])
    taken[#taken + 1] = found
  end
end
limit(KEYS[1])
return taken`)

/** KEYS: counter. ARGV: length of the window in milliseconds, ceiling. Replies with counted, count, end. */
export const increment = createScript(`${now}
local found = redis.call('HMGET', KEYS[1], 'n', 'e')
local count, ceiling = tonumber(found[1] or 0), tonumber(ARGV[2])
if count >= ceiling then return { 0, count, found[2] } end
if not found[1] then
  local at = string.format('%.0f', now + ARGV[1])
  redis.call('HSET', KEYS[1], 'n', 1, 'e', at)
  redis.call('PEXPIREAT', KEYS[1], at)
  return { 1, 1, at }
end
return { 1, redis.call('HINCRBY', KEYS[1], 'n', 1), found[2] }`)

/** KEYS: counter. ARGV: the end of the window from which to subtract one. */
export const decrement = createScript(`
local found = redis.call('HMGET', KEYS[1], 'n', 'e')
if found[2] == ARGV[1] and tonumber(found[1]) > 0 then redis.call('HINCRBY', KEYS[1], 'n', -1) end
return 0`)

/** The names of keys and channels. The parameter `owner` is a text that {@link Names.owner} returned. */
export interface Names {
  record (kind: string, id: string): string
  /** Returns the key of an owner's index, which is in the same slot as the records. */
  index (kind: string, owner: string): string
  /** Returns the key of a record and, if it has an owner, that of the owner's index. */
  both (kind: string, id: string, owner: string): readonly string[]
  counter (kind: string, id: string): string
  channel (kind: string): string
  /** Returns an owner as text; '' for `null`. */
  owner (owner: StoreOwner | null): string
}

/**
 * Creates the names under one prefix. The text in braces decides the slot in a cluster: the records of a kind and their
 * indexes share one slot, and counters are spread over all.
 */
export function createNames (prefix: string): Names {
  const record = (kind: string, id: string): string => `{${prefix}:${kind}}:r:${id}`
  const index = (kind: string, owner: string): string => `{${prefix}:${kind}}:o:${owner}`
  return {
    record,
    index,
    both: (kind, id, owner) => owner === '' ? [record(kind, id)] : [record(kind, id), index(kind, owner)],
    counter: (kind, id) => `${prefix}:${kind}:c:${id}`,
    channel: kind => `${prefix}:${kind}`,
    owner: owner => owner === null ? '' : ownerKey(owner)
  }
}
