import type { Principal } from '../../types/principal.js'
import type { Features, Load, Scheme } from '../../types/scheme.js'
import { misconfigured } from '../errors.js'
import { didYouMean, joinNames } from '../util/describe.js'
import { deepFreeze, isSet } from '../util/objects.js'
import type { Conditions, Declaration, Mode, Rule } from './parse.js'
import { resolveRateLimit, type PlanChoice, type Plans, type RateLimit } from './rate-limit.js'

/** A scheme under its name in one application. */
export interface BoundScheme {
  readonly name: string
  readonly scheme: Scheme<Principal>
  /** `true` if browsers send its credentials automatically. */
  readonly ambient: boolean
  /** The scheme's own `load`, or else the plugin's; `null` without one. */
  readonly load: Load | null
  /** Used only by the decorators of the plugin. */
  readonly features: Features
}

/** The complete rules of a route, frozen. Routes with equal declarations share one. */
export interface Policy {
  readonly access: 'public' | Mode
  /** The reason why the route is public; `''` without one. */
  readonly reason: string
  /** Tried in order. All schemes of an alternative must be met, and the first provides the acting principal. */
  readonly alternatives: readonly (readonly BoundScheme[])[]
  /** Rules that all must hold. */
  readonly rules: readonly Rule[]
  /** Maximum seconds since the person authenticated; `null`: no maximum. */
  readonly maxAge: number | null
  readonly rateLimit: RateLimit | PlanChoice | null
  /** `true` if a caller needs a scope, whichever entries of `anyOf` they meet. */
  readonly requiresScope: boolean
  /**
   * The scopes that every challenge names (RFC 6750, 3: "necessary to access the protected resource"), those that a
   * caller has already included: a client that asks for a token of these alone must not lose them. What a function
   * requires is known only once it has run, and is added then.
   */
  readonly requiredScopes: readonly string[]
  /** `true` if the second stage of the guard has work to do: a function, or the principal's rate limit. */
  readonly late: boolean
  /** The schemes whose challenges a caller without credentials gets. */
  readonly schemes: readonly BoundScheme[]
  /** `true` for `inherit: false`: the policy has nothing of the defaults. */
  readonly detached: boolean
}

/** Resolves the names in declarations. */
export interface NamedParts {
  readonly schemes: ReadonlyMap<string, BoundScheme>
  readonly plans: Plans
}

/**
 * Combines declarations, outermost first, into a policy: an inner `schemes`, `mode` or `rateLimit` replaces the outer
 * one, rules add up, and the shortest `maxAge` holds. A public group adds nothing. The innermost declaration is not
 * public: such a route has {@link publicPolicy}.
 * @param path names the declaration in boot errors.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for combinations that no caller could meet.
 */
export function resolvePolicy (
  levels: readonly Declaration[], { schemes, plans }: NamedParts, path: string
): Policy {
  const stack = levels.slice(Math.max(0, levels.findLastIndex(level => !level.inherit)))
  const detached = stack[0]?.inherit === false
  const alternatives = bindSchemes(innermost(stack, level => level.schemes), schemes, path)
  const rules = stack.flatMap(level => level.rule ?? [])
  const maxAges = stack.flatMap(level => level.maxAge ?? [])
  const limit = innermost(stack, level => level.rateLimit)
  const rateLimit = limit === null ? null : resolveRateLimit(limit, plans, `${path}.rateLimit`)
  const policy: Policy = {
    access: innermost(stack, level => level.mode) ?? 'required',
    reason: '',
    alternatives,
    rules: Object.freeze(rules),
    maxAge: maxAges.length === 0 ? null : Math.min(...maxAges),
    rateLimit,
    requiresScope: rules.some(requiresScope),
    requiredScopes: Object.freeze([...new Set(rules.flatMap(namedScopes))]),
    late: rateLimit !== null || rules.some(rule => hasFunction(rule) || (rule.anyOf ?? []).some(hasFunction)),
    schemes: Object.freeze([...new Set(alternatives.flat())]),
    detached
  }
  checkPolicy(policy, path)
  return Object.freeze(policy)
}

export function publicPolicy (reason: string): Policy {
  return deepFreeze({
    access: 'public',
    reason,
    alternatives: [],
    rules: [],
    maxAge: null,
    rateLimit: null,
    requiresScope: false,
    requiredScopes: [],
    late: false,
    schemes: [],
    detached: false
  })
}

/** Returns true for conditions that only a principal with a scope can meet, or whose scopes a function names. */
export function requiresScope ({ scopes }: Conditions): boolean {
  return scopes !== null && (typeof scopes === 'function' || scopes.all.length + scopes.any.length > 0)
}

/** Returns the scopes that a refusal names for a rule: all of an `all`, and of an `any` the first, which is enough. */
export function namedScopes ({ scopes }: Rule): readonly string[] {
  if (scopes === null || typeof scopes === 'function') return []
  return [...scopes.all, ...scopes.any.slice(0, 1)].map(each => each.name)
}

/** Returns true for conditions with a function of the application, which must wait for validation. */
export function hasFunction ({ when, scopes, roles }: Conditions): boolean {
  return when !== null || typeof scopes === 'function' || typeof roles === 'function'
}

/** Returns the value of the innermost level that has one. */
function innermost<T> (levels: readonly Declaration[], pick: (level: Declaration) => T | null): T | null {
  return levels.reduce<T | null>((found, level) => pick(level) ?? found, null)
}

function bindSchemes (
  named: Declaration['schemes'], schemes: ReadonlyMap<string, BoundScheme>, path: string
): Policy['alternatives'] {
  const known = [...schemes.keys()]
  if (named === null) {
    throw misconfigured(`${path} names no scheme, so its routes could not authenticate anybody. ` +
      `Name one or more of ${joinNames(known, 'and')}.`)
  }
  return Object.freeze(named.map(all => Object.freeze(all.map(name => {
    const bound = schemes.get(name)
    if (bound !== undefined) return bound
    throw misconfigured(`${path} names the scheme '${name}', which is not among the plugin's schemes.` +
      `${didYouMean(name, known)} Known: ${joinNames(known, 'and')}.`)
  }))))
}

/**
 * Checks what depends on the whole stack: rules need a principal, entries of `anyOf` need schemes of the policy,
 * `none` needs schemes that know owners, and `maxAge` needs schemes that report when the person authenticated.
 */
function checkPolicy (policy: Policy, path: string): void {
  const { access, rules, maxAge, alternatives } = policy
  if (access !== 'required' && (rules.length > 0 || maxAge !== null)) {
    throw misconfigured(`${path} has the mode '${access}', which lets anonymous callers in, and rules (its own or ` +
      "inherited) that they cannot meet. Use mode 'required', or inherit: false, or remove the rules.")
  }
  const names = alternatives.flat().map(bound => bound.name)
  const named = rules.flatMap(rule => rule.anyOf ?? []).flatMap(entry => entry.schemes ?? [])
  const unknown = named.find(name => !names.includes(name))
  if (unknown !== undefined) {
    throw misconfigured(`${path} has an anyOf entry for the scheme '${unknown}', which its schemes ` +
      `(${joinNames(names, 'and')}) do not include. Add it to the schemes, or remove it from the entry.`)
  }
  const [ownerless] = rules.flatMap(rule => schemesWithoutOwner(rule, alternatives))
  if (ownerless !== undefined) {
    throw misconfigured(`${path} has a none rule, which is checked against everything that the owner of a credential ` +
      `has, but the scheme '${ownerless}' does not know the owners: a key with fewer roles would escape the rule. ` +
      'Give the scheme or the plugin a load function, or keep the rule to routes of other schemes.')
  }
  if (maxAge === null) return
  const [withoutAuthTime] = alternatives.find(([acting]) => acting?.scheme.reportsAuthTime !== true) ?? []
  if (withoutAuthTime !== undefined) {
    throw misconfigured(`${path} has maxAge, but the scheme '${withoutAuthTime.name}' does not report when the ` +
      'person authenticated. Name only schemes that do, or remove maxAge.')
  }
}

/** Returns the schemes that do not know owners, but whose principals a `none` of the rule applies to. */
function schemesWithoutOwner (rule: Rule, alternatives: Policy['alternatives']): readonly string[] {
  const acting = alternatives.flatMap(all => all.slice(0, 1)).filter(({ scheme }) => isSet(scheme.ownerUnknown))
    .map(({ name }) => name)
  const entries = [{ ...rule, schemes: null }, ...rule.anyOf ?? []]
  return entries.filter(({ scopes, roles }) => hasExclusions(scopes) || hasExclusions(roles))
    .flatMap(({ schemes }) => acting.filter(name => schemes === null || schemes.includes(name)))
}

function hasExclusions (requirements: Rule['scopes']): boolean {
  return requirements !== null && typeof requirements !== 'function' && requirements.none.length > 0
}
