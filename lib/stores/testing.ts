import { identity } from './testing/identity.js'
import { lifetime } from './testing/lifetime.js'
import { ownership } from './testing/ownership.js'
import { counting } from './testing/counting.js'
import { races } from './testing/races.js'
import { upkeep } from './testing/upkeep.js'
import type { StoreContract } from './testing/stage.js'

export type { StoreContract } from './testing/stage.js'

/**
 * Everything that a store has to keep of its contract, as tests for any runner. Each makes a store, and closes it.
 *
 * @example
 * import { test } from 'node:test'
 * import { storeContract } from 'fastify-gatehouse/stores/testing'
 *
 * storeContract({ test, make: () => new MyStore(url), another: () => new MyStore(url) })
 */
export function storeContract (contract: StoreContract): void {
  identity(contract)
  lifetime(contract)
  ownership(contract)
  counting(contract)
  races(contract)
  upkeep(contract)
}
