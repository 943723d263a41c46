import { counting } from './counting.js'
import type { StoreContract } from './fixtures.js'
import { identity, ownership } from './identity.js'
import { lifetime, upkeep } from './lifetime.js'
import { races } from './races.js'

export type { StoreContract } from './fixtures.js'

/**
 * Registers tests of everything that the contract of {@link Store} demands, with any test runner. Each test creates a
 * store and closes it.
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
