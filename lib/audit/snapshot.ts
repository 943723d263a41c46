import type { AuditRow } from '../../types/audit.js'
import { isObject } from '../util/objects.js'

/** Describes what a scheme accepts. People have to review every change of it. */
export interface SchemeSummary {
  readonly name: string
  readonly accepts: Readonly<Record<string, unknown>>
}

/** Describes what a role includes, directly or by other roles. */
export interface RoleSummary {
  readonly name: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
}

/** A route in a snapshot. */
export interface RouteSummary extends Pick<AuditRow, 'constraints' | 'policy' | 'delegated'> {
  /** The methods and the pattern. */
  readonly route: string
}

/** All that a comparison needs to know of an application. */
export interface Snapshot {
  readonly schemes: readonly SchemeSummary[]
  readonly roles: readonly RoleSummary[]
  readonly routes: readonly RouteSummary[]
}

/** The first line of a snapshot, with the version of its format. */
const format = 'fastify-gatehouse audit'
const version = 1

/** Is thrown for a file that is not a snapshot, or one of another format. The message says which. */
export class SnapshotError extends Error {}

/** Matches the space between the methods of a route and its pattern. */
export const betweenMethodsAndPattern = /(?<!,) /

/** Splits `GET, POST /orders` into `GET /orders` and `POST /orders`. */
export function endpointsOf (route: string): readonly string[] {
  const [methods = '', ...pattern] = route.split(betweenMethodsAndPattern)
  return methods.split(', ').map(method => [method, ...pattern].join(' '))
}

/** Returns the parts of each route that a comparison needs. */
export function routeSummaries (rows: readonly AuditRow[]): readonly RouteSummary[] {
  return rows.map(({ method, url, constraints, policy, delegated }) =>
    ({ route: `${method} ${url}`, constraints, policy, delegated }))
}

/** Writes a snapshot as sorted JSON lines, one for each scheme, role and route, so that a diff of it is readable. */
export function writeSnapshot ({ schemes, roles, routes }: Snapshot): string {
  const lines = [
    ...schemes.map(({ name, accepts }) => JSON.stringify({ scheme: name, accepts })).sort(),
    ...roles.map(({ name, ...role }) => JSON.stringify({ role: name, ...role })).sort(),
    ...routes.map(({ route, constraints, policy, delegated }) =>
      JSON.stringify({ route, ...constraints === null ? {} : { constraints }, policy, delegated })).sort()
  ]
  return [JSON.stringify({ format, version }), ...lines, ''].join('\n')
}

/** @throws {SnapshotError} for a text that this version did not write. */
export function parseSnapshot (text: string): Snapshot {
  const [head, ...lines] = text.split('\n').filter(line => line.trim() !== '').map(parseLine)
  if (head?.format !== format || typeof head.version !== 'number') {
    throw new SnapshotError('It is not a snapshot of fastify-gatehouse audit.')
  }
  if (head.version !== version) {
    throw new SnapshotError(`It has the format ${head.version}, and this version of fastify-gatehouse reads the ` +
      `format ${version}. Use the version that wrote it, or write it anew with --update.`)
  }
  const named = (key: 'scheme' | 'role' | 'route') => lines.filter(line => typeof line[key] === 'string')
  const snapshot = {
    schemes: named('scheme').map(({ scheme, accepts }) => ({ name: scheme, accepts })),
    roles: named('role').map(({ role, roles, scopes }) => ({ name: role, roles, scopes })),
    routes: named('route').map(({ constraints = null, ...route }) => ({ ...route, constraints }))
  }
  const isComplete = Object.values(snapshot).flat().length === lines.length
  if (isWhole(snapshot) && isComplete) return snapshot as unknown as Snapshot
  throw new SnapshotError('It has a line that fastify-gatehouse audit did not write.')
}

type Check = (value: unknown) => boolean

const isNull: Check = value => value === null
const isText: Check = value => typeof value === 'string'
const isNumber: Check = value => typeof value === 'number'
const isBoolean: Check = value => typeof value === 'boolean'
const either = (...checks: readonly Check[]): Check => value => checks.some(check => check(value))
const listOf = (check: Check): Check => value => Array.isArray(value) && value.every(each => check(each))
const shape = (fields: Readonly<Record<string, Check>>): Check => value =>
  isObject(value) && Object.entries(fields).every(([key, check]) => check(value[key]))

const accesses: readonly unknown[] = ['public', 'required', 'optional', 'try']
const names = listOf(isText)
const isTexts: Check = value => isObject(value) && Object.values(value).every(isText)
const requirement = either(isNull, shape({ all: names, any: names, none: names }), shape({ function: isText }))
const conditions = { scopes: requirement, roles: requirement, when: either(isNull, isText) }
const entries = listOf(shape({ ...conditions, schemes: either(isNull, names) }))
const limit = shape({
  plan: either(isNull, isText), windows: listOf(shape({ max: isNumber, window: isNumber }))
})

/** Returns true for an {@link AuditPolicy}. */
const isPolicy = shape({
  access: value => accesses.includes(value),
  alternatives: listOf(names),
  rules: listOf(shape({ ...conditions, anyOf: either(isNull, entries) })),
  maxAge: either(isNull, isNumber),
  rateLimit: either(isNull, limit, shape({ function: isText, plans: listOf(limit) })),
  detached: isBoolean
})

/** Returns true for a {@link Snapshot}: an edit by hand, such as of a conflict, must not hide what was loosened. */
const isWhole = shape({
  schemes: listOf(shape({ accepts: isObject })),
  roles: listOf(shape({ roles: names, scopes: names })),
  routes: listOf(shape({ constraints: either(isNull, isTexts), policy: isPolicy, delegated: isBoolean }))
})

function parseLine (line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line)
    if (isObject(value)) return value
  } catch {}
  throw new SnapshotError('It is not a snapshot of fastify-gatehouse audit.')
}

/** Returns a route in words: `GET, POST /orders`, with its constraints `GET /orders (host admin.example.com)`. */
export function routeInWords ({ method, url, constraints }: Pick<AuditRow, 'method' | 'url' | 'constraints'>): string {
  return `${method} ${url}${constraintsInWords(constraints)}`
}

/** Returns the constraints of a route in words, with a space before them; `''` without any. */
export function constraintsInWords (constraints: AuditRow['constraints']): string {
  const words = Object.entries(constraints ?? {}).map(([name, value]) => `${name} ${value}`)
  return words.length === 0 ? '' : ` (${words.join(', ')})`
}
