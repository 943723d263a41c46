import type { Test } from 'tap'
import { storeContract, type StoreContract } from '../../lib/stores/testing/index.js'

/** The contract that every store passes, as tests of a file. */
export function passesStoreContract (t: Test, contract: Omit<StoreContract, 'test'>): void {
  storeContract({
    ...contract,
    test: (title, run) => t.test(title, async t => {
      await run()
      t.pass('it keeps the contract')
    })
  })
}
