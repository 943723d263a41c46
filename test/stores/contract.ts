import type { Test } from 'tap'
import { storeContract, type StoreContract } from '../../lib/stores/testing/index.js'

/** Runs the store contract as tests of a file, and checks the error code for names that a store refuses. */
export function passesStoreContract (t: Test, contract: Omit<StoreContract, 'test'>): void {
  storeContract({
    ...contract,
    test: (title, run) => t.test(title, async t => {
      await run()
      t.pass('it keeps the contract')
    })
  })
  t.test('refuses names that contain NUL or a lone surrogate with AUTH_FAULT', async t => {
    const store = await contract.make()
    await store.migrate()
    for (const id of ['a\0', '\ud800']) {
      await t.rejects(store.get('contract', id), { code: 'AUTH_FAULT' })
      await t.rejects(store.find('contract', { realm: 'r', id }), { code: 'AUTH_FAULT' })
    }
    await store.close()
  })
}
