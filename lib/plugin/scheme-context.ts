import type { FastifyInstance } from 'fastify'
import type { Principal } from '../../types/principal.js'
import type { SchemeContext } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import { misconfigured } from '../errors.js'
import { createGuessLimiter, type GuessLimiter } from '../limits/guesses.js'
import { hasPermission, type Permissions } from '../policy/requirements.js'
import { withDeadline } from '../stores/deadline.js'
import { toStoreError } from '../stores/errors.js'
import { memoryStore } from '../stores/memory/memory.js'
import type { Options } from './options.js'

/** What the schemes of one application share. */
export interface Common {
  readonly store: Store
  readonly guesses: GuessLimiter
  /** What the factory of the scheme `name` is given. */
  contextOf (name: string): SchemeContext
}

/** Opens the store, and makes what schemes are given. */
export async function commonOf (app: FastifyInstance, { store: given, load, permissions, limits, origins }: Options): Promise<Common> {
  const store = given === null ? memoryOf(app) : withDeadline(given)
  await migrate(store)
  const guesses = createGuessLimiter(store, limits.guesses, origins)
  const grants = granting(permissions)
  return Object.freeze({
    store,
    guesses,
    contextOf: (name: string) => Object.freeze({ store, shared: given !== null, guesses: guesses.of(name), load, grants })
  })
}

/** The store of an application that has none of its own: it lives and ends with it. */
function memoryOf (app: FastifyInstance): Store {
  const store = memoryStore()
  app.addHook('onClose', async () => { await store.close() })
  return store
}

async function migrate (store: Store): Promise<void> {
  try {
    await store.migrate()
  } catch (error) {
    throw misconfigured(`The option store is not ready (${toStoreError('migrate', error).detail}). Is the database up, is its address right, and may this user create tables?`)
  }
}

/** Rules take declared names alone, where names are declared; a principal may bring others along, which it then has by itself or not at all. */
function granting (permissions: Permissions): SchemeContext['grants'] {
  return (principal: Principal, kind, name) => permissions[kind]?.has(name) === false
    ? principal[kind].includes(name)
    : hasPermission(principal, permissions.requirement(kind, name, `the ${kind} of a principal`))
}
