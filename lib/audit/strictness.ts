import type { AuditConditions, AuditEntry, AuditPolicy, AuditRateLimit, AuditRule } from '../../types/audit.js'
import { isRequirements } from '../policy/words.js'

/** Classifies a change of a part of a policy. `unclear`: somebody has to look at it. */
export type Verdict = 'loosened' | 'unclear' | 'tightened'

/** One part of a policy that changed, as both policies have it. */
export interface PartChange {
  readonly part: keyof AuditPolicy
  readonly verdict: Verdict
}

/**
 * Compares two policies of a route, part by part. Whoever enters under the second one and not under the first needs a
 * part that is loosened, apart from functions, whose results are unknown.
 */
export function comparePolicies (before: AuditPolicy, after: AuditPolicy): readonly PartChange[] {
  const changes: PartChange[] = []
  const compare = (part: keyof AuditPolicy, verdicts: Iterable<Verdict>): void => {
    const found = new Set(verdicts)
    const verdict = order.find(each => found.has(each))
    if (verdict !== undefined) changes.push({ part, verdict })
  }
  compare('access', byOrder(accesses.indexOf(before.access), accesses.indexOf(after.access)))
  // a public route has none of the other parts, so they cannot be compared
  if (before.access !== 'public' && after.access !== 'public') {
    compare('alternatives', compareAlternatives(before.alternatives, after.alternatives))
    compare('rules', compareRules(before.rules, after.rules))
    compare('maxAge', byOrder(-(before.maxAge ?? Infinity), -(after.maxAge ?? Infinity)))
    compare('rateLimit', compareLimits(before.rateLimit, after.rateLimit))
    compare('detached', byOrder(Number(!before.detached), Number(!after.detached)))
  }
  return changes
}

/** The verdict of a whole is the first of these that a part has: a route whose parts went both ways is loosened. */
const order: readonly Verdict[] = ['loosened', 'unclear', 'tightened']

/** Returns the verdict of several changes; `null` without any. */
export function verdictOf (changes: readonly { readonly verdict: Verdict }[]): Verdict | null {
  return order.find(verdict => changes.some(change => change.verdict === verdict)) ?? null
}

/** From the loosest to the strictest. */
const accesses: ReadonlyArray<AuditPolicy['access']> = ['public', 'try', 'optional', 'required']

function byOrder (before: number, after: number): readonly Verdict[] {
  if (before === after) return []
  return [after < before ? 'loosened' : 'tightened']
}

type Alternatives = AuditPolicy['alternatives']

/**
 * Compares alternatives of schemes. A new alternative loosens nothing if every caller who meets it also met an old one,
 * with the same acting scheme. If the alternatives that both policies have are in another order, the result is unclear:
 * a caller with several credentials may act as somebody else.
 */
function compareAlternatives (before: Alternatives, after: Alternatives): readonly Verdict[] {
  const isCovered = (all: readonly string[], others: Alternatives): boolean =>
    others.some(other => other[0] === all[0] && other.every(name => all.includes(name)))
  const verdicts: Verdict[] = []
  if (!after.every(all => isCovered(all, before))) verdicts.push('loosened')
  if (!before.every(all => isCovered(all, after))) verdicts.push('tightened')
  const [old, now] = [before, after].map(alternatives => alternatives.map(all => all.join(' ')))
  const isReordered = old?.filter(all => now?.includes(all)).join() !== now?.filter(all => old?.includes(all)).join()
  const isOther = verdicts.length === 0 && JSON.stringify(before) !== JSON.stringify(after)
  return isReordered || isOther ? [...verdicts, 'unclear'] : verdicts
}

/** A condition that cannot be divided further. A list of names is met by any one of them. */
type Atom =
  | { readonly kind: 'scopes' | 'roles', readonly any: readonly string[] }
  | { readonly kind: 'no scopes' | 'no roles', readonly name: string }
  | FunctionAtom
  | { readonly kind: 'anyOf', readonly entries: readonly Conjunction[] }

/**
 * A function of the application. Its place is either the policy, next to all other conditions, or an entry of `anyOf`.
 */
interface FunctionAtom {
  readonly kind: 'function'
  /** The key that has the function, and its place. Identifies it if it has no name of its own. */
  readonly place: string
  /** The key that has the function, and its name; without a name, the same as {@link place}. */
  readonly name: string
}

/** Conditions that must all hold, for some or all (`null`) schemes of the policy. */
interface Conjunction {
  readonly schemes: readonly string[] | null
  readonly atoms: readonly Atom[]
}

/**
 * Compares rules as sets of conditions. Rules that call fewer functions than before are loosened. If only the names of
 * functions differ, the result is unclear.
 */
function compareRules (before: readonly AuditRule[], after: readonly AuditRule[]): readonly Verdict[] {
  const [old, now] = [conjunctionOf(before), conjunctionOf(after)]
  const isLooser = (first: Conjunction, second: Conjunction): boolean =>
    functionsOf(first).length < functionsOf(second).length ||
    !(implies(first, second) || implies(withoutNames(first), withoutNames(second)))
  const verdicts: Verdict[] = []
  if (isLooser(now, old)) verdicts.push('loosened')
  else if (!implies(now, old) || hasOtherEntries(old, now)) verdicts.push('unclear')
  if (isLooser(old, now)) verdicts.push('tightened')
  return verdicts
}

/** Returns true if both have entries of `anyOf` with functions without a name, but not as many. */
function hasOtherEntries (before: Conjunction, after: Conjunction): boolean {
  const [old, now] = [before, after].map(({ atoms }) => atoms.flatMap(atom => atom.kind === 'anyOf' ? atom.entries : [])
    .flatMap(functionsOf).filter(({ name, place }) => name === place).length)
  return old !== now && old !== 0 && now !== 0
}

function conjunctionOf (rules: readonly AuditRule[]): Conjunction {
  const atoms = rules.flatMap(({ anyOf, ...conditions }) => [
    ...atomsOf(conditions, 'beside'), ...anyOf === null ? [] : [{ kind: 'anyOf', entries: anyOf.map(entryOf) } as const]
  ])
  return { schemes: null, atoms }
}

function entryOf ({ schemes, ...conditions }: AuditEntry): Conjunction {
  return { schemes, atoms: atomsOf(conditions, 'in') }
}

function atomsOf ({ scopes, roles, when }: AuditConditions, place: 'beside' | 'in'): readonly Atom[] {
  return [
    ...namesOf('scopes', scopes, place),
    ...namesOf('roles', roles, place),
    ...when === null ? [] : [functionAtom('when', when, place)]
  ]
}

function functionAtom (key: 'scopes' | 'roles' | 'when', name: string, place: 'beside' | 'in'): FunctionAtom {
  const here = `${key} ${place} anyOf`
  return { kind: 'function', place: here, name: name === '' ? here : `${key} ${name}` }
}

function namesOf (
  kind: 'scopes' | 'roles', requirements: AuditConditions['scopes'], place: 'beside' | 'in'
): readonly Atom[] {
  if (requirements === null) return []
  if (!isRequirements(requirements)) return [functionAtom(kind, requirements.function, place)]
  const { all, any, none } = requirements
  return [
    ...all.map(name => ({ kind, any: [name] })),
    ...any.length === 0 ? [] : [{ kind, any }],
    ...none.map(name => ({ kind: `no ${kind}` as const, name }))
  ]
}

/** Returns true if every caller who meets the first conjunction also meets the second. */
function implies (first: Conjunction, second: Conjunction): boolean {
  const isWithin = second.schemes === null || first.schemes?.every(name => second.schemes?.includes(name)) === true
  return isWithin && second.atoms.every(atom => impliesAtom(first, atom))
}

function impliesAtom (first: Conjunction, atom: Atom): boolean {
  switch (atom.kind) {
    case 'function': return first.atoms.some(each => each.kind === 'function' && each.name === atom.name)
    case 'no scopes':
    case 'no roles': return first.atoms.some(each => each.kind === atom.kind && each.name === atom.name)
    case 'anyOf': return impliesEntry(first, atom.entries) || first.atoms.some(each =>
      each.kind === 'anyOf' && each.entries.every(entry => impliesEntry(withEntry(first, entry), atom.entries)))
    default: return first.atoms.some(each =>
      each.kind === atom.kind && each.any.every(name => atom.any.includes(name)))
  }
}

function impliesEntry (first: Conjunction, entries: readonly Conjunction[]): boolean {
  return entries.some(entry => implies(first, entry))
}

/** Adds the conditions of an entry to a conjunction that must hold too. */
function withEntry ({ atoms }: Conjunction, entry: Conjunction): Conjunction {
  return { schemes: entry.schemes, atoms: [...atoms, ...entry.atoms] }
}

/** Takes functions of the same key and place for the same. */
function withoutNames ({ schemes, atoms }: Conjunction): Conjunction {
  return {
    schemes,
    atoms: atoms.map(atom => atom.kind === 'function'
      ? { ...atom, name: atom.place }
      : atom.kind === 'anyOf' ? { kind: 'anyOf', entries: atom.entries.map(withoutNames) } : atom)
  }
}

function functionsOf ({ atoms }: Conjunction): readonly FunctionAtom[] {
  return atoms.filter(atom => atom.kind === 'function')
}

type Limit = AuditPolicy['rateLimit']

function compareLimits (before: Limit, after: Limit): readonly Verdict[] {
  if (before === null || after === null) return byOrder(Number(before !== null), Number(after !== null))
  const [old, now] = [plansOf(before), plansOf(after)]
  const verdicts: Verdict[] = []
  const isFunction = 'plans' in before && 'plans' in after
  for (const limit of now) {
    const compared = isFunction ? old.filter(({ plan }) => plan === limit.plan) : old
    if (compared.some(other => !isWithin(limit, other))) verdicts.push('loosened')
    if (compared.some(other => !isWithin(other, limit))) verdicts.push('tightened')
    // a plan that was added may be chosen for anybody
    if (compared.length === 0) verdicts.push('unclear')
  }
  if (isFunction && (before.function !== after.function || now.length < old.length)) verdicts.push('unclear')
  return verdicts
}

function plansOf (limit: NonNullable<Limit>): readonly AuditRateLimit[] {
  return 'plans' in limit ? limit.plans : [limit]
}

/** Returns true if the first limit lets no more requests through: for each window there is one as long with no more. */
function isWithin (first: AuditRateLimit, second: AuditRateLimit): boolean {
  return second.windows.every(each => first.windows.some(({ max, window }) => max <= each.max && window >= each.window))
}

/** Counts the functions without a name of their own, which cannot be compared. */
export function countUnnamed ({ rules, rateLimit }: AuditPolicy): number {
  const conditions = rules.flatMap(rule => [rule, ...rule.anyOf ?? []])
  const functions = conditions.flatMap(({ scopes, roles, when }) => [
    when, ...[scopes, roles].map(each => each === null || isRequirements(each) ? null : each.function)
  ])
  const choice = rateLimit !== null && 'plans' in rateLimit ? rateLimit.function : null
  return [...functions, choice].filter(name => name === '').length
}
