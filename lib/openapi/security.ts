import { maxAgeInWords, ruleInWords, schemesInWords } from '../audit/words.js'
import type { Rule } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import type { SecuritySchemes } from './security-schemes.js'

type SecurityRequirement = Readonly<Record<string, readonly string[]>>

/** What a policy comes to in one document. */
export interface Security {
  /** `undefined` where the version of the document has no form for any of the schemes. */
  readonly security: readonly SecurityRequirement[] | undefined
  /** What `security` cannot say, in the words of the audit. */
  readonly rules: readonly string[]
}

/** Returns the `security` of a policy's operations: any of a list, all of an object. */
export function securityOf (policy: Policy, schemes: SecuritySchemes): Security {
  const { access, alternatives, rules } = policy
  if (access === 'public') return { security: [], rules: [] }
  const scopes = [...new Set(rules.flatMap(neededScopes))]
  const described = alternatives.filter(all => all.every(({ name }) => schemes.has(name)))
  const security = described.map(all =>
    // the first scheme acts, and its principal has to have the scopes
    Object.fromEntries(all.map(({ name }, i) => [name, i === 0 ? schemes.scopesOf(name, scopes) : []] as const)))
  const isWhole = described.length === alternatives.length
  const saysScopes = isWhole && security.every(all => Object.values(all)[0]?.length === scopes.length)
  const unsaid = [
    ...isWhole ? [] : [schemesInWords(policy)],
    ...rules.flatMap(rule => ruleInWords(saysScopes ? withoutNeeded(rule) : rule)),
    ...maxAgeInWords(policy)
  ]
  if (described.length === 0) return { security: undefined, rules: unsaid }
  return { security: access === 'required' ? security : [...security, {}], rules: unsaid }
}

/** Returns the scopes that a principal needs in any case. */
function neededScopes ({ scopes }: Rule): readonly string[] {
  return scopes === null || typeof scopes === 'function' ? [] : scopes.all.map(({ name }) => name)
}

function withoutNeeded (rule: Rule): Rule {
  const { scopes } = rule
  return scopes === null || typeof scopes === 'function' ? rule : { ...rule, scopes: { ...scopes, all: [] } }
}
