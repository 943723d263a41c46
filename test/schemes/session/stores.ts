import type { Store } from '../../../lib/index.js'
import { StoreUnavailable } from '../../../lib/stores/operations.js'
import { memoryStore } from '../../../lib/stores/memory/index.js'

/** Returns a store without notifications, as most databases are. */
export function withoutSubscribe (store: Store): Store {
  const { subscribe, ...rest } = store
  return rest
}

/** Creates a store that records its calls, and fails in the operations that are down. */
export function switchableStore (inner: Store = memoryStore()) {
  const calls: string[] = []
  const state = { down: new Set<string>(), calls }
  const call = async <T>(operation: string, run: () => Promise<T>): Promise<T> => {
    calls.push(operation)
    if (state.down.has(operation) || state.down.has('all')) throw new StoreUnavailable('failed', `${operation} failed`)
    return await run()
  }
  const store: Store = {
    ...inner,
    add: entry => call('add', () => inner.add(entry)),
    get: (kind, id) => call('get', () => inner.get(kind, id)),
    swap: record => call('swap', () => inner.swap(record)),
    take: (kind, id) => call('take', () => inner.take(kind, id)),
    find: (kind, owner) => call('find', () => inner.find(kind, owner)),
    takeAll: (kind, owner, except) => call('takeAll', () => inner.takeAll(kind, owner, except))
  }
  return { store, state }
}
