import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import { maxAgeInWords, rateLimitInWords, ruleInWords, schemesInWords } from '../audit/words.js'
import type { ErrorForm } from '../guard/responder.js'
import type { Rule } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import { isObject } from '../util/objects.js'
import type { OpenApiDocument, Operation, PathItem } from './document.js'
import { RefusalResponses } from './responses.js'
import { SecuritySchemes } from './security-schemes.js'

/** The field that identifies the policy of an operation until the operation is completed. */
export const policyField = 'x-gatehouse-policy'

/** Configuration of a {@link DocumentWriter}. */
export interface DocumentOptions {
  /** Descriptions of the schemes by name. */
  readonly schemes: ReadonlyMap<string, OpenApiSecurityScheme>
  readonly form: ErrorForm
  /** Descriptions of the scopes by name. */
  readonly scopeTexts: Readonly<Record<string, string>>
}

/** Completes the operations of one document. Parts that the application wrote itself are kept. */
export class DocumentWriter {
  readonly #schemes: SecuritySchemes
  readonly #responses: RefusalResponses
  readonly #policies: ReadonlyArray<Policy | undefined>

  constructor (document: OpenApiDocument, policies: ReadonlyArray<Policy | undefined>, options: DocumentOptions) {
    this.#schemes = new SecuritySchemes(document, options.schemes, options.scopeTexts)
    this.#responses = new RefusalResponses(document, options.form)
    this.#policies = policies
    this.#schemes.use(document.security)
  }

  /** Completes the operations of a path, including methods for which OpenAPI has no field of their own. */
  complete (item: PathItem): void {
    for (const operation of [...Object.values(item), ...Object.values(item.additionalOperations ?? {})]) {
      if (isObject(operation)) this.#completeOperation(operation as Operation)
    }
  }

  #completeOperation (operation: Operation): void {
    const policy = this.#policies[Number(operation[policyField])]
    Reflect.deleteProperty(operation, policyField)
    if (policy !== undefined) this.#addPolicy(operation, policy)
    this.#schemes.use(operation.security)
  }

  #addPolicy (operation: Operation, policy: Policy): void {
    const { security, rules } = securityOf(policy, this.#schemes)
    if (operation.security === undefined && security !== undefined) operation.security = security
    if (rules.length > 0) operation['x-auth'] ??= rules
    this.#responses.addTo(operation, policy)
  }
}

type SecurityRequirement = Readonly<Record<string, readonly string[]>>

/** Describes a policy in one document. */
export interface Security {
  /** `undefined` if the version of the document cannot describe any of the schemes. */
  readonly security: readonly SecurityRequirement[] | undefined
  /** The rules and limits that `security` cannot express, in the words of the audit. */
  readonly rules: readonly string[]
}

/** Returns the `security` of a policy: alternatives in a list, and schemes that are all needed in an object. */
function securityOf (policy: Policy, schemes: SecuritySchemes): Security {
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
