import type { FastifyRequest } from 'fastify'
import type { Principal } from '../../types/principal.js'
import { internalError, misconfigured } from '../errors.js'
import { describeValue } from '../util/describe.js'
import { deepFreeze, isObject } from '../util/objects.js'
import { duration, readOptions, syncFunctionOf } from '../util/options.js'
import { parseRateLimit, type DeclaredRateLimit } from './rate-limit.js'
import type { Permissions, Requirement } from './requirements.js'

export type Mode = 'required' | 'optional' | 'try'

/** `{ all, any, none }` of scopes or of roles, each name resolved. */
export interface Requirements {
  readonly all: readonly Requirement[]
  readonly any: readonly Requirement[]
  readonly none: readonly Requirement[]
}

/** Returns the requirements of one request, after validation, in the form of a declaration. */
export type RequirementsFunction = (request: FastifyRequest) => unknown

/** Decides after all other conditions. Only `true` lets the caller in. */
export type When = (principal: Principal, request: FastifyRequest) => unknown

/** Conditions that all must hold. */
export interface Conditions {
  readonly scopes: Requirements | RequirementsFunction | null
  readonly roles: Requirements | RequirementsFunction | null
  readonly when: When | null
}

/** An entry of `anyOf`. */
export interface Entry extends Conditions {
  /** The acting scheme must be one of these; `null`: any of the policy's. */
  readonly schemes: readonly string[] | null
}

/** The conditions of one declaration. */
export interface Rule extends Conditions {
  readonly anyOf: readonly Entry[] | null
}

/** A `config.auth`, default or group default, parsed. A field is `null` if it is inherited from the level above. */
export interface Declaration {
  /** Names the declaration in messages: `GET /orders: config.auth`. */
  readonly path: string
  /** The reason why the route is public; `''` without a reason, `null` for a route that is not public. */
  readonly publicReason: string | null
  /** Alternatives, each a list of schemes that must all be met. */
  readonly schemes: readonly (readonly string[])[] | null
  readonly mode: Mode | null
  readonly rule: Rule | null
  /** Seconds. */
  readonly maxAge: number | null
  readonly rateLimit: DeclaredRateLimit | null
  readonly inherit: boolean
}

const keys = [
  'schemes', 'mode', 'scopes', 'roles', 'when', 'anyOf', 'maxAge', 'rateLimit', 'public', 'inherit'
] as const
const entryKeys = ['schemes', 'scopes', 'roles', 'when'] as const
const modes: readonly unknown[] = ['required', 'optional', 'try']

const parseMaxAge = duration({ positive: true })

type Fields = Readonly<Record<string, unknown>>

/**
 * Parses one declaration. Everything outside of the grammar stops the boot, because a rule that is silently ignored
 * leaves a route open.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `path`.
 */
export function parseDeclaration (declared: unknown, path: string, permissions: Permissions): Declaration {
  return deepFreeze(parse(declared, path, permissions))
}

const inherited = {
  publicReason: null, schemes: null, mode: null, rule: null, maxAge: null, rateLimit: null, inherit: true
} as const satisfies Omit<Declaration, 'path'>

function parse (declared: unknown, path: string, permissions: Permissions): Declaration {
  if (declared === true) return { ...inherited, path, mode: 'required' }
  if (declared === false) return { ...inherited, path, publicReason: '' }
  if (typeof declared === 'string' || Array.isArray(declared)) {
    return { ...inherited, path, schemes: parseSchemes(declared, path) }
  }
  if (isObject(declared)) return parseObject(readOptions(declared, keys, path), path, permissions)
  throw misconfigured(`${path} must be true, false, the name of a scheme, a list of names or an object. Got ` +
    `${describeValue(declared)}. Write true for the default.`)
}

function parseObject (fields: Fields, path: string, permissions: Permissions): Declaration {
  if (Object.keys(fields).length === 0) {
    throw misconfigured(`${path} is an empty object. Write true for the default, false for a public route.`)
  }
  if ('public' in fields) return { ...inherited, path, publicReason: parsePublic(fields, path) }
  if ('inherit' in fields) checkInherit(fields, path)
  if ('mode' in fields && !modes.includes(fields.mode)) {
    throw misconfigured(`${path}.mode must be 'required', 'optional' or 'try'. Got ${describeValue(fields.mode)}.`)
  }
  const rule: Rule = {
    ...parseConditions(fields, path, permissions),
    anyOf: 'anyOf' in fields ? parseAnyOf(fields.anyOf, `${path}.anyOf`, permissions) : null
  }
  return {
    path,
    publicReason: null,
    schemes: 'schemes' in fields ? parseSchemes(fields.schemes, `${path}.schemes`) : null,
    mode: 'mode' in fields ? fields.mode as Mode : null,
    rule: Object.values(rule).some(part => part !== null) ? rule : null,
    maxAge: 'maxAge' in fields ? parseMaxAge(fields.maxAge, `${path}.maxAge`) : null,
    rateLimit: 'rateLimit' in fields ? parseRateLimit(fields.rateLimit, `${path}.rateLimit`) : null,
    inherit: !('inherit' in fields)
  }
}

function parsePublic (fields: Fields, path: string): string {
  const [other] = Object.keys(fields).filter(key => key !== 'public')
  if (other !== undefined) {
    throw misconfigured(`${path} is public and has '${other}' as well, which a public route would ignore. Remove one ` +
      'of the two.')
  }
  if (typeof fields.public !== 'string' || fields.public.trim() === '') {
    throw misconfigured(`${path}.public must be a non-empty string with the reason, such as 'load balancer probe'.`)
  }
  return fields.public
}

function checkInherit (fields: Fields, path: string): void {
  if (fields.inherit !== false) throw misconfigured(`${path}.inherit can only be false; leave it out to inherit.`)
  if (!('schemes' in fields)) throw misconfigured(`${path} has inherit: false, so it must name its schemes.`)
}

/**
 * Parses `'user'`, `{ all: ['user', 'device'] }`, or a list of these, which is what `security` of OpenAPI can express.
 */
function parseSchemes (value: unknown, path: string): readonly (readonly string[])[] {
  const alternatives = Array.from(Array.isArray(value) ? value as unknown[] : [value], each => {
    if (typeof each === 'string') return [parseName(each, path)]
    const all = isObject(each) ? readOptions(each, ['all'], path).all : undefined
    if (!Array.isArray(all)) {
      throw misconfigured(`${path} must be a scheme's name, { all: [names] }, or a list of these.`)
    }
    return parseNames(all, `${path}.all`)
  })
  if (alternatives.length === 0) {
    throw misconfigured(`${path} is an empty list. Name a scheme, or write false for a public route.`)
  }
  checkUnique(alternatives.map(each => each.join(' and ')), path)
  return alternatives
}

const parseFunction = syncFunctionOf<RequirementsFunction>('(request) => name or { all, any, none }')

function parseConditions (fields: Fields, path: string, permissions: Permissions): Conditions {
  const requirementsOf = (kind: 'scopes' | 'roles') => {
    if (!(kind in fields)) return null
    const value = fields[kind]
    return typeof value === 'function'
      ? parseFunction(value, `${path}.${kind}`)
      : parseRequirements(value, { kind, path: `${path}.${kind}` }, permissions)
  }
  if ('when' in fields && typeof fields.when !== 'function') {
    throw misconfigured(`${path}.when must be a function (principal, request) => boolean. Got ` +
      `${describeValue(fields.when)}.`)
  }
  const when = 'when' in fields ? fields.when as When : null
  return { scopes: requirementsOf('scopes'), roles: requirementsOf('roles'), when }
}

/** Names the kind of permissions that a declaration requires, and its path in messages. */
interface RequirementsTarget {
  readonly kind: 'scopes' | 'roles'
  readonly path: string
}

/** Parses one name, or `{ all, any, none }`. Rejects a bare list, which does not say whether all or any are needed. */
export function parseRequirements (
  value: unknown, { kind, path }: RequirementsTarget, permissions: Permissions
): Requirements {
  if (Array.isArray(value)) {
    throw misconfigured(`${path} is a bare list, which does not say whether all or any are needed. Write { all: ` +
      '[...] } or { any: [...] }.')
  }
  if (typeof value === 'string') {
    return { all: [permissions.requirement(kind, parseName(value, path), path)], any: [], none: [] }
  }
  const lists = isObject(value) ? readOptions(value, ['all', 'any', 'none'], path) : {}
  if (Object.keys(lists).length === 0) {
    throw misconfigured(`${path} must be one name, or { all, any, none } with lists of names.`)
  }
  const parseList = (quantifier: string): readonly Requirement[] => {
    const list = lists[quantifier]
    const here = `${path}.${quantifier}`
    if (list === undefined) return []
    if (!Array.isArray(list)) throw misconfigured(`${here} must be a list of names. Got ${describeValue(list)}.`)
    return parseNames(list, here).map(each => permissions.requirement(kind, each, here))
  }
  return { all: parseList('all'), any: parseList('any'), none: parseList('none') }
}

/**
 * Parses the result of a function in a rule.
 * @throws {AuthError} `AUTH_FAULT` for a value of the wrong form.
 */
export function parseReturnedRequirements (
  kind: 'scopes' | 'roles', returned: unknown, permissions: Permissions
): Requirements {
  try {
    return parseRequirements(returned, { kind, path: `The return value of the ${kind} function` }, permissions)
  } catch (cause) {
    throw internalError(
      `a ${kind} function must return one name or { all, any, none }; it returned something else`, cause
    )
  }
}

function parseAnyOf (value: unknown, path: string, permissions: Permissions): readonly Entry[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw misconfigured(`${path} must be a list with at least one entry.`)
  }
  return Array.from(value as unknown[], (each, i) => {
    const here = `${path}[${i}]`
    const fields = readOptions(each, entryKeys, here)
    if (Object.keys(fields).length === 0) {
      throw misconfigured(`${here} is empty, which would let every caller in. Give it schemes, scopes, roles ` +
        'or when.')
    }
    return { schemes: parseEntrySchemes(fields, here), ...parseConditions(fields, here, permissions) }
  })
}

function parseEntrySchemes (fields: Fields, path: string): readonly string[] | null {
  if (!('schemes' in fields)) return null
  const { schemes } = fields
  const here = `${path}.schemes`
  return Array.isArray(schemes) ? parseNames(schemes, here) : [parseName(schemes, here)]
}

function parseNames (values: readonly unknown[], path: string): readonly string[] {
  if (values.length === 0) throw misconfigured(`${path} is an empty list. Give it at least one name.`)
  // Array.from visits the holes of a list, which map and every skip: a rule of holes would let every caller in
  const names = Array.from(values, value => parseName(value, path))
  checkUnique(names, path)
  return names
}

function parseName (value: unknown, path: string): string {
  if (typeof value !== 'string' || value.trim() !== value || value === '') {
    throw misconfigured(`${path} must contain names: non-empty strings without surrounding spaces. Got ` +
      `${describeValue(value)}.`)
  }
  return value
}

function checkUnique (names: readonly string[], path: string): void {
  const duplicate = names.find((each, i) => names.indexOf(each) !== i)
  if (duplicate !== undefined) throw misconfigured(`${path} names '${duplicate}' twice. Name it once.`)
}
