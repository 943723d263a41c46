import { maxAgeInWords, rateLimitInWords, ruleInWords, schemesInWords } from '../audit/words.js'
import type { Rule } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import type { SecuritySchemes } from './security-schemes.js'

type SecurityRequirement = Readonly<Record<string, readonly string[]>>

/** Describes a policy in one document. */
export interface Security {
  /** `undefined` if the version of the document cannot describe any of the schemes. */
  readonly security: readonly SecurityRequirement[] | undefined
  /** The rules and limits that `security` cannot express, in the words of the audit. */
  readonly rules: readonly string[]
}

/** Returns the `security` of a policy: alternatives in a list, and schemes that are all needed in an object. */
export function securityOf (policy: Policy, schemes: SecuritySchemes): Security {
  const { access, alternatives, rules } = policy
  if (access === 'public') return { security: [], rules: [] }
  const scopes = [...new Set(rules.flatMap(neededScopes))]
  const described = alternatives.filter(all => all.every(({ name }) => schemes.has(name)))
  const security = described.map(all =>
    // the first scheme provides the acting principal, which needs the scopes
    Object.fromEntries(all.map(({ name }, i) => [name, i === 0 ? schemes.scopesOf(name, scopes) : []] as const)))
  const isWhole = described.length === alternatives.length
  const saysScopes = isWhole && security.every(all => Object.values(all)[0]?.length === scopes.length)
  const unsaid = [
    ...isWhole ? [] : [schemesInWords(policy)],
    ...rules.flatMap(rule => ruleInWords(saysScopes ? withoutNeeded(rule) : rule)),
    ...maxAgeInWords(policy),
    ...rateLimitInWords(policy)
  ]
  if (described.length === 0) return { security: undefined, rules: unsaid }
  return { security: access === 'required' ? security : [...security, {}], rules: unsaid }
}

/** Returns the scopes that every principal needs. */
function neededScopes ({ scopes }: Rule): readonly string[] {
  return scopes === null || typeof scopes === 'function' ? [] : scopes.all.map(({ name }) => name)
}

function withoutNeeded (rule: Rule): Rule {
  const { scopes } = rule
  return scopes === null || typeof scopes === 'function' ? rule : { ...rule, scopes: { ...scopes, all: [] } }
}
