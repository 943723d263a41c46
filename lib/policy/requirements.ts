import type { Principal } from '../../types/principal.js'
import { misconfigured } from '../errors.js'
import { describeValue, didYouMean, joinNames } from '../util/describe.js'
import { isPlainObject } from '../util/objects.js'
import { readOptions, string } from '../util/options.js'

/** A scope or role that a rule requires, with every role that grants it, resolved once at boot. */
export interface Requirement {
  readonly name: string
  /** The scope that satisfies it; `null` for a role. */
  readonly scope: string | null
  readonly roles: readonly string[]
}

/** The scopes and roles of an application. A set is `null` if the application declares none, so that any is allowed. */
export interface Permissions {
  readonly scopes: ReadonlySet<string> | null
  readonly roles: ReadonlySet<string> | null
  /** The roles and scopes that each role includes, directly or by other roles. */
  readonly included: ReadonlyMap<string, Included>
  /**
   * Resolves a name.
   * @throws {AuthError} `AUTH_MISCONFIGURED` for a name that is not declared, naming `path`.
   */
  requirement (kind: 'scopes' | 'roles', name: string, path: string): Requirement
}

/** Returns true if a principal has the scope or role itself, or a role that includes it. */
export function hasPermission (principal: Principal, requirement: Requirement): boolean {
  if (requirement.scope !== null && principal.scopes.includes(requirement.scope)) return true
  for (const role of requirement.roles) {
    if (principal.roles.includes(role)) return true
  }
  return false
}

/** The maximum number of cached requirements. If no scopes are declared, functions in rules may return any name. */
const maxCached = 10_000
/** Characters of a name whose requirement is cached. A function may make a name from the request. */
const maxCachedLength = 200

type Known = Pick<Permissions, 'scopes' | 'roles'>

/** Parses the options `scopes` and `roles` of the plugin. */
export function parsePermissions (scopes: unknown, roles: unknown): Permissions {
  const definitions = roles === undefined ? null : parseRecord(roles, 'roles')
  const known: Known = {
    scopes: parseScopes(scopes),
    roles: definitions === null ? null : new Set(Object.keys(definitions))
  }
  const includes = definitions === null ? new Map<string, Included>() : parseRoles(definitions, known)
  const cache = new Map<string, Requirement>()
  return {
    ...known,
    included: includes,
    requirement (kind, name, path) {
      const key = `${kind} ${name}`
      const cached = cache.get(key)
      if (cached !== undefined) return cached
      checkDeclared({ kind, name, path }, known)
      const scope = kind === 'scopes' ? name : null
      const requirement = Object.freeze({ name, scope, roles: rolesGranting(includes, kind, name) })
      if (cache.size < maxCached && name.length <= maxCachedLength) cache.set(key, requirement)
      return requirement
    }
  }
}

/** The roles and scopes that a role includes. */
export interface Included { readonly roles: ReadonlySet<string>, readonly scopes: ReadonlySet<string> }

/** Returns the roles that grant a scope, or a role (itself among them). */
function rolesGranting (
  includes: ReadonlyMap<string, Included>, kind: 'scopes' | 'roles', name: string
): readonly string[] {
  const from = [...includes].filter(([, included]) => included[kind].has(name)).map(([role]) => role)
  return Object.freeze(kind === 'roles' ? [...new Set([name, ...from])] : from)
}

function parseScopes (scopes: unknown): ReadonlySet<string> | null {
  if (scopes === undefined) return null
  const descriptions = parseRecord(scopes, 'scopes')
  for (const [name, text] of Object.entries(descriptions)) string(text, `The option scopes['${name}']`)
  return new Set(Object.keys(descriptions))
}

/** Returns the roles and scopes that each role includes, directly or by other roles. */
function parseRoles (
  roles: Readonly<Record<string, unknown>>, known: Known
): ReadonlyMap<string, Included> {
  const direct = new Map(Object.entries(roles).map(([role, entry]) => [role, parseRole(role, entry, known)]))
  const all = new Map<string, Included>()
  for (const [role, included] of direct) all.set(role, expand(role, included, direct))
  return all
}

function parseRole (role: string, entry: unknown, known: Known): Included {
  const path = `The option roles['${role}']`
  const { roles = [], scopes = [] } = readOptions(entry, ['roles', 'scopes'], path)
  const set = (kind: 'roles' | 'scopes', value: unknown) => {
    // unlike a list, its copy has no holes, which every() skips
    const names: readonly unknown[] | null = Array.isArray(value) ? [...value] : null
    if (names?.every(name => typeof name === 'string') !== true) {
      throw misconfigured(`${path}.${kind} must be a list of names. Got ${describeValue(value)}.`)
    }
    for (const name of names) checkDeclared({ kind, name, path: `${path}.${kind}` }, known)
    return new Set<string>(names)
  }
  return { roles: set('roles', roles), scopes: set('scopes', scopes) }
}

function expand (role: string, own: Included, direct: ReadonlyMap<string, Included>): Included {
  const roles = new Set<string>()
  const scopes = new Set<string>()
  const visit = (included: Included): void => {
    for (const scope of included.scopes) scopes.add(scope)
    for (const [next, deeper] of direct) {
      if (!included.roles.has(next)) continue
      if (next === role) throw misconfigured(`The option roles['${role}'] includes itself. Remove the cycle.`)
      if (roles.has(next)) continue
      roles.add(next)
      visit(deeper)
    }
  }
  visit(own)
  return { roles, scopes }
}

interface Named {
  readonly kind: 'scopes' | 'roles'
  readonly name: string
  readonly path: string
}

function checkDeclared ({ kind, name, path }: Named, known: Known): void {
  const declared = known[kind]
  if (declared === null || declared.has(name)) return
  const names = [...declared]
  throw misconfigured(`${path} names '${name}', which is not among the declared ${kind}.${didYouMean(name, names)} ` +
    `Declared: ${joinNames(names, 'and')}.`)
}

function parseRecord (value: unknown, option: string): Readonly<Record<string, unknown>> {
  if (isPlainObject(value)) return value
  throw misconfigured(`The option ${option} must be an object from name to description. Got ${describeValue(value)}.`)
}
