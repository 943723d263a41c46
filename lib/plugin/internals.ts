import type { FastifyInstance } from 'fastify'
import type { Gatehouse } from '../../types/gatehouse.js'
import type { GatehouseOAuth } from '../../types/oauth.js'
import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { SchemeContext } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import { internalError } from '../errors.js'
import type { GuessLimiter } from '../limits/guesses.js'
import type { Permissions } from '../policy/requirements.js'
import { createPrivateSlot } from '../util/objects.js'
import { parseOwner } from './call-options.js'
import type { Parts } from './decorators.js'
import type { BoundSchemes } from './schemes.js'

/** The parts of one registration that other plugins of this package need, and that applications do not see. */
export interface Internals {
  /** The instance that the plugin was registered on, under which parts report to the doctor. */
  readonly app: FastifyInstance
  readonly store: Store
  readonly schemes: BoundSchemes
  readonly guesses: GuessLimiter
  readonly grants: SchemeContext['grants']
  readonly permissions: Permissions
  readonly scopeDescriptions: Readonly<Record<string, string>>
  /** The descriptions of the schemes in OpenAPI, by name. The authorization server replaces some of them. */
  readonly descriptions: Map<string, OpenApiSecurityScheme>
  /** `app.gatehouse.oauth` of the authorization server; `null` until one is registered. */
  oauth: GatehouseOAuth | null
  /** The issuer of the authorization server; `null` until one is registered. */
  oauthIssuer: string | null
}

const slot = createPrivateSlot<Gatehouse, Internals>()

/** Attaches the internals of a registration to its `app.gatehouse`. */
export function attachInternals (gatehouse: Gatehouse, internals: Internals): Gatehouse {
  slot.set(gatehouse, internals)
  return gatehouse
}

/** Returns the internals of a registration. */
export function internalsOf (gatehouse: Gatehouse): Internals | undefined {
  return slot.get(gatehouse)
}

const registrations = new WeakMap<object, Parts[]>()

/** Notes a registration of the plugin for the test kit. All contexts of an application share one server. */
export function noteParts ({ server }: FastifyInstance, parts: Parts): void {
  registrations.set(server, [...partsOf(server), parts])
}

/** Returns the registrations in the application of a server. */
export function partsOf (server: object): readonly Parts[] {
  return registrations.get(server) ?? []
}

/** Creates `app.gatehouse.oauth`, which forwards to the authorization server. */
export function createOAuthCalls (internals: Internals): GatehouseOAuth {
  const server = (): GatehouseOAuth => {
    if (internals.oauth !== null) return internals.oauth
    throw internalError('this application has no authorization server: register oauthServer of fastify-gatehouse/oauth')
  }
  return Object.freeze({
    clients: Object.freeze({
      of: (owner: unknown) => server().clients.of(parseOwner(owner, 'oauth.clients.of()')),
      ofAnyOwner: () => server().clients.ofAnyOwner()
    }),
    consents: Object.freeze({
      of: (owner: unknown) => server().consents.of(parseOwner(owner, 'oauth.consents.of()'))
    })
  })
}
