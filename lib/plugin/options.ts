import type { GatehouseOptions } from '../../types/options.js'
import type { Principal } from '../../types/principal.js'
import type { Load, Scheme, SchemeFactory } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import { parseDoctor, type Ignored } from '../doctor/doctor.js'
import { misconfigured, type AuthError } from '../errors.js'
import { parseOrigins } from '../guard/cross-site.js'
import type { ErrorForm } from '../guard/responder.js'
import { parseLimits, type Limits } from '../limits/options.js'
import { parsePublicPaths, type PublicPath } from '../policy/public-paths.js'
import { parsePermissions, type Permissions } from '../policy/requirements.js'
import type { Stage } from '../routes/hooks.js'
import { parseStore } from '../stores/deadline.js'
import { describeValue, joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { asGiven, functionOf, object, oneOf, optional, pluginOptions, type Parser } from '../util/options.js'

/** The plugin's options, parsed: complete, and trusted from here on. */
export interface Options {
  readonly schemes: ReadonlyMap<string, Scheme<Principal> | SchemeFactory<Principal>>
  /** As configured, or the only scheme. Parsed as a declaration later. */
  readonly default: unknown
  readonly publicPaths: readonly PublicPath[]
  readonly permissions: Permissions
  /** The descriptions of the declared scopes. */
  readonly scopeDescriptions: Readonly<Record<string, string>>
  readonly load: Load | null
  readonly stage: Stage
  readonly errorForm: ErrorForm
  readonly origins: ReadonlySet<string>
  readonly outsideAllowed: boolean
  /** `null` if none is configured. */
  readonly store: Store | null
  readonly limits: Limits
  /** `true` if the boot stops where a public route or path has no reason. */
  readonly requireReason: boolean
  /** The reasons of the findings of the doctor that are ignored. */
  readonly doctor: Ignored
}

const parse = object({
  schemes: optional(parseSchemes, null),
  default: asGiven,
  publicPaths: (value = []) => parsePublicPaths(value),
  scopes: asGiven,
  roles: asGiven,
  load: optional(functionOf<Load>('(principal, { scheme, request }) => principal or null'), null),
  stage: optional(oneOf('preParsing', 'preHandler'), 'preParsing' as const),
  errors: optional(parseForm, 'fastify' as const),
  origins: (value = []) => parseOrigins(value),
  outside: optional(parseOutside, false),
  store: optional(parseStore, null),
  limits: value => parseLimits(value),
  requireReason: optional(oneOf(true, false), false),
  doctor: value => parseDoctor(value)
} satisfies Partial<Record<keyof GatehouseOptions, Parser<unknown>>>)

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the fix. */
export function parseOptions (options: unknown): Options {
  const { schemes, scopes, roles, default: defaultAuth, errors, outside, ...rest } = parse(options, pluginOptions)
  if (schemes === null) throw noSchemes()
  return Object.freeze({
    ...rest,
    schemes,
    default: defaultAuth === undefined ? onlyScheme([...schemes.keys()]) : defaultAuth,
    permissions: parsePermissions(scopes, roles),
    scopeDescriptions: (scopes ?? {}) as Readonly<Record<string, string>>,
    errorForm: errors,
    outsideAllowed: outside
  })
}

function noSchemes (): AuthError {
  return misconfigured('The option schemes must name at least one scheme, such as ' +
    '{ schemes: { service: apiKey({ keys }) } }.')
}

function parseSchemes (value: unknown): Options['schemes'] {
  if (!isObject(value) || Object.keys(value).length === 0) throw noSchemes()
  return new Map(Object.entries(value).map(([name, scheme]) => {
    if (!/^[A-Za-z][\w-]*$/.test(name)) {
      throw misconfigured(`The name of a scheme cannot be ${describeValue(name)}. Use letters, digits, '-' and '_', ` +
        'with a letter first.')
    }
    if (isClass(scheme)) {
      throw misconfigured(`The option schemes.${name} is a class. Create the scheme with new, or write a function ` +
        'that returns it.')
    }
    if (typeof scheme !== 'function' && !isScheme(scheme)) {
      const missing = missingMember(scheme)
      if (missing !== null) throw misconfigured(`The option schemes.${name} ${missing}`)
      throw misconfigured(`The option schemes.${name} must be the result of apiKey(), jwt(), basic() or session(), ` +
        `or a scheme of your own. Got ${describeValue(scheme)}.`)
    }
    return [name, scheme as Scheme<Principal> | SchemeFactory<Principal>]
  }))
}

function isClass (value: unknown): boolean {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))
}

/** Returns true for a value that has the required members of a scheme. */
export function isScheme (value: unknown): value is Scheme<Principal> {
  return isObject(value) && typeof value.authenticate === 'function' && isObject(value.openapi)
}

/** Describes the member that an almost complete scheme lacks, as the end of a sentence; `null` for other values. */
export function missingMember (value: unknown): string | null {
  if (!isObject(value)) return null
  const [hasAuthenticate, hasOpenapi] = [typeof value.authenticate === 'function', isObject(value.openapi)]
  if (hasAuthenticate === hasOpenapi) return null
  return hasAuthenticate
    ? "has no openapi. Describe where its credential is, such as openapi: { type: 'http', scheme: 'bearer' } or " +
      "{ type: 'apiKey', in: 'header', name: 'x-key' }."
    : 'has no authenticate(request), which returns authenticated(principal), absent or invalid(reason).'
}

const errorForms = ['fastify', 'problem', 'oauth'] as const

/** Returns the only scheme of an application, which is its default if it configures none. */
function onlyScheme (names: readonly string[]): unknown {
  const [only] = names
  if (names.length === 1) return only
  throw misconfigured(`The option default is missing. Choose which of the schemes ${joinNames(names, 'and')} a route ` +
    `without config.auth accepts, such as default: ['${only}'].`)
}

function parseForm (value: unknown, option: string): ErrorForm {
  if (typeof value === 'function') return value as ErrorForm
  const form = errorForms.find(each => each === value)
  if (form !== undefined) return form
  throw misconfigured(`${option} must be 'fastify', 'problem' or 'oauth', or a function. Got ${describeValue(value)}.`)
}

function parseOutside (value: unknown, option: string): boolean {
  if (value === 'allow') return true
  throw misconfigured(`${option} can only be 'allow'; leave it out otherwise. Got ${describeValue(value)}.`)
}
