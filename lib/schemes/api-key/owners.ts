import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ApiKeyCredential } from '../../../types/api-keys.js'
import type { Authenticated, Invalid } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import type { Load, SchemeContext } from '../../../types/scheme.js'
import type { Store, StoreOwner } from '../../../types/store.js'
import { AuthError } from '../../errors.js'
import { invalid } from '../../kit/outcome.js'
import { loadedPrincipal, loadError, principalFrom } from '../../kit/principal.js'
import { TtlCache } from '../../util/cache.js'
import { ownerKey } from '../../util/encoding.js'
import { deepFrozenCopy, getOrCreate, isThenable } from '../../util/objects.js'
import { digestOf } from './key.js'

/** The outcome of a valid managed key. */
export type KeyAuthenticated = Authenticated<Principal, ApiKeyCredential>

export type Rights = Pick<Principal, 'scopes' | 'roles'>

type Grants = SchemeContext['grants']

export interface OwnersOptions {
  readonly app: FastifyInstance
  /** The name of the scheme. */
  readonly scheme: string
  readonly load: Load
  readonly grants: Grants
  /** Seconds. */
  readonly staleness: number
}

const cacheSize = 10_000

/**
 * Loads and caches the owners of keys. `load` is called without a request, because its result is used for every key and
 * request of that owner; and with a principal without scopes and roles, so that the rights it returns are the owner's
 * and not the key's.
 */
export class Owners {
  readonly #options: OwnersOptions
  readonly #cache: TtlCache<Principal | null>

  constructor (options: OwnersOptions) {
    this.#options = options
    const ttlMs = options.staleness * 1000
    this.#cache = new TtlCache({ ttlMs, maxEntries: cacheSize, isNegative: owner => owner === null })
  }

  /** Loads the owner without the cache. Returns `null` when there is no such owner, or it is disabled. */
  async find (owner: StoreOwner): Promise<Principal | null> {
    this.#cache.delete(ownerKey(owner))
    return this.#find(owner)
  }

  /**
   * Replaces the principal of a key by its owner, with those rights of the key that the owner has. *Invalid* when there
   * is no such owner, or it is disabled.
   */
  narrow (
    key: KeyAuthenticated, recheck: KeyAuthenticated['recheck']
  ): KeyAuthenticated | Invalid | Promise<KeyAuthenticated | Invalid> {
    const owner = this.#find(key.principal)
    const narrow = (found: Principal | null): KeyAuthenticated | Invalid => this.#narrow(found, key, recheck)
    return isThenable(owner) ? owner.then(narrow) : narrow(owner)
  }

  #find (owner: StoreOwner): Principal | null | Promise<Principal | null> {
    return this.#cache.get(ownerKey(owner), () => this.#load(owner))
  }

  #load ({ realm, id }: StoreOwner): Principal | null | Promise<Principal | null> {
    const { load, scheme, app } = this.#options
    const owner = principalFrom({ realm, id }, realm)
    const complete = (found: unknown): Principal | null => deepFrozenCopy(loadedPrincipal(owner, found, scheme))
    const fail = (cause: unknown): never => { throw loadError(cause, scheme) }
    try {
      const loaded = load(owner, { scheme, request: withoutRequest(app) })
      return isThenable(loaded) ? Promise.resolve(loaded).then(complete).catch(fail) : complete(loaded)
    } catch (cause) {
      return fail(cause)
    }
  }

  #narrow (
    owner: Principal | null, key: KeyAuthenticated, recheck: KeyAuthenticated['recheck']
  ): KeyAuthenticated | Invalid {
    if (owner === null) return invalid('load knows no such owner of an API key, or it is disabled')
    const rights = commonRights(key.principal, owner, this.#options.grants)
    return { ...key, principal: principalFrom({ ...owner, ...rights }, owner.realm), owner, recheck }
  }
}

/** Returns those of the rights that the holder has, directly or through a role. */
export function commonRights ({ scopes, roles }: Rights, holder: Principal, grants: Grants): Rights {
  return {
    scopes: scopes.filter(name => grants(holder, 'scopes', name)),
    roles: roles.filter(name => grants(holder, 'roles', name))
  }
}

/** Returns the names of those rights that the holder does not have. */
export function missingRights (rights: Rights, holder: Principal, grants: Grants): readonly string[] {
  const held = commonRights(rights, holder, grants)
  return [
    ...rights.scopes.filter(name => !held.scopes.includes(name)),
    ...rights.roles.filter(name => !held.roles.includes(name))
  ]
}

/**
 * Returns what `load` gets in place of a request: the application and its log. Keys are also created outside of
 * requests, and the cached result must not depend on one of them.
 */
function withoutRequest (app: FastifyInstance): FastifyRequest {
  return Object.freeze({ server: app, log: app.log }) as unknown as FastifyRequest
}

/** Thrown when the owner already has as many keys as they may have. */
export class TooManyKeys extends AuthError {
  constructor (maxKeys: number) {
    super('AUTH_ACCESS_DENIED', `the owner of an API key already has ${maxKeys}, which is the maximum`)
  }
}

/** The kind of the counters in a store that are the locks. */
const lockKind = 'api-key-room'
/** Seconds after which the lock of a process that died is released. Longer than a look-up and a write of the store. */
const lockTtl = 10
const retryMs = 20
const maxWaitMs = 4_000

/** The last queued work of each lock in this process, by store. */
const queues = new WeakMap<Store, Map<string, Promise<unknown>>>()

/**
 * Serialises the creation of keys of one owner across all processes that share a store, so that a count of keys is
 * still right when the new key is added. Callers in one process queue up, and only the first of them polls the store:
 * otherwise one person could overload it.
 */
export class OwnerLock {
  readonly #store: Store
  readonly #prefix: string
  readonly #queue: Map<string, Promise<unknown>>

  /** @param prefix the prefix of the scheme's keys: each scheme has its own lock for an owner. */
  constructor (store: Store, prefix: string) {
    this.#store = store
    this.#prefix = prefix
    this.#queue = getOrCreate(queues, store, () => new Map<string, Promise<unknown>>())
  }

  /**
   * Runs `work` while nobody else creates keys of this owner.
   * @throws {AuthError} `AUTH_UNAVAILABLE` after 4 seconds of waiting.
   */
  async run<T> ({ realm, id }: StoreOwner, work: () => Promise<T>): Promise<T> {
    const name = digestOf(JSON.stringify([this.#prefix, realm, id]))
    const deadline = performance.now() + maxWaitMs
    const previous = this.#queue.get(name)
    let leave = (): void => {}
    const last = Promise.all([previous, new Promise<void>(resolve => { leave = resolve })])
    this.#queue.set(name, last)
    try {
      if (previous !== undefined && !await endsInTime(previous)) throw tooBusy()
      return await this.#runLocked(name, deadline, work)
    } finally {
      leave()
      if (this.#queue.get(name) === last) this.#queue.delete(name)
    }
  }

  /** Runs `work` while no other process holds the lock: a counter of the store that may reach 1. */
  async #runLocked<T> (name: string, deadline: number, work: () => Promise<T>): Promise<T> {
    do {
      const { counted, expiresAt } = await this.#store.increment(lockKind, name, { window: lockTtl, ceiling: 1 })
      if (counted && expiresAt !== null) {
        try {
          return await work()
        } finally {
          await this.#store.decrement(lockKind, name, expiresAt).catch(() => {})
        }
      }
      await pause(retryMs)
    } while (performance.now() < deadline)
    throw tooBusy()
  }
}

async function endsInTime (work: Promise<unknown>): Promise<boolean> {
  const waiting = new AbortController()
  try {
    return await Promise.race([work.then(() => true), pause(maxWaitMs, false, { signal: waiting.signal })])
  } finally {
    waiting.abort()
  }
}

function tooBusy (): AuthError {
  return new AuthError('AUTH_UNAVAILABLE', 'too many API keys of one owner are created at once')
}
