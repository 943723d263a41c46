import type { FastifyBaseLogger } from 'fastify'
import type { ApiKeyCredential } from '../../../types/api-keys.js'
import type { Authenticated, Outcome } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import type { Store, StoreChange } from '../../../types/store.js'
import { authenticated, expired, invalid, unavailableOr } from '../../kit/outcome.js'
import { principalFrom } from '../../kit/principal.js'
import { isThenable } from '../../util/answer.js'
import { hear, Watchers } from '../../util/revocation-watch.js'
import { Memo } from '../../util/ttl-cache.js'
import type { LastUsed } from './last-used.js'
import type { ManagedSettings } from './options.js'
import { endOf, kind, storedKeyOf, type StoredKey } from './record.js'

/** What a managed key proves. */
export type KeyOutcome = Outcome<Principal, ApiKeyCredential>

interface Known {
  readonly outcome: Authenticated<Principal, ApiKeyCredential>
  /** Milliseconds since 1970. */
  readonly end: number
}

/** What {@link KeyLookup} works with. */
export interface KeyLookupOptions extends ManagedSettings {
  readonly store: Store
  readonly lastUsed: LastUsed
  readonly log: FastifyBaseLogger
}

/** Keys remembered at once, and as many again that are unknown. */
const size = 10_000

/** Whose a key is: the hot path, which asks the store once in a while and is synchronous otherwise. */
export class KeyLookup {
  readonly #prefix: string
  readonly #store: Store
  readonly #lastUsed: LastUsed
  readonly #memo: Memo<Known | null>
  readonly #watchers: Watchers

  constructor ({ prefix, staleness, store, lastUsed, log }: KeyLookupOptions) {
    this.#prefix = prefix
    this.#store = store
    this.#lastUsed = lastUsed
    this.#memo = new Memo({ staleness, size, denies: known => known === null })
    // a store that tells of changes is asked for what it may have missed, and for ends that were moved
    const every = store.subscribe === undefined ? Math.max(1000, staleness) : 30_000
    this.#watchers = new Watchers({ every, ask: id => this.#ask(id), log })
  }

  outcomeOf (id: string): KeyOutcome | Promise<KeyOutcome> {
    const known = this.#memo.get(id, () => this.#look(id))
    return isThenable(known) ? this.#whenTold(id, known) : this.#judge(id, known)
  }

  /** What was remembered of a key that this process changed counts for nothing; who waits for its end is told. */
  changed (id: string, isGone: boolean): void {
    this.#memo.forget(id)
    if (isGone) this.#watchers.tell(id)
  }

  /** A change that the store tells of: of this key, or of any. */
  heard (change: StoreChange): void {
    hear(change, this.#memo, this.#watchers)
  }

  close (): void {
    this.#watchers.close()
  }

  /** Tells of a watched key that is gone, or ended. */
  async #ask (id: string): Promise<void> {
    const found = await this.#store.get(kind, id)
    if (found === null || endOf(storedKeyOf(found).record) <= Date.now()) this.#watchers.tell(id)
  }

  async #look (id: string): Promise<Known | null> {
    const found = await this.#store.get(kind, id)
    if (found === null) return null
    const stored = storedKeyOf(found)
    return stored.prefix === this.#prefix ? this.#known(stored) : null
  }

  async #whenTold (id: string, known: Promise<Known | null>): Promise<KeyOutcome> {
    try {
      return this.#judge(id, await known)
    } catch (error) {
      return unavailableOr(error, 'the store of API keys does not answer')
    }
  }

  #judge (id: string, known: Known | null): KeyOutcome {
    if (known === null) return invalid('the API key is unknown')
    if (known.end <= Date.now()) return expired('the API key expired')
    this.#lastUsed.note(id)
    return known.outcome
  }

  /** One outcome for all requests of a key, as nothing of it can be changed. */
  #known ({ record }: StoredKey): Known {
    const { id, owner, name, scopes, roles, rateLimit } = record
    const end = endOf(record)
    const outcome = authenticated(principalFrom({ realm: owner.realm, id: owner.id, scopes, roles }, owner.realm) as Principal, {
      credential: Object.freeze({ id, name }),
      expiresAt: end === Infinity ? null : new Date(end),
      onRevoked: revoked => this.#watchers.add(id, revoked),
      recheck: () => this.outcomeOf(id),
      rateLimit: rateLimit === null ? null : Object.freeze({ id, ...rateLimit }),
      headers: deprecation(record)
    })
    return { outcome: Object.freeze(outcome), end }
  }
}

/** RFC 9745, 2 (a structured Date: `@` and seconds) and RFC 8594, 3 (an HTTP date), for a key that has a successor. */
function deprecation ({ replacedAt, sunsetAt }: StoredKey['record']): Readonly<Record<string, string>> | null {
  if (replacedAt === null || sunsetAt === null) return null
  return Object.freeze({ deprecation: `@${Math.floor(Date.parse(replacedAt) / 1000)}`, sunset: new Date(sunsetAt).toUTCString() })
}
