import type { Features } from '../../types/features.js'
import type { Principal } from '../../types/principal.js'
import type { Load, Scheme } from '../../types/scheme.js'
import { misconfigured } from '../errors.js'
import { didYouMean, joinNames } from '../util/describe.js'
import { deepFreeze } from '../util/objects.js'
import type { Declaration, Entry, Mode, RateLimit, Rule } from './parse.js'

/** A scheme under its name in one application. */
export interface BoundScheme {
  readonly name: string
  readonly scheme: Scheme<Principal>
  /** Its own `load`, else the plugin's. */
  readonly load: Load | null
  /** For the decorators of the plugin alone. */
  readonly features: Features
}

/** Everything that the guard needs to know of a route, complete and frozen. Equal declarations share one. */
export interface Policy {
  readonly access: 'public' | Mode
  /** Why it is public; `''` when nobody said. */
  readonly reason: string
  /** Any of these, in written order; in each all must be met, and the first is the acting principal. */
  readonly alternatives: readonly (readonly BoundScheme[])[]
  /** All must hold. */
  readonly rules: readonly Rule[]
  /** Seconds since the person authenticated; `null`: any. */
  readonly maxAge: number | null
  readonly rateLimit: RateLimit | null
  /** Something is left to ask in `preHandler`: a function, or the principal's rate limit. */
  readonly late: boolean
  /** The schemes whose challenges a caller without credentials gets. */
  readonly schemes: readonly BoundScheme[]
  /** It started from nothing instead of the default. */
  readonly detached: boolean
}

/** Makes the policy of a stack of declarations, outermost first: `schemes`, `mode` and `rateLimit` replace, rules add. `place` is what boot errors name. */
export function resolvePolicy (levels: readonly Declaration[], schemes: ReadonlyMap<string, BoundScheme>, place: string): Policy {
  const stack = levels.slice(Math.max(0, levels.findLastIndex(level => !level.inherit)))
  const detached = stack[0]?.inherit === false
  const open = stack.at(-1)?.open ?? null
  if (open !== null) return publicPolicy(open)

  const said = stack.filter(level => level.open === null)
  const alternatives = bind(last(said, level => level.schemes), schemes, place)
  const mode = last(said, level => level.mode) ?? 'required'
  const rules = said.flatMap(level => level.rule ?? [])
  const ages = said.flatMap(level => level.maxAge ?? [])
  const maxAge = ages.length === 0 ? null : Math.min(...ages)
  const rateLimit = last(said, level => level.rateLimit)
  checkRules(mode, rules, maxAge, alternatives, place)
  return Object.freeze({
    access: mode,
    reason: '',
    alternatives,
    rules: Object.freeze(rules),
    maxAge,
    rateLimit,
    late: rateLimit !== null || rules.some(rule => isLate(rule) || (rule.anyOf ?? []).some(isLate)),
    schemes: Object.freeze([...new Set(alternatives.flat())]),
    detached
  })
}

export function publicPolicy (reason: string): Policy {
  return deepFreeze({ access: 'public', reason, alternatives: [], rules: [], maxAge: null, rateLimit: null, late: false, schemes: [], detached: false })
}

/** Whether a function has a say, which must wait for validation. */
function isLate (rule: Rule | Entry): boolean {
  return rule.when !== null || typeof rule.scopes === 'function' || typeof rule.roles === 'function'
}

function last<T> (levels: readonly Declaration[], pick: (level: Declaration) => T | null): T | null {
  return levels.reduce<T | null>((found, level) => pick(level) ?? found, null)
}

function bind (named: readonly (readonly string[])[] | null, schemes: ReadonlyMap<string, BoundScheme>, place: string): readonly (readonly BoundScheme[])[] {
  if (named === null) {
    throw misconfigured(`${place} names no scheme, and a route that says nothing would have none to ask. Name one or more of ${joinNames([...schemes.keys()], 'and')}.`)
  }
  return Object.freeze(named.map(all => Object.freeze(all.map(name => {
    const bound = schemes.get(name)
    if (bound !== undefined) return bound
    throw misconfigured(`${place} names the scheme '${name}', which is not among the plugin's schemes.${didYouMean(name, [...schemes.keys()])} Known: ${joinNames([...schemes.keys()], 'and')}.`)
  }))))
}

/** What depends on the whole stack: rules need a principal, entries need schemes of the policy, and `maxAge` needs schemes that can tell. */
function checkRules (mode: Mode, rules: readonly Rule[], maxAge: number | null, alternatives: readonly (readonly BoundScheme[])[], place: string): void {
  if (mode !== 'required' && (rules.length > 0 || maxAge !== null)) {
    throw misconfigured(`${place} has the mode '${mode}', which lets anonymous callers in, and rules, its own or inherited, that they could not meet. Use mode 'required', or inherit: false, or remove the rules.`)
  }
  const names = alternatives.flat().map(bound => bound.name)
  for (const entry of rules.flatMap(rule => rule.anyOf ?? [])) {
    const stranger = entry.schemes?.find(name => !names.includes(name))
    if (stranger !== undefined) throw misconfigured(`${place} has an anyOf entry for the scheme '${stranger}', which its schemes (${joinNames(names, 'and')}) do not include.`)
  }
  const unknown = rules.flatMap(rule => strangersToNone(rule, alternatives))[0]
  if (unknown !== undefined) {
    throw misconfigured(`${place} has a none rule, which is judged by everything that the owner of a credential has, and the scheme '${unknown}' knows no owners: a key with fewer roles would escape the rule. Give the scheme or the plugin a load, or let the rule stand on routes of other schemes.`)
  }
  const timeless = maxAge === null ? undefined : alternatives.find(([acting]) => acting?.scheme.reportsAuthTime !== true)?.[0]
  if (timeless !== undefined) {
    throw misconfigured(`${place} has maxAge, but the scheme '${timeless.name}' cannot say when the person authenticated. Name only schemes that can, or remove maxAge.`)
  }
}

/** The schemes whose principals would meet a `none` of a rule, and which do not know whom they act for. */
function strangersToNone (rule: Rule, alternatives: readonly (readonly BoundScheme[])[]): readonly string[] {
  const acting = alternatives.flatMap(([first]) => first?.scheme.ownerUnknown === true ? [first.name] : [])
  const asked = [{ ...rule, schemes: null }, ...rule.anyOf ?? []].filter(({ scopes, roles }) => hasNone(scopes) || hasNone(roles))
  return asked.flatMap(({ schemes }) => acting.filter(name => schemes === null || schemes.includes(name)))
}

function hasNone (asked: Rule['scopes']): boolean {
  return asked !== null && typeof asked !== 'function' && asked.none.length > 0
}

/**
 * Writes a declaration as text, without its place: equal texts mean equal declarations. Functions are equal when they are the same function.
 * Reading a route costs more than writing this, so that a thousand routes with a dozen declarations are resolved a dozen times.
 */
export function declarationText (): (declaration: Declaration) => string {
  const functions = new Map<unknown, number>()
  const identify = (fn: unknown): number => {
    const id = functions.get(fn) ?? functions.size
    functions.set(fn, id)
    return id
  }
  const names = (asked: Rule['scopes']): unknown => {
    if (asked === null) return null
    return typeof asked === 'function' ? identify(asked) : [asked.all.map(need => need.name), asked.any.map(need => need.name), asked.none.map(need => need.name)]
  }
  const conditions = ({ scopes, roles, when }: Rule | Entry): unknown[] => [names(scopes), names(roles), when === null ? null : identify(when)]
  const entry = (each: Entry): unknown => [each.schemes, conditions(each)]
  return ({ open, schemes, mode, rule, maxAge, rateLimit, inherit }) => JSON.stringify([
    open, schemes, mode, maxAge, rateLimit, inherit, rule === null ? null : [conditions(rule), rule.anyOf?.map(entry)]
  ])
}
