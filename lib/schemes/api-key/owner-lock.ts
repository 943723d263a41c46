import { setTimeout as pause } from 'node:timers/promises'
import type { Store, StoreOwner } from '../../../types/store.js'
import { AuthError } from '../../errors.js'
import { digestOf } from './key.js'

/** Refused because the owner has as many keys as they may. */
export class TooManyKeys extends AuthError {
  constructor (most: number) {
    super('AUTH_ACCESS_DENIED', `the owner of an API key has ${most} already, which is as many as they may`)
  }
}

/** Seconds after which a process that died in between keeps nobody waiting. A look and a write of a store end before. */
const window = 10
/** Milliseconds between two tries. */
const wait = 20
/** Milliseconds that one waits at most. */
const patience = 4_000

/** The last in line for each name, of those in this process who share a store. */
const lines = new WeakMap<Store, Map<string, Promise<unknown>>>()

/**
 * Runs one at a time for each owner, among all processes of a store: what is counted in between is still so when the new key is added. Those of one process stand in line, and
 * only the first of them asks the store: all of them, again and again, would be a load that one person can make.
 * @throws {AuthError} `AUTH_UNAVAILABLE` when others of this owner take too long.
 */
export async function oneAtATime<T> (store: Store, prefix: string, { realm, id }: StoreOwner, run: () => Promise<T>): Promise<T> {
  const name = digestOf(JSON.stringify([prefix, realm, id]))
  const line = lines.get(store) ?? new Map<string, Promise<unknown>>()
  lines.set(store, line)
  const end = performance.now() + patience
  const before = line.get(name)
  let leave = (): void => {}
  const last = Promise.all([before, new Promise<void>(resolve => { leave = resolve })])
  line.set(name, last)
  try {
    if (before !== undefined && !await endsWithin(before, patience)) throw tooMany()
    return await alone(store, name, end, run)
  } finally {
    leave()
    if (line.get(name) === last) line.delete(name)
  }
}

async function endsWithin (before: Promise<unknown>, length: number): Promise<boolean> {
  const waiting = new AbortController()
  try {
    return await Promise.race([before.then(() => true), pause(length, false, { signal: waiting.signal })])
  } finally {
    waiting.abort()
  }
}

/** Among all processes. */
async function alone<T> (store: Store, name: string, end: number, run: () => Promise<T>): Promise<T> {
  do {
    const { counted, expiresAt } = await store.increment('api-key-room', name, { window, ceiling: 1 })
    if (counted && expiresAt !== null) {
      try {
        return await run()
      } finally {
        await store.decrement('api-key-room', name, expiresAt).catch(() => {})
      }
    }
    await pause(wait)
  } while (performance.now() < end)
  throw tooMany()
}

function tooMany (): AuthError {
  return new AuthError('AUTH_UNAVAILABLE', 'many API keys of one owner are made at once')
}
