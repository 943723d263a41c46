import type { FastifyRequest } from 'fastify'
import type { GatehouseApiKeys } from '../../types/api-keys.js'
import type { GatehouseSessions, SessionFeature } from '../../types/sessions.js'
import { internalError } from '../errors.js'
import { parseOwner, parseRevokeAllOptions, parseSchemeOption } from './call-options.js'
import { chooseProvider, providersOf, type BoundSchemes } from './schemes.js'

/** Creates `app.gatehouse.apiKeys`. */
export function createApiKeyCalls (schemes: BoundSchemes): GatehouseApiKeys {
  const providers = providersOf(schemes, features => features.apiKeys)
  const chosen = (options: unknown, call: string) =>
    chooseProvider(providers, parseSchemeOption(options, call), 'manage API keys').feature
  return Object.freeze({
    schemes: Object.freeze(providers.map(({ name }) => name)),
    of: (owner: unknown, options: unknown = {}) =>
      chosen(options, 'apiKeys.of()').of(parseOwner(owner, 'apiKeys.of()')),
    ofAnyOwner: (options: unknown = {}) => chosen(options, 'apiKeys.ofAnyOwner()').ofAnyOwner(),
    revokeLeaked: async (key: string, options: unknown = {}) =>
      await chosen(options, 'apiKeys.revokeLeaked()').revokeLeaked(key)
  })
}

/** Creates `app.gatehouse.sessions`, for the scheme that a call names, otherwise for all schemes together. */
export function createSessionCalls (schemes: BoundSchemes): GatehouseSessions {
  const providers = providersOf(schemes, features => features.sessions)
  const chosen = (options: unknown, call: string): readonly SessionFeature[] => {
    const name = parseSchemeOption(options, call)
    if (name !== undefined) return [chooseProvider(providers, name, 'keep sessions').feature]
    if (providers.length === 0) throw internalError('no scheme of this application can keep sessions')
    return providers.map(({ feature }) => feature)
  }
  return Object.freeze({
    schemes: Object.freeze(providers.map(({ name }) => name)),
    of (owner: unknown, options: unknown = {}) {
      const parsedOwner = parseOwner(owner, 'sessions.of()')
      const all = chosen(options, 'sessions.of()').map(feature => feature.of(parsedOwner))
      return mergeOwned(all, { call: 'sessions.of().revokeAll()', lastUse: ({ lastSeenAt }) => lastSeenAt })
    },
    ofAnyOwner (options: unknown = {}) {
      const all = chosen(options, 'sessions.ofAnyOwner()').map(feature => feature.ofAnyOwner())
      return Object.freeze({
        revoke: async (id: string) => (await Promise.all(all.map(each => each.revoke(id)))).includes(true)
      })
    },
    returnTo: (request: FastifyRequest, fallback = '/') =>
      // each scheme can open only the cookies that it sealed itself
      providers.map(({ feature }) => feature.returnTo?.(request, fallback) ?? fallback)
        .find(path => path !== fallback) ?? fallback
  })
}

/** The calls that sessions and grants of one owner have alike. */
interface Owned<R> {
  list (): Promise<readonly R[]>
  revoke (id: string): Promise<boolean>
  revokeAll (options?: { readonly except?: string }): Promise<void>
}

interface MergeOptions<R> {
  /** The name of `revokeAll` in messages. */
  readonly call: string
  /** Returns the time of the last use, in ISO 8601. */
  readonly lastUse: (record: R) => string
}

/** Combines what one owner has in several schemes, the most recently used first. */
export function mergeOwned<R> (all: ReadonlyArray<Owned<R>>, { call, lastUse }: MergeOptions<R>): Required<Owned<R>> {
  return Object.freeze({
    list: async () => (await Promise.all(all.map(each => each.list()))).flat()
      .sort((a, b) => lastUse(b).localeCompare(lastUse(a))),
    revoke: async (id: string) => (await Promise.all(all.map(each => each.revoke(id)))).includes(true),
    revokeAll: async (options: unknown = {}) => {
      const parsed = parseRevokeAllOptions(options, call)
      await Promise.all(all.map(each => each.revokeAll(parsed)))
    }
  })
}
