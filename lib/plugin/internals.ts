import type { FastifyInstance } from 'fastify'
import type { Gatehouse } from '../../types/gatehouse.js'
import type { GatehouseOAuth } from '../../types/oauth.js'
import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { SchemeContext } from '../../types/scheme.js'
import type { SessionFeature } from '../../types/sessions.js'
import type { Store } from '../../types/store.js'
import type { Doctor } from '../doctor/doctor.js'
import { misconfigured } from '../errors.js'
import type { Guard } from '../guard/guard.js'
import type { GuessLimiter } from '../limits/guesses.js'
import type { RequestLimiter } from '../limits/request-limits.js'
import type { Defaults } from '../policy/defaults.js'
import type { Policy } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import type { Policies } from '../policy/resolve.js'
import type { Stage } from '../routes/hooks.js'
import type { RouteRegistry } from '../routes/route-registry.js'
import { describeValue, joinNames } from '../util/describe.js'
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
  readonly stage: Stage
  readonly guesses: GuessLimiter
  readonly limiter: RequestLimiter
  readonly internals: Internals
  readonly doctor: Doctor
  /** The policies of `app.gatehouse.guard()`, for the doctor. */
  readonly guards: Set<Policy>
}

/** Holds the parts of a registration that other plugins of this package need. Applications do not see it. */
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

const attached = new WeakMap<Gatehouse, Internals>()

/** Attaches the internals of a registration to its `app.gatehouse`. */
export function attachInternals (gatehouse: Gatehouse, internals: Internals): Gatehouse {
  attached.set(gatehouse, internals)
  return gatehouse
}

/**
 * Returns the internals of the registration that a context belongs to.
 * @param caller the name of the plugin that needs them.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if the registration is of another copy of this package.
 */
export function internalsOf ({ gatehouse }: FastifyInstance, caller: string): Internals {
  const internals = attached.get(gatehouse)
  if (internals !== undefined) return internals
  throw misconfigured(`${caller} and the plugin are of two copies of fastify-gatehouse. Install one version of it.`)
}

const sessionMembers = [
  'redirectToLogin', 'loginRequestOf', 'deriveKeys', 'cookie', 'noteProvider', 'providerOf'
] as const satisfies ReadonlyArray<keyof SessionFeature>

/** The sessions of a scheme that is made by `session()`. */
export type OwnSessions = SessionFeature & Required<Pick<SessionFeature, typeof sessionMembers[number]>>

/**
 * Returns the sessions of the scheme that an option names.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if it is not made by `session()`.
 */
export function ownSessions ({ schemes }: Internals, name: string, option: string): OwnSessions {
  const sessions = schemes.get(name)?.features.sessions
  if (isOwn(sessions)) return sessions
  const known = [...schemes.values()].filter(({ features }) => isOwn(features.sessions))
  const names = known.length === 0 ? '' : `: ${joinNames(known.map(each => each.name))}`
  throw misconfigured(`${option} must be a scheme that is made by session()${names}. Got ${describeValue(name)}.`)
}

function isOwn (sessions: SessionFeature | undefined): sessions is OwnSessions {
  return sessions !== undefined && sessionMembers.every(member => sessions[member] !== undefined)
}

const registrations = new WeakMap<object, Parts[]>()

/** Notes a registration of the plugin for the test kit. All contexts of an application share one server. */
export function noteParts ({ server }: FastifyInstance, parts: Parts): void {
  registrations.set(server, [...registeredParts(server), parts])
}

/** Returns the registrations in the application of a server. */
export function registeredParts (server: object): readonly Parts[] {
  return registrations.get(server) ?? []
}
