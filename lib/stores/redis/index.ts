import { randomUUID } from 'node:crypto'
import type { Duration } from '../../../types/options.js'
import type {
  JsonObject, Store, StoreCount, StoreEntry, StoreIncrement, StoreOwner, StoreRecord
} from '../../../types/store.js'
import { internalError, isError, misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import { duration, object, optional } from '../../util/options.js'
import { withBacking } from '../../util/reports.js'
import { checkEntry, checkName, checkOwner, createOperations, expiryOf, limitsOf, valueOf } from '../operations.js'
import { Changes, connect, type RedisClient, type RedisSource } from './connect.js'
import { createNames, type Names } from './scripts.js'
import * as scripts from './scripts.js'

export type { RedisClient } from './connect.js'

interface CommonOptions {
  /** The prefix of every key and channel. Default `gatehouse`. */
  readonly prefix?: string
}

/**
 * Options of `redisStore`: a URL, or a client of the application, which keeps its own settings and stays open when the
 * store is closed.
 */
export type RedisStoreOptions = CommonOptions & (
  | {
    /** `redis://…`, or `rediss://…` with TLS. */
    readonly url: string | undefined
    /** The time limit of connecting and of each command. Default 2 seconds. */
    readonly timeout?: Duration
    readonly client?: never
  }
  | { readonly client: RedisClient, readonly url?: never, readonly timeout?: never })

/**
 * Creates a store in Redis (6.2 or later, one server or a cluster) with ioredis. The server's `maxmemory-policy` must
 * be `noeviction`: an evicted revocation or replay guard would no longer refuse anything.
 *
 * @example
 * const store = redisStore({ url: process.env.REDIS_URL })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for invalid options.
 */
export function redisStore (options: RedisStoreOptions): Store {
  const { source, prefix } = parseOptions(options)
  const { client, ready, subscriber, reconnectAfter, close: disconnect } = connect(source)
  const names = createNames(prefix)
  const records = new Records(client, names)
  const changes = new Changes(subscriber)
  const { run: begin, close } = createOperations()
  const run = <T>(name: string, work: () => T | Promise<T>): Promise<T> => begin(name, async () => {
    await ready()
    try {
      return await work()
    } catch (error) {
      if (reconnectAfter(error)) changes.reconnect()
      throw error
    }
  })

  const store = Object.freeze({
    add: entry => run('add', () => records.add(entry)),
    get: (kind, id) => run('get', () => records.get(kind, id)),
    swap: record => run('swap', () => records.swap(record)),
    take: (kind, id) => run('take', () => records.take(kind, id)),
    find: (kind, owner) => run('find', () => records.find(kind, owner)),
    takeAll: (kind, owner, except) => run('takeAll', () => records.takeAll(kind, owner, except)),
    increment: (kind, id, options) => run('increment', () => records.increment(kind, id, options)),
    decrement: (kind, id, expiresAt) => run('decrement', () => records.decrement(kind, id, expiresAt)),
    subscribe: (kind, listener) => changes.listen(names.channel(kind), listener),
    // There is nothing to create, but a wrong address should stop the boot and not fail the first request.
    migrate: () => run('migrate', async () => { await client.ping() }),
    close: () => close(async () => {
      changes.close()
      await disconnect()
    })
  } satisfies Store)
  return withBacking(store, { kind: 'redis', client })
}

interface ParsedOptions {
  readonly source: RedisSource
  readonly prefix: string
}

const parse = object({
  url: optional(parseUrl, null),
  client: optional(parseClient, null),
  prefix: optional(parsePrefix, 'gatehouse'),
  timeout: optional(duration({ positive: true, max: 600 }), null)
})

/**
 * Parses the options of `redisStore`. No message contains the URL, which may hold a password.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
function parseOptions (options: unknown): ParsedOptions {
  const { url, client, prefix, timeout } = parse(options, 'The options of redisStore')
  if (url !== null && client === null) return { source: { url, timeout: Math.ceil((timeout ?? 2) * 1_000) }, prefix }
  if (client === null || url !== null) throw misconfigured('The options of redisStore must have either url or client.')
  if (timeout === null) return { source: { client }, prefix }
  throw misconfigured('The option redisStore.timeout belongs to url: a client has its own. Leave it out.')
}

function parseUrl (url: unknown, option: string): string {
  if (typeof url === 'string' && /^rediss?:\/\/./.test(url)) return url
  throw misconfigured(`${option} must begin with 'redis://' or 'rediss://'.`)
}

function parseClient (client: unknown, option: string): RedisClient {
  if (isClient(client)) return client
  throw misconfigured(`${option} must be a client of ioredis: new Redis(url). Got ${describeValue(client)}.`)
}

/** Parses a prefix. Refuses braces, because in a cluster they decide the slot of a key. */
function parsePrefix (prefix: unknown, option: string): string {
  if (typeof prefix === 'string' && /^[\w:.-]{1,64}$/.test(prefix)) return prefix
  throw misconfigured(`${option} must be 1 to 64 letters, digits and : . - _ Got ${describeValue(prefix)}.`)
}

function isClient (value: unknown): value is RedisClient {
  return isObject(value) && typeof value['evalsha'] === 'function' && 'duplicate' in value
}

/** The maximum number of records that one script takes, because Redis does nothing else while a script runs. */
const batchSize = 100

/** The fields of a record in the order of {@link Fields}; {@link scripts} has the full names. */
const fieldNames = ['v', 'o', 'd', 'e', 'k', 'i'] as const

/** The values of {@link fieldNames}. */
type Fields = readonly [
  version: string, owner: string, data: string, end: string, kind: string | null, id: string | null
]

/** The reply of {@link scripts.find}. */
type Found = readonly [0, readonly string[]] | readonly [1, readonly Fields[]]

/** Reads and writes the records and counters of one store. */
class Records {
  readonly #client: RedisClient
  readonly #names: Names

  constructor (client: RedisClient, names: Names) {
    this.#client = client
    this.#names = names
  }

  add (entry: StoreEntry): Promise<boolean> {
    return this.#write(scripts.add, entry, [])
  }

  swap (record: StoreRecord): Promise<boolean> {
    return this.#write(scripts.swap, record, [record.version])
  }

  async #write (script: scripts.Script, entry: StoreEntry, more: readonly string[]): Promise<boolean> {
    checkEntry(entry)
    const { kind, id, expiresAt } = entry
    const [owner, at] = [this.#names.owner(entry.owner), expiryOf(expiresAt, kind)]
    const args = [
      valueOf(kind, entry.value).json, randomUUID(), owner, at === null ? '' : String(at), id, kind,
      this.#names.channel(kind), ...more
    ]
    return isOne(await this.#run(script, this.#names.both(kind, id, owner), args))
  }

  async get (kind: string, id: string): Promise<StoreRecord | null> {
    checkName(kind, id)
    const found = await this.#client.hmget(this.#names.record(kind, id), ...fieldNames)
    return found[0] === null ? null : recordOf(found as unknown as Fields)
  }

  /**
   * Removes and returns a record. The script needs the key of the owner's index, but only the record says who its owner
   * is: if the assumed owner is wrong, the script replies with the right one and is run again.
   */
  async take (kind: string, id: string): Promise<StoreRecord | null> {
    checkName(kind, id)
    for (let owner = ''; ;) {
      const keys = this.#names.both(kind, id, owner)
      const reply = await this.#run(scripts.take, keys, [owner, id, this.#names.channel(kind)])
      if (typeof reply !== 'string') return reply === null ? null : recordOf(reply as Fields)
      owner = reply
    }
  }

  /**
   * Reads all records of an owner at one instant. Read one by one, both the old and the new record of a session that is
   * renewed meanwhile could be missed. The script needs the keys of the records, but only the index has the ids: if the
   * assumed ids are wrong, the script replies with the right ones and is run again.
   */
  async find (kind: string, owner: StoreOwner): Promise<readonly StoreRecord[]> {
    checkOwner(kind, owner)
    for (let ids: readonly string[] = []; ;) {
      const reply = await this.#run(
        scripts.find, this.#indexAndRecords(kind, owner, ids), [this.#names.owner(owner), ...ids]
      ) as Found
      if (isFound(reply)) return reply[1].map(recordOf)
      ids = reply[1]
    }
  }

  /**
   * Takes all records of an owner but one. The ids are read in one step and the records taken in another; a session
   * that is renewed in between has a new record that was not read. So the ids are read again until none is left.
   */
  async takeAll (kind: string, owner: StoreOwner, except: string | undefined): Promise<readonly StoreRecord[]> {
    if (except !== undefined) checkName(kind, except)
    const taken: StoreRecord[] = []
    for (;;) {
      const ids = (await this.#idsOf(kind, owner)).filter(id => id !== except)
      if (ids.length === 0) return taken
      for (let from = 0; from < ids.length; from += batchSize) {
        taken.push(...await this.#takeSome(kind, owner, ids.slice(from, from + batchSize)))
      }
    }
  }

  async #takeSome (kind: string, owner: StoreOwner, ids: readonly string[]): Promise<readonly StoreRecord[]> {
    const args = [this.#names.owner(owner), this.#names.channel(kind), ...ids]
    const reply = await this.#run(scripts.takeAll, this.#indexAndRecords(kind, owner, ids), args)
    return (reply as readonly Fields[]).map(recordOf)
  }

  /** Returns the key of an owner's index, and those of records. */
  #indexAndRecords (kind: string, owner: StoreOwner, ids: readonly string[]): readonly string[] {
    return [this.#names.index(kind, this.#names.owner(owner)), ...ids.map(id => this.#names.record(kind, id))]
  }

  /** Returns the ids in the index of an owner. Some of their records may have expired. */
  async #idsOf (kind: string, owner: StoreOwner): Promise<readonly string[]> {
    checkOwner(kind, owner)
    return await this.#client.zrange(this.#names.index(kind, this.#names.owner(owner)), 0, -1)
  }

  async increment (kind: string, id: string, options: StoreIncrement): Promise<StoreCount> {
    checkName(kind, id)
    const { windowMs, ceiling } = limitsOf(kind, options)
    const args = [String(windowMs), String(ceiling)]
    const [counted, count, end] = await this.#run(
      scripts.increment, [this.#names.counter(kind, id)], args
    ) as readonly [scripts.Reply, scripts.Reply, string | null]
    return { counted: isOne(counted), count: Number(count), expiresAt: end === null ? null : new Date(Number(end)) }
  }

  async decrement (kind: string, id: string, expiresAt: Date): Promise<void> {
    checkName(kind, id)
    await this.#run(scripts.decrement, [this.#names.counter(kind, id)], [String(expiresAt.getTime())])
  }

  /** Runs a script by its hash, or by its text if Redis does not have it in its cache. */
  async #run (
    { text, sha }: scripts.Script, keys: readonly string[], args: readonly string[]
  ): Promise<scripts.Reply> {
    try {
      return await this.#client.evalsha(sha, keys.length, ...keys, ...args) as scripts.Reply
    } catch (error) {
      if (!(isError(error) && error.message.startsWith('NOSCRIPT'))) throw error
      return await this.#client.eval(text, keys.length, ...keys, ...args) as scripts.Reply
    }
  }
}

/** Returns true for a 1, which a client of the application with the option `stringNumbers` returns as text. */
function isOne (reply: scripts.Reply): boolean {
  return Number(reply) === 1
}

function isFound (reply: Found): reply is Extract<Found, readonly [1, unknown]> {
  return isOne(reply[0])
}

/** @throws {AuthError} `AUTH_FAULT` for a record without kind and id. */
function recordOf ([version, owner, data, end, kind, id]: Fields): StoreRecord {
  if (kind === null || id === null) {
    throw internalError(
      'store: a record in Redis has no kind and id. ' +
        'An earlier version of this plugin wrote it: remove the keys of that version'
    )
  }
  return {
    kind,
    id,
    owner: parseOwner(owner),
    value: JSON.parse(data) as JsonObject,
    expiresAt: end === '' ? null : new Date(Number(end)),
    version
  }
}

function parseOwner (text: string): StoreOwner | null {
  if (text === '') return null
  const [realm, id] = JSON.parse(text) as [string, string]
  return { realm, id }
}
