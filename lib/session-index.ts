import type { SessionIndex } from '../types/sessions.js'
import { exceptOptions, ownerOf } from './calls.js'
import { fault } from './errors.js'
import type { BoundScheme } from './guard/policy.js'

/**
 * The sessions of all schemes as one index.
 * @throws {AuthError} `AUTH_FAULT`, from each of its methods, when no scheme keeps sessions.
 */
export function sessionIndexOf (schemes: ReadonlyMap<string, BoundScheme>): SessionIndex {
  const ofAll = async <T>(ask: (index: SessionIndex) => Promise<T>): Promise<T[]> => {
    const indexes = [...schemes.values()].flatMap(({ scheme }) => scheme.sessions ?? [])
    if (indexes.length === 0) throw fault('no scheme of this application keeps sessions')
    return await Promise.all(indexes.map(ask))
  }
  return Object.freeze({
    list: async given => {
      const owner = ownerOf(given, 'sessions.list()')
      return (await ofAll(index => index.list(owner))).flat().sort((a, b) => a.lastSeenAt < b.lastSeenAt ? 1 : -1)
    },
    revoke: async (id, given) => {
      const owner = given === undefined ? [] : [ownerOf(given, 'sessions.revoke()')]
      return (await ofAll(index => index.revoke(id, ...owner))).includes(true)
    },
    revokeAll: async (given, options = {}) => {
      const owner = ownerOf(given, 'sessions.revokeAll()')
      const said = exceptOptions(options)
      await ofAll(index => index.revokeAll(owner, said))
    }
  } satisfies SessionIndex)
}
