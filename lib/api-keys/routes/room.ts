import type { ApiKeys } from '../../../types/api-keys.js'
import type { Principal } from '../../../types/principal.js'
import { endOf } from '../record.js'

/**
 * Whether a person who has fewer than `most` keys asks for one more. Of those that ended as many are kept at most, the ones that ended last: all of them, kept for
 * their week, would let one person fill the store with keys that end at once.
 */
export async function hasRoom (keys: ApiKeys, owner: Principal, most: number): Promise<boolean> {
  const records = await keys.list(owner)
  const ended = records.filter(record => endOf(record) <= Date.now()).sort((a, b) => endOf(b) - endOf(a))
  for (const { id } of ended.slice(most - 1)) await keys.revoke(id, owner)
  return records.length - ended.length < most
}
