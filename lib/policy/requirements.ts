import type { Principal } from '../../types/principal.js'
import { misconfigured } from '../errors.js'
import { didYouMean, joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { readOptions } from '../util/options.js'

/** One scope or role that a rule requires, with every role that grants it, which is resolved once at boot. */
export interface Requirement {
  readonly name: string
  /** The scope that satisfies it; `null` when it is a role. */
  readonly scope: string | null
  readonly roles: readonly string[]
}

/** The scopes and roles of an application: any, or the declared lists. */
export interface Permissions {
  readonly scopes: ReadonlySet<string> | null
  readonly roles: ReadonlySet<string> | null
  /** Resolves a name. One outside the declared list throws `AUTH_MISCONFIGURED`, naming `path`. */
  requirement (kind: 'scopes' | 'roles', name: string, path: string): Requirement
}

/** Returns true if a principal has the scope or role itself, or a role that includes it. */
export function hasPermission (principal: Principal, need: Requirement): boolean {
  if (need.scope !== null && principal.scopes.includes(need.scope)) return true
  for (const role of need.roles) {
    if (principal.roles.includes(role)) return true
  }
  return false
}

/** Parses the options `scopes` and `roles` of the plugin. */
export function parsePermissions (scopes: unknown, roles: unknown): Permissions {
  const known = { scopes: declaredScopes(scopes), roles: roles === undefined ? null : new Set(Object.keys(asRecord(roles, 'roles'))) }
  const includes = roles === undefined ? new Map<string, Included>() : declaredRoles(asRecord(roles, 'roles'), known)
  const cache = new Map<string, Requirement>()
  return {
    ...known,
    requirement (kind, name, path) {
      const key = `${kind} ${name}`
      const made = cache.get(key)
      if (made !== undefined) return made
      checkDeclared({ kind, name, path }, known)
      const need = Object.freeze({ name, scope: kind === 'scopes' ? name : null, roles: granting(includes, kind, name) })
      if (cache.size < 10_000) cache.set(key, need)
      return need
    }
  }
}

interface Included { readonly roles: ReadonlySet<string>, readonly scopes: ReadonlySet<string> }

/** Returns the roles that grant a scope, or a role (itself among them). */
function granting (includes: ReadonlyMap<string, Included>, kind: 'scopes' | 'roles', name: string): readonly string[] {
  const from = [...includes].filter(([, included]) => included[kind].has(name)).map(([role]) => role)
  return Object.freeze(kind === 'roles' ? [...new Set([name, ...from])] : from)
}

function declaredScopes (scopes: unknown): ReadonlySet<string> | null {
  if (scopes === undefined) return null
  for (const [name, text] of Object.entries(asRecord(scopes, 'scopes'))) {
    if (typeof text !== 'string') {
      throw misconfigured(`The option scopes['${name}'] must be a description in words; it is ${typeof text}.`)
    }
  }
  return new Set(Object.keys(asRecord(scopes, 'scopes')))
}

/** Returns what each role includes, and what those include in turn. */
function declaredRoles (
  roles: Readonly<Record<string, unknown>>, known: Pick<Permissions, 'scopes' | 'roles'>
): ReadonlyMap<string, Included> {
  const direct = new Map(Object.entries(roles).map(([role, entry]) => [role, directly(role, entry, known)]))
  const all = new Map<string, Included>()
  for (const [role, included] of direct) all.set(role, expand(role, included, direct))
  return all
}

function directly (role: string, entry: unknown, known: Pick<Permissions, 'scopes' | 'roles'>): Included {
  const path = `The option roles['${role}']`
  const { roles = [], scopes = [], description } = readOptions(entry, ['roles', 'scopes', 'description'], path)
  if (description !== undefined && typeof description !== 'string') {
    throw misconfigured(`${path}.description must be words.`)
  }
  const set = (kind: 'roles' | 'scopes', value: unknown) => {
    if (!Array.isArray(value) || !value.every(name => typeof name === 'string')) {
      throw misconfigured(`${path}.${kind} must be a list of names.`)
    }
    for (const name of value) checkDeclared({ kind, name, path: `${path}.${kind}` }, known)
    return new Set<string>(value)
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
      if (next === role) throw misconfigured(`The option roles['${role}'] includes itself. Remove the circle.`)
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

function checkDeclared ({ kind, name, path }: Named, known: Pick<Permissions, 'scopes' | 'roles'>): void {
  const declared = known[kind]
  if (declared === null || declared.has(name)) return
  const names = [...declared]
  throw misconfigured(`${path} names '${name}', which is not among the declared ${kind}.${didYouMean(name, names)} ` +
    `Declared: ${joinNames(names, 'and')}.`)
}

function asRecord (value: unknown, option: string): Readonly<Record<string, unknown>> {
  if (!isObject(value)) throw misconfigured(`The option ${option} must be an object from name to description.`)
  return value
}
