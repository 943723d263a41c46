import type { FastifyBaseLogger } from 'fastify'
import type { AnyOwnerSessions, OwnerSessions, SessionRecord } from '../../../types/sessions.js'
import type { Store, StoreChange, StoreEntry, StoreOwner, StoreRecord } from '../../../types/store.js'
import { isThenable } from '../../util/answer.js'
import { applyChange, RevocationWatch } from '../../util/revocation-watch.js'
import { TtlCache } from '../../util/ttl-cache.js'
import { endOf, longestOf, type Times } from './expiry.js'
import type { Liveness, LoginContext } from './liveness.js'
import { isId, type Session } from './payload.js'
import { Revocations } from './revocations.js'

/** What {@link StoredSessions} works with. */
interface StoredSessionsOptions {
  readonly scheme: string
  readonly store: Store
  readonly times: Times
  readonly log: Pick<FastifyBaseLogger, 'error' | 'warn'>
}

/** Sessions remembered at once, and as many again that are over. */
const size = 10_000

/** Sessions that a principal goes on with when one more begins: more than anybody has devices, and too few for one person to fill a store that everybody needs. */
const most = 100

/** Alive is what has a record in the store. What it said is believed for the staleness, and no longer once it, or somebody here, says that it changed. */
export class StoredSessions implements Liveness {
  readonly #store: Store
  readonly #times: Times
  readonly #log: StoredSessionsOptions['log']
  readonly #names: Names
  readonly #memo: TtlCache<StoreRecord | null>
  readonly #watchers: RevocationWatch
  /** Sessions that could not be ended at the store: over in this process in any case. */
  readonly #revocations: Revocations
  /** Sessions whose last sight is being written. */
  readonly #writing = new Set<string>()
  readonly #unsubscribe: () => void

  constructor ({ scheme, store, times, log }: StoredSessionsOptions) {
    this.#store = store
    this.#times = times
    this.#log = log
    this.#names = namesOf(scheme)
    this.#revocations = new Revocations(longestOf(times), () => {})
    this.#memo = new TtlCache({ ttl: times.staleness, maxEntries: size, isNegative: record => record === null })
    // a store that tells of changes is asked for what it may have missed
    const every = store.subscribe === undefined ? Math.max(1_000, times.staleness) : 30_000
    this.#watchers = new RevocationWatch({ interval: every, lookUp: id => this.#check(id), log })
    this.#unsubscribe = store.subscribe?.(kind, change => { this.#heard(change) }) ?? (() => {})
  }

  beginning (principal: StoreOwner): number {
    return Math.max(Date.now(), this.#revocations.after(principal))
  }

  async begin (session: Session, context: LoginContext): Promise<void> {
    await this.#makeRoom(session.principal)
    await this.#store.add(entryOf(this.#names, session, context))
  }

  async end (session: Session): Promise<boolean> {
    const id = this.#names.id(session.id)
    try {
      return await this.#take(id)
    } catch (error) {
      this.#revocations.end(session)
      this.#over(id)
      throw error
    }
  }

  isAlive (session: Session): boolean | Promise<boolean> {
    return this.#ask(session, record => record !== null)
  }

  see (session: Session): boolean | Promise<boolean> {
    return this.#ask(session, record => {
      if (record !== null) this.#saw(record)
      return record !== null
    })
  }

  watch (session: Session, ended: () => void): () => void {
    return this.#watchers.add(this.#names.id(session.id), ended)
  }

  of (owner: StoreOwner): OwnerSessions {
    const stored = this.#names.owner(owner)
    return Object.freeze({
      list: async () => await this.#list(stored),
      revoke: async (id: string) => await this.#revoke(id, stored),
      revokeAll: async ({ except }: { readonly except?: string } = {}) => {
        const spared = isId(except) ? [this.#names.id(except)] : []
        for (const { id } of await this.#store.takeAll(kind, stored, ...spared)) this.#over(id)
      }
    })
  }

  ofAnyOwner (): AnyOwnerSessions {
    return Object.freeze({
      revoke: async (id: string) => isId(id) && await this.#take(this.#names.id(id))
    })
  }

  close (): void {
    this.#unsubscribe()
    this.#watchers.close()
  }

  /** @param owner as the store knows them. */
  async #list (owner: StoreOwner): Promise<readonly SessionRecord[]> {
    const found = await this.#store.find(kind, owner)
    return found
      .flatMap(record => recordOf(this.#names, this.#times, record, Date.now()) ?? [])
      .sort((a, b) => a.lastSeenAt < b.lastSeenAt ? 1 : -1)
  }

  /** @param owner as the store knows them. */
  async #revoke (id: string, owner: StoreOwner): Promise<boolean> {
    if (!isId(id)) return false
    const name = this.#names.id(id)
    const found = await this.#store.get(kind, name)
    return found?.owner?.realm === owner.realm && found.owner.id === owner.id && await this.#take(name)
  }

  /** Ends those that were seen longest ago. */
  async #makeRoom (owner: StoreOwner): Promise<void> {
    const found = await this.#store.find(kind, this.#names.owner(owner))
    const surplus = [...found].sort((a, b) => Number(b.value['seen']) - Number(a.value['seen'])).slice(most)
    await Promise.all(surplus.map(({ id }) => this.#take(id)))
  }

  async #take (id: string): Promise<boolean> {
    const taken = await this.#store.take(kind, id)
    this.#over(id)
    return taken !== null
  }

  /** What was known of it, or is being asked, is from before. */
  #over (id: string): void {
    this.#memo.delete(id)
    this.#watchers.notify(id)
  }

  #ask (session: Session, judge: (record: StoreRecord | null) => boolean): boolean | Promise<boolean> {
    if (this.#revocations.denies(session)) return false
    const id = this.#names.id(session.id)
    const record = this.#memo.get(id, () => this.#store.get(kind, id))
    return isThenable(record) ? record.then(judge) : judge(record)
  }

  /** At most once a minute, and off the path of the request. */
  #saw (record: StoreRecord): void {
    const { id } = record
    const seen = seenAgain(record, Date.now())
    if (seen !== null && !this.#writing.has(id)) {
      this.#writing.add(id)
      void this.#write(seen)
    }
  }

  async #write (record: StoreRecord): Promise<void> {
    try {
      // lost to another instance, which saw it too, or to its end
      await this.#store.swap(record)
      this.#memo.delete(record.id)
    } catch (error) {
      this.#log.warn({ err: error }, 'when a session was last seen could not be written')
    } finally {
      this.#writing.delete(record.id)
    }
  }

  #heard (change: StoreChange): void {
    applyChange(change, this.#memo, this.#watchers)
  }

  /** Tells of a watched session that is gone. */
  async #check (id: string): Promise<void> {
    if (await this.#store.get(kind, id) === null) this.#over(id)
  }
}

const kind = 'session'

/** Milliseconds between two notes of when a session was last seen. */
const noteEvery = 60_000
/** Characters, which nobody needs more of to know their devices. */
const longest = { address: 64, userAgent: 256 }

/** Under which names the sessions of one scheme stand in the store, so that two schemes share nothing there. */
interface Names {
  id (id: string): string
  owner (owner: StoreOwner): StoreOwner
  /** The name of a scheme has no space: what follows the first is the rest. */
  rest (name: string): string
}

function namesOf (scheme: string): Names {
  return {
    id: id => `${scheme} ${id}`,
    owner: ({ realm, id }) => ({ realm: `${scheme} ${realm}`, id }),
    rest: name => name.slice(scheme.length + 1)
  }
}

/** What is kept of a new session: nothing that opens it. */
function entryOf (names: Names, { id, principal, authenticatedAt, seenAt, endsAt, kept }: Session, { address, userAgent }: LoginContext): StoreEntry {
  return {
    kind,
    id: names.id(id),
    owner: names.owner(principal),
    value: { created: authenticatedAt, seen: seenAt, kept, address: address.slice(0, longest.address), userAgent: userAgent.slice(0, longest.userAgent) },
    expiresAt: new Date(endsAt)
  }
}

/** The record as it is after its session was seen now; `null` when that was noted a moment ago. */
function seenAgain (record: StoreRecord, now: number): StoreRecord | null {
  return now - Number(record.value['seen']) >= noteEvery ? { ...record, value: { ...record.value, seen: now } } : null
}

/** What people are shown of it; `null` when it has been idle for so long that no cookie opens it any more. */
function recordOf (names: Names, times: Times, { id, owner, value, expiresAt }: StoreRecord, now: number): SessionRecord | null {
  const created = Number(value['created'])
  const seen = Number(value['seen'])
  const sealed = Number(expiresAt)
  const kept = value['kept'] === true
  // it may have been seen later than was noted
  if (owner === null || endOf(times, { seenAt: seen + noteEvery, endsAt: sealed, authenticatedAt: created, kept }) <= now) return null
  return Object.freeze({
    id: names.rest(id),
    owner: Object.freeze({ realm: names.rest(owner.realm), id: owner.id }),
    createdAt: new Date(created).toISOString(),
    lastSeenAt: new Date(seen).toISOString(),
    expiresAt: new Date(endOf(times, { seenAt: Infinity, endsAt: sealed, authenticatedAt: created, kept })).toISOString(),
    address: String(value['address']),
    userAgent: String(value['userAgent'])
  })
}
