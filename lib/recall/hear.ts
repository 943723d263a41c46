import type { StoreChange } from '../../types/store.js'
import type { Memo } from './memo.js'
import type { Watchers } from './watchers.js'

/** What a store tells of one record, or of any: it is not believed as it was, and asked for where somebody waits. */
export function hear (change: StoreChange, memo: Pick<Memo<unknown>, 'forget' | 'forgetAll'>, watchers: Watchers): void {
  if (change === null) {
    memo.forgetAll()
    watchers.checkAll()
  } else {
    memo.forget(change.id)
    watchers.check(change.id)
  }
}
