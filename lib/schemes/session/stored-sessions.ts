import type { FastifyBaseLogger } from 'fastify'
import type { AnyOwnerSessions, OwnerSessions, SessionRecord } from '../../../types/sessions.js'
import type { Store, StoreEntry, StoreOwner, StoreRecord } from '../../../types/store.js'
import { number, ownerOf, recordParser, timeIn } from '../../stores/records.js'
import { isSameOwner } from '../../util/encoding.js'
import { isThenable } from '../../util/objects.js'
import { oneOf, string } from '../../util/options.js'
import { WatchedCache } from '../../util/revocation-watch.js'
import { Revocations } from './revocations.js'
import {
  endOf, isId, maxLifetime, type Expiry, type Liveness, type LoginContext, type Session
} from './session.js'

interface StoredSessionsOptions {
  readonly scheme: string
  readonly store: Store
  readonly expiry: Expiry
  readonly log: Pick<FastifyBaseLogger, 'error' | 'warn'>
}

/** Sessions that an owner keeps when one more begins, so that one person cannot fill the store. */
const maxSessionsPerOwner = 100

/**
 * Treats a session as alive while it has a record in the store. Records are cached for the staleness, and dropped from
 * the cache when this process or the store reports a change.
 */
export class StoredSessions implements Liveness {
  readonly #store: Store
  readonly #expiry: Expiry
  readonly #log: StoredSessionsOptions['log']
  readonly #names: Names
  /** By the id of the session: its name in the store would have to be written and hashed for each request. */
  readonly #cache: WatchedCache<StoreRecord | null>
  /** Sessions that the store failed to end. They are ended in this process in any case. */
  readonly #revocations: Revocations
  /** Ids of sessions whose last use is being written. */
  readonly #writing = new Set<string>()

  constructor ({ scheme, store, expiry, log }: StoredSessionsOptions) {
    this.#store = store
    this.#expiry = expiry
    this.#log = log
    this.#names = namesOf(scheme)
    this.#revocations = new Revocations(maxLifetime(expiry), () => {})
    this.#cache = new WatchedCache({
      store,
      kind,
      stalenessMs: expiry.stalenessMs,
      hasEnded: async id => await this.#get(id) === null,
      idOf: this.#names.idOf,
      isNegative: record => record === null,
      log
    })
  }

  beginning (principal: StoreOwner): number {
    return Math.max(Date.now(), this.#revocations.after(principal))
  }

  async begin (session: Session, context: LoginContext): Promise<void> {
    await this.#endSurplus(session.principal)
    await this.#store.add(entryOf(this.#names, session, context))
  }

  async end (session: Session): Promise<boolean> {
    try {
      return await this.#take(session.id)
    } catch (error) {
      this.#revocations.end(session)
      this.#cache.end(session.id)
      throw error
    }
  }

  isAlive (session: Session): boolean | Promise<boolean> {
    return this.#judge(session, isFound)
  }

  see (session: Session): boolean | Promise<boolean> {
    return this.#judge(session, this.#recordUse)
  }

  watch (session: Session, ended: () => void): () => void {
    return this.#cache.watch(session.id, ended)
  }

  of (owner: StoreOwner): OwnerSessions {
    const stored = this.#names.owner(owner)
    return Object.freeze({
      list: async () => await this.#list(stored),
      revoke: async (id: string) => await this.#revoke(id, stored),
      revokeAll: async ({ except }: { readonly except?: string } = {}) => {
        const spared = isId(except) ? [this.#names.id(except)] : []
        for (const { id } of await this.#store.takeAll(kind, stored, ...spared)) {
          this.#cache.end(this.#names.unprefixed(id))
        }
      }
    })
  }

  ofAnyOwner (): AnyOwnerSessions {
    return Object.freeze({
      revoke: async (id: string) => isId(id) && await this.#take(id)
    })
  }

  close (): void {
    this.#cache.close()
  }

  /** @param owner the owner in the store. */
  async #list (owner: StoreOwner): Promise<readonly SessionRecord[]> {
    const found = await this.#store.find(kind, owner)
    return found
      .flatMap(record => recordOf(this.#names, this.#expiry, record) ?? [])
      .sort((a, b) => a.lastSeenAt < b.lastSeenAt ? 1 : -1)
  }

  /** @param owner the owner in the store. */
  async #revoke (id: string, owner: StoreOwner): Promise<boolean> {
    if (!isId(id)) return false
    const found = await this.#get(id)
    return found !== null && isSameOwner(found.owner, owner) && await this.#take(id)
  }

  /** Ends the surplus sessions of an owner, those with the oldest last use. */
  async #endSurplus (owner: StoreOwner): Promise<void> {
    const found = await this.#store.find(kind, this.#names.owner(owner))
    const byUse = [...found].sort((a, b) => timeIn(b, 'seen') - timeIn(a, 'seen'))
    const surplus = byUse.slice(maxSessionsPerOwner)
    await Promise.all(surplus.map(({ id }) => this.#take(this.#names.unprefixed(id))))
  }

  async #take (id: string): Promise<boolean> {
    const taken = await this.#store.take(kind, this.#names.id(id))
    this.#cache.end(id)
    return taken !== null
  }

  #judge (session: Session, judge: (record: StoreRecord | null) => boolean): boolean | Promise<boolean> {
    if (this.#revocations.denies(session)) return false
    const record = this.#cache.get(session.id, () => this.#get(session.id))
    return isThenable(record) ? record.then(judge) : judge(record)
  }

  #get (id: string): Promise<StoreRecord | null> {
    return this.#store.get(kind, this.#names.id(id))
  }

  /** Writes the last use at most once a minute; no request waits for it. Returns true if there is a record. */
  readonly #recordUse = (record: StoreRecord | null): boolean => {
    const seen = record === null ? null : withLastUse(record, Date.now())
    if (seen !== null && !this.#writing.has(seen.id)) {
      this.#writing.add(seen.id)
      void this.#write(seen)
    }
    return record !== null
  }

  async #write (record: StoreRecord): Promise<void> {
    try {
      // fails if another instance wrote the use, or the session was ended
      await this.#store.swap(record)
      this.#cache.delete(this.#names.unprefixed(record.id))
    } catch (error) {
      this.#log.warn({ err: error }, 'when a session was last seen could not be written')
    } finally {
      this.#writing.delete(record.id)
    }
  }
}

const kind = 'session'

/** Milliseconds between two writes of the last use of a session. */
const useIntervalMs = 60_000
/** Characters of these fields that are stored. */
const maxLength = { address: 64, userAgent: 256 }

function isFound (record: StoreRecord | null): boolean {
  return record !== null
}

/** Prefixes names with the scheme, so that two schemes share nothing in a store. */
interface Names {
  id (id: string): string
  owner (owner: StoreOwner): StoreOwner
  /** Returns the id in a name with the prefix, and `null` for any other name. */
  readonly idOf: (name: string) => string | null
  /** Removes the prefix. */
  unprefixed (name: string): string
}

function namesOf (scheme: string): Names {
  return {
    id: id => `${scheme} ${id}`,
    owner: ({ realm, id }) => ({ realm: `${scheme} ${realm}`, id }),
    idOf: name => name.startsWith(`${scheme} `) ? name.slice(scheme.length + 1) : null,
    unprefixed: name => name.slice(scheme.length + 1)
  }
}

/** Returns the entry of a new session. Its secret is not stored. */
function entryOf (names: Names, session: Session, context: LoginContext): StoreEntry {
  const { id, principal, createdAt, seenAt, endsAt, kept } = session
  const address = context.address.slice(0, maxLength.address)
  const userAgent = context.userAgent.slice(0, maxLength.userAgent)
  return {
    kind,
    id: names.id(id),
    owner: names.owner(principal),
    value: { created: createdAt, seen: seenAt, kept, address, userAgent },
    expiresAt: new Date(endsAt)
  }
}

/** Returns the record with its last use set to now; `null` when that was written less than a minute ago. */
function withLastUse (record: StoreRecord, now: number): StoreRecord | null {
  if (now - timeIn(record, 'seen') < useIntervalMs) return null
  return { ...record, value: { ...record.value, seen: now } }
}

const parseValue = recordParser({
  created: number, seen: number, kept: oneOf<boolean>(true, false), address: string, userAgent: string
})

/** Returns the public record of a session, or `null` when its idle timeout has passed. */
function recordOf (names: Names, expiry: Expiry, record: StoreRecord): SessionRecord | null {
  const { created, seen, kept, address, userAgent } = parseValue(record)
  const { realm, id } = ownerOf(record)
  const times = { endsAt: Number(record.expiresAt), createdAt: created, kept }
  // the last use may be later than the one that was written
  if (endOf(expiry, { ...times, seenAt: seen + useIntervalMs }) <= Date.now()) return null
  return Object.freeze({
    id: names.unprefixed(record.id),
    owner: Object.freeze({ realm: names.unprefixed(realm), id }),
    createdAt: new Date(created).toISOString(),
    lastSeenAt: new Date(seen).toISOString(),
    expiresAt: new Date(endOf(expiry, { ...times, seenAt: Infinity })).toISOString(),
    address,
    userAgent
  })
}
