import type { Principal } from '../../types/principal.js'
import type { Load, Scheme, SchemeFactory } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import { misconfigured } from '../errors.js'
import { parseOrigins } from '../guard/cross-site.js'
import type { ErrorForm } from '../guard/responder.js'
import { parseLimits, type Limits } from '../limits/options.js'
import { parsePublicPaths, type PublicPath } from '../policy/public-paths.js'
import { parsePermissions, type Permissions } from '../policy/requirements.js'
import { describeValue, joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { oneOf, optional, readOptions } from '../util/options.js'

/** The plugin's options, parsed: complete, and trusted from here on. */
export interface Options {
  readonly schemes: ReadonlyMap<string, Scheme<Principal> | SchemeFactory<Principal>>
  /** As written; where it was left out, the only scheme. */
  readonly default: unknown
  readonly publicPaths: readonly PublicPath[]
  readonly permissions: Permissions
  readonly load: Load | null
  readonly stage: 'preParsing' | 'preHandler'
  readonly form: ErrorForm
  readonly origins: ReadonlySet<string>
  readonly outsideAllowed: boolean
  /** `null`: none was given. */
  readonly store: Store | null
  readonly limits: Limits
  /** What is public without a reason stops the boot. */
  readonly requireReason: boolean
}

const known = ['schemes', 'default', 'publicPaths', 'scopes', 'roles', 'load', 'stage', 'errors', 'origins', 'outside', 'store', 'limits', 'requireReason'] as const

/** @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option and the mend. */
export function parseOptions (options: unknown): Options {
  const said = readOptions(options, known, 'The options of fastify-gatehouse')
  const schemes = parseSchemes(said.schemes)
  const { load = null, outside, publicPaths = [], stage = 'preParsing', errors = 'fastify', origins = [] } = said
  if ('load' in said && typeof load !== 'function') throw misconfigured('The option load must be a function (principal, { scheme, request }) => principal or null.')
  if (outside !== undefined && outside !== 'allow') throw misconfigured("The option outside can only be 'allow'; leave it out otherwise.")
  return {
    schemes,
    default: parseDefault(said, [...schemes.keys()]),
    publicPaths: parsePublicPaths(publicPaths),
    permissions: parsePermissions(said.scopes, said.roles),
    load: load as Load | null,
    stage: choice(stage, ['preParsing', 'preHandler'], 'stage'),
    form: parseForm(errors),
    origins: parseOrigins(origins),
    outsideAllowed: outside === 'allow',
    store: parseStore(said.store),
    limits: parseLimits(said.limits),
    requireReason: optional(oneOf(true, false), false)(said.requireReason, 'The option requireReason')
  }
}

function parseSchemes (value: unknown): Options['schemes'] {
  if (!isObject(value) || Object.keys(value).length === 0) throw misconfigured('The option schemes must name at least one scheme, such as { schemes: { service: apiKey({ keys }) } }.')
  return new Map(Object.entries(value).map(([name, scheme]) => {
    if (!/^[A-Za-z][\w-]*$/.test(name)) throw misconfigured(`The option schemes has the name ${describeValue(name)}. Use letters, digits, '-' and '_', with a letter first.`)
    if (typeof scheme !== 'function' && !isScheme(scheme)) throw misconfigured(`The option schemes.${name} must be what apiKey(), jwt(), basic() or session() returns, or a scheme of your own; it is ${scheme === undefined ? 'undefined' : typeof scheme}.`)
    return [name, scheme as Scheme<Principal> | SchemeFactory<Principal>]
  }))
}

/** Whether a value keeps to the contract of a scheme, as far as can be seen. */
export function isScheme (value: unknown): value is Scheme<Principal> {
  return isObject(value) && typeof value.authenticate === 'function' && isObject(value.openapi)
}

const storeMethods = ['add', 'get', 'swap', 'take', 'find', 'takeAll', 'increment', 'decrement', 'migrate', 'close'] as const satisfies ReadonlyArray<keyof Store>

function parseStore (value: unknown): Store | null {
  if (value === undefined) return null
  const missing = isObject(value) ? storeMethods.find(method => typeof value[method] !== 'function') : 'add'
  if (missing === undefined) return value as unknown as Store
  throw misconfigured(`The option store must be what memoryStore(), sqlStore() or redisStore() returns, or a store of your own; it has no ${missing}().`)
}

function parseDefault (said: Readonly<Record<string, unknown>>, names: readonly string[]): unknown {
  if ('default' in said) return said.default
  const [only] = names
  if (names.length === 1) return only
  throw misconfigured(`The option default is missing: with the schemes ${joinNames(names, 'and')}, say which of them a route takes that says nothing, such as default: ['${only}'].`)
}

function parseForm (errors: unknown): ErrorForm {
  return typeof errors === 'function' ? errors as ErrorForm : choice(errors, ['fastify', 'problem', 'oauth'] as const, 'errors')
}

function choice<T extends string> (value: unknown, choices: readonly T[], option: string): T {
  const found = choices.find(each => each === value)
  if (found !== undefined) return found
  throw misconfigured(`The option ${option} must be ${joinNames(choices.map(each => `'${each}'`))}${option === 'errors' ? ', or a function' : ''}; it is ${describeValue(value)}.`)
}
