import { setTimeout as pause } from 'node:timers/promises'
import type { Store, StoreOwner } from '../../types/store.js'
import { AuthError } from '../errors.js'
import { digestOf } from './format.js'

/** Refused because the owner has as many keys as they may. */
export class TooManyKeys extends AuthError {
  constructor (most: number) {
    super('AUTH_ACCESS_DENIED', `the owner of an API key has ${most} already, which is as many as they may`)
  }
}

/** Seconds after which a process that died in between keeps nobody waiting. A look and a write of a store end before. */
const window = 10
/** Milliseconds between two tries, and how many there are. */
const wait = 20
const tries = 200

/**
 * Runs one at a time for each owner, among all processes of a store: what is counted in between is still so when the new key is added.
 * @throws {AuthError} `AUTH_UNAVAILABLE` when others of this owner take too long.
 */
export async function oneAtATime<T> (store: Store, prefix: string, { realm, id }: StoreOwner, run: () => Promise<T>): Promise<T> {
  const name = digestOf(JSON.stringify([prefix, realm, id]))
  for (let i = 0; i < tries; i++) {
    const { counted, expiresAt } = await store.increment('api-key-room', name, { window, ceiling: 1 })
    if (counted && expiresAt !== null) {
      try {
        return await run()
      } finally {
        await store.decrement('api-key-room', name, expiresAt).catch(() => {})
      }
    }
    await pause(wait)
  }
  throw new AuthError('AUTH_UNAVAILABLE', 'many API keys of one owner are made at once')
}
