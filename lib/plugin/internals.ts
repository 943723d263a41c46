import type { FastifyInstance } from 'fastify'
import type { Gatehouse } from '../../types/gatehouse.js'
import type { GatehouseOAuth } from '../../types/oauth.js'
import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { SchemeContext } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import type { Doctor } from '../doctor/doctor.js'
import type { Guard } from '../guard/guard.js'
import type { GuessLimiter } from '../limits/guesses.js'
import type { RequestLimiter } from '../limits/request-limits.js'
import type { Defaults } from '../policy/defaults.js'
import type { Policy } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import type { Policies } from '../policy/resolve.js'
import type { RouteRegistry } from '../routes/route-registry.js'
import { createPrivateSlot } from '../util/objects.js'
import type { BoundSchemes } from './schemes.js'

/** The parts of one registration of the plugin, which the decorators and hooks share. */
export interface Parts {
  readonly guard: Guard
  /** The key under which the config of a route has its policy. */
  readonly key: symbol
  readonly schemes: BoundSchemes
  readonly defaults: Defaults
  readonly policies: Policies
  readonly registry: RouteRegistry
  readonly stage: string
  readonly guesses: GuessLimiter
  readonly limiter: RequestLimiter
  readonly internals: Internals
  readonly doctor: Doctor
  /** The policies of `app.gatehouse.guard()`, for the doctor. */
  readonly guards: Set<Policy>
}

/** Gives other plugins of this package what they need of a registration. Applications do not see it. */
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
