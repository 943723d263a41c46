import type { FastifyRequest } from 'fastify'
import type { Principal } from '../../types/principal.js'
import { internalError, misconfigured } from '../errors.js'
import { parseDuration } from '../util/duration.js'
import { deepFreeze, isObject } from '../util/objects.js'
import { readOptions } from '../util/options.js'
import type { Permissions, Requirement } from './requirements.js'

export type Mode = 'required' | 'optional' | 'try'

/** `{ all, any, none }` of scopes or of roles, each name resolved. */
export interface Requirements {
  readonly all: readonly Requirement[]
  readonly any: readonly Requirement[]
  readonly none: readonly Requirement[]
}

/** A requirement that a request decides, after validation. */
export type RequirementsFunction = (request: FastifyRequest) => unknown

/** Asked last; passes on exactly `true`. */
export type When = (principal: Principal, request: FastifyRequest) => unknown

/** Conditions that all must hold. */
export interface Conditions {
  readonly scopes: Requirements | RequirementsFunction | null
  readonly roles: Requirements | RequirementsFunction | null
  readonly when: When | null
}

/** One line of `anyOf`. */
export interface Entry extends Conditions {
  /** The acting scheme must be one of these; `null`: any of the policy's. */
  readonly schemes: readonly string[] | null
}

/** What one declaration asks of a principal. */
export interface Rule extends Conditions {
  readonly anyOf: readonly Entry[] | null
}

export interface RateLimit {
  /** Requests per window. */
  readonly max: number
  /** Seconds. */
  readonly window: number
}

/**
 * One `config.auth`, default or group default, parsed: what it says, and `null` for what it leaves to the level above.
 */
export interface Declaration {
  /** Where it stands, for sentences and for the audit. */
  readonly path: string
  /** Public, and why; `''` for a bare `false`. */
  readonly open: string | null
  /** Any of these; each a list of schemes that must all be met. */
  readonly schemes: readonly (readonly string[])[] | null
  readonly mode: Mode | null
  readonly rule: Rule | null
  /** Seconds. */
  readonly maxAge: number | null
  readonly rateLimit: RateLimit | null
  readonly inherit: boolean
}

const keys = ['schemes', 'mode', 'scopes', 'roles', 'when', 'anyOf', 'maxAge', 'rateLimit', 'public', 'inherit'] as const
const entryKeys = ['schemes', 'scopes', 'roles', 'when'] as const
const modes: readonly unknown[] = ['required', 'optional', 'try']

/**
 * Parses one declaration: design §3. Everything that is not exactly the grammar stops the boot, because what is
 * silently ignored here is an open door.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
export function parseDeclaration (written: unknown, path: string, permissions: Permissions): Declaration {
  return deepFreeze(parse(written, path, permissions))
}

function parse (written: unknown, path: string, permissions: Permissions): Declaration {
  const bare: Declaration = { path, open: null, schemes: null, mode: null, rule: null, maxAge: null, rateLimit: null, inherit: true }
  if (written === true) return { ...bare, mode: 'required' }
  if (written === false) return { ...bare, open: '' }
  if (typeof written === 'string' || Array.isArray(written)) return { ...bare, schemes: parseSchemes(written, path) }
  if (!isObject(written)) {
    throw misconfigured(`${path} must be true, false, a scheme's name, a list of names or an object; it is ` +
      `${written === undefined ? 'undefined: leave the key out' : written === null ? 'null' : typeof written}.`)
  }
  return parseObject(readOptions(written, keys, path), bare, permissions)
}

function parseObject (
  said: Readonly<Record<string, unknown>>, bare: Declaration, permissions: Permissions
): Declaration {
  const { path } = bare
  if (Object.keys(said).length === 0) {
    throw misconfigured(`${path} is an empty object. Write true for the default, false for a public route.`)
  }
  if ('public' in said) return { ...bare, open: parsePublic(said, path) }
  if ('inherit' in said) checkInherit(said, path)
  if ('mode' in said && !modes.includes(said.mode)) {
    throw misconfigured(`${path}.mode must be 'required', 'optional' or 'try'.`)
  }
  const rule: Rule = {
    ...parseConditions(said, path, permissions),
    anyOf: 'anyOf' in said ? parseAnyOf(said.anyOf, `${path}.anyOf`, permissions) : null
  }
  return {
    path,
    open: null,
    schemes: 'schemes' in said ? parseSchemes(said.schemes, `${path}.schemes`) : null,
    mode: 'mode' in said ? said.mode as Mode : null,
    rule: Object.values(rule).some(part => part !== null) ? rule : null,
    maxAge: 'maxAge' in said ? parseMaxAge(said.maxAge, `${path}.maxAge`) : null,
    rateLimit: 'rateLimit' in said ? parseRateLimit(said.rateLimit, `${path}.rateLimit`) : null,
    inherit: !('inherit' in said)
  }
}

function parsePublic (said: Readonly<Record<string, unknown>>, path: string): string {
  const [other] = Object.keys(said).filter(key => key !== 'public')
  if (other !== undefined) {
    throw misconfigured(`${path} is public and has '${other}' as well. A public route asks for nothing: remove one ` +
      'of the two.')
  }
  if (typeof said.public !== 'string' || said.public.trim() === '') {
    throw misconfigured(`${path}.public must be the reason in words, such as 'load balancer probe'.`)
  }
  return said.public
}

function checkInherit (said: Readonly<Record<string, unknown>>, path: string): void {
  if (said.inherit !== false) throw misconfigured(`${path}.inherit can only be false; leave it out to inherit.`)
  if (!('schemes' in said)) throw misconfigured(`${path} has inherit: false, so it must name its schemes.`)
}

function parseMaxAge (value: unknown, path: string): number {
  const age = parseDuration(value, path)
  if (age <= 0) throw misconfigured(`${path} must be more than nothing.`)
  return age
}

function parseRateLimit (value: unknown, path: string): RateLimit {
  const { max, window } = readOptions(value, ['max', 'window'], path)
  if (typeof max !== 'number' || !Number.isSafeInteger(max) || max < 1) {
    throw misconfigured(`${path}.max must be a whole number of requests, 1 or more.`)
  }
  const length = parseDuration(window, `${path}.window`)
  if (length <= 0) throw misconfigured(`${path}.window must be more than nothing.`)
  return { max, window: length }
}

/** `'user'`, `['user', { all: [...] }]`, `{ all: [...] }`: exactly what OpenAPI `security` can say. */
function parseSchemes (value: unknown, path: string): readonly (readonly string[])[] {
  const alternatives = Array.from(Array.isArray(value) ? value as unknown[] : [value], each => {
    if (typeof each === 'string') return [name(each, path)]
    const all = isObject(each) ? readOptions(each, ['all'], path).all : undefined
    if (!Array.isArray(all)) {
      throw misconfigured(`${path} must be a scheme's name, { all: [names] }, or a list of these.`)
    }
    return names(all, `${path}.all`)
  })
  if (alternatives.length === 0) {
    throw misconfigured(`${path} is an empty list. Name a scheme, or write false for a public route.`)
  }
  unique(alternatives.map(each => each.join(' and ')), path)
  return alternatives
}

function parseConditions (said: Readonly<Record<string, unknown>>, path: string, permissions: Permissions): Conditions {
  const asked = (kind: 'scopes' | 'roles') => {
    if (!(kind in said)) return null
    const value = said[kind]
    return typeof value === 'function' ? value as RequirementsFunction : parseRequirements(value, { kind, path: `${path}.${kind}` }, permissions)
  }
  if ('when' in said && typeof said.when !== 'function') {
    throw misconfigured(`${path}.when must be a function (principal, request) => boolean.`)
  }
  return { scopes: asked('scopes'), roles: asked('roles'), when: 'when' in said ? said.when as When : null }
}

/** What requirements are about, and where they are written. */
interface RequirementsOf {
  readonly kind: 'scopes' | 'roles'
  readonly path: string
}

/** One name, or `{ all, any, none }`; never a bare list, whose quantifier nobody can see. */
export function parseRequirements (
  value: unknown, { kind, path }: RequirementsOf, permissions: Permissions
): Requirements {
  if (Array.isArray(value)) {
    throw misconfigured(`${path} is a bare list, which does not say whether all are needed or any. Write { all: ` +
      '[...] } or { any: [...] }.')
  }
  if (typeof value === 'string') return { all: [permissions.requirement(kind, name(value, path), path)], any: [], none: [] }
  const said = isObject(value) ? readOptions(value, ['all', 'any', 'none'], path) : {}
  if (Object.keys(said).length === 0) {
    throw misconfigured(`${path} must be one name, or { all, any, none } with lists of names.`)
  }
  const needs = (quantifier: string): readonly Requirement[] => {
    const listed = said[quantifier]
    if (listed === undefined) return []
    if (!Array.isArray(listed)) throw misconfigured(`${path}.${quantifier} must be a list of names.`)
    return names(listed, `${path}.${quantifier}`).map(each => permissions.requirement(kind, each, `${path}.${quantifier}`))
  }
  return { all: needs('all'), any: needs('any'), none: needs('none') }
}

/** What a function returned, in its declared form, or a fault. */
export function requirementsFrom (kind: 'scopes' | 'roles', returned: unknown, permissions: Permissions): Requirements {
  try {
    return parseRequirements(returned, { kind, path: `what the ${kind} function returned` }, permissions)
  } catch (cause) {
    throw internalError(`a ${kind} function returned something else than one name or { all, any, none }`, cause)
  }
}

function parseAnyOf (value: unknown, path: string, permissions: Permissions): readonly Entry[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw misconfigured(`${path} must be a list with at least one entry.`)
  }
  return Array.from(value as unknown[], (each, i) => {
    const here = `${path}[${i}]`
    const said = readOptions(each, entryKeys, here)
    if (Object.keys(said).length === 0) {
      throw misconfigured(`${here} is empty, which would let everybody pass. Give it schemes, scopes, roles or ` +
        'when.')
    }
    const schemes = !('schemes' in said)
      ? null
      : Array.isArray(said.schemes) ? names(said.schemes, `${here}.schemes`) : [name(said.schemes, `${here}.schemes`)]
    return { schemes, ...parseConditions(said, here, permissions) }
  })
}

function names (values: readonly unknown[], path: string): readonly string[] {
  if (values.length === 0) throw misconfigured(`${path} is an empty list. An empty rule is a mistake, never a pass.`)
  // Array.from sees the holes of a list, which map and every pass over: a rule of holes would let everybody pass.
  const all = Array.from(values, value => name(value, path))
  unique(all, path)
  return all
}

function name (value: unknown, path: string): string {
  if (typeof value !== 'string' || value.trim() !== value || value === '') {
    throw misconfigured(`${path} must hold names: non-empty strings without space around them.`)
  }
  return value
}

function unique (all: readonly string[], path: string): void {
  const twice = all.find((each, i) => all.indexOf(each) !== i)
  if (twice !== undefined) throw misconfigured(`${path} names '${twice}' twice.`)
}
