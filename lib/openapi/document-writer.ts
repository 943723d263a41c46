import type { OpenApiOAuthFlow, OpenApiSecurityScheme } from '../../types/openapi.js'
import type { ErrorForm } from '../guard/responder.js'
import type { Rule } from '../policy/parse.js'
import type { Policy } from '../policy/policy.js'
import { maxAgeInWords, policyData, rateLimitInWords, ruleData, ruleInWords, schemesInWords } from '../policy/words.js'
import { getOrCreate, isObject } from '../util/objects.js'
import { minorVersion, type OpenApiDocument, type Operation, type PathItem } from './document.js'

/** Configuration of a {@link DocumentWriter}. */
export interface DocumentOptions {
  /** Descriptions of the schemes by name. */
  readonly schemes: ReadonlyMap<string, OpenApiSecurityScheme>
  readonly form: ErrorForm
  /** Descriptions of the scopes by name. */
  readonly scopeTexts: Readonly<Record<string, string>>
}

/** Returns the policy of an operation that was added to a document just now; `undefined` if it is not known. */
export type FindPolicy = (operation: Operation) => Policy | undefined

/**
 * Completes the operations of one document. Parts that the application wrote itself are kept. Operations that share a
 * policy get equal parts, but none in common: the application may change one, and YAML would have anchors for them.
 */
export class DocumentWriter {
  readonly #schemes: SecuritySchemes
  readonly #responses: RefusalResponses
  readonly #findPolicy: FindPolicy
  /** The results so far. Most operations share a policy with others. */
  readonly #securities = new Map<Policy, Security>()

  constructor (document: OpenApiDocument, findPolicy: FindPolicy, options: DocumentOptions) {
    this.#schemes = new SecuritySchemes(document, options.schemes, options.scopeTexts)
    this.#responses = new RefusalResponses(document, options.form)
    this.#findPolicy = findPolicy
    this.#schemes.use(document.security)
  }

  /**
   * Completes the operations of a path, including methods for which OpenAPI has no field of their own.
   * @param earlier the path as it was before: whoever adds a method writes the operations of the others again.
   */
  complete (item: PathItem, earlier?: PathItem): void {
    for (const method of Object.keys(item)) {
      const operation = item[method]
      if (!isObject(operation) || operation === earlier?.[method]) continue
      if (method === 'additionalOperations') this.complete(operation, earlier?.[method] as PathItem | undefined)
      else this.#completeOperation(operation as Operation)
    }
  }

  #completeOperation (operation: Operation): void {
    const policy = this.#findPolicy(operation)
    if (policy !== undefined) this.#addPolicy(operation, policy)
    this.#schemes.use(operation.security)
  }

  #addPolicy (operation: Operation, policy: Policy): void {
    const { security, rules } = this.#securityOf(policy)
    if (operation.security === undefined && security !== undefined) operation.security = security.map(copyRequirement)
    if (rules.length > 0) operation['x-auth'] ??= [...rules]
    this.#responses.addTo(operation.responses, policy)
  }

  #securityOf (policy: Policy): Security {
    const known = this.#securities.get(policy)
    if (known !== undefined) return known
    const security = securityOf(policy, this.#schemes)
    this.#securities.set(policy, security)
    return security
  }
}

type SecurityRequirement = Readonly<Record<string, readonly string[]>>

function copyRequirement (requirement: SecurityRequirement): SecurityRequirement {
  const copy: Record<string, readonly string[]> = {}
  for (const [name, scopes] of Object.entries(requirement)) copy[name] = [...scopes]
  return copy
}

/** Describes a policy in one document. */
interface Security {
  /** `undefined` if the version of the document cannot describe any of the schemes. */
  readonly security: readonly SecurityRequirement[] | undefined
  /** The rules and limits that `security` cannot express, in the words of the audit. */
  readonly rules: readonly string[]
}

/** Returns the `security` of a policy: alternatives in a list, and schemes that are all needed in an object. */
function securityOf (policy: Policy, schemes: SecuritySchemes): Security {
  const { access, alternatives, rules } = policy
  if (access === 'public') return { security: [], rules: [] }
  const scopes = [...new Set(rules.flatMap(mandatoryScopes))]
  const described = alternatives.filter(all => all.every(({ name }) => schemes.has(name)))
  const security = described.map(all =>
    // the first scheme provides the acting principal, which needs the scopes
    Object.fromEntries(all.map(({ name }, i) => [name, i === 0 ? schemes.scopesOf(name, scopes) : []] as const)))
  const isWhole = described.length === alternatives.length
  const showsScopes = isWhole && security.every(all => Object.values(all)[0]?.length === scopes.length)
  const data = policyData(policy)
  const remaining = [
    ...isWhole ? [] : [schemesInWords(data)],
    ...rules.flatMap(rule => ruleInWords(ruleData(showsScopes ? withoutMandatoryScopes(rule) : rule))),
    ...maxAgeInWords(data),
    ...rateLimitInWords(data)
  ]
  if (described.length === 0) return { security: undefined, rules: remaining }
  return { security: access === 'required' ? security : [...security, {}], rules: remaining }
}

/** Returns the scopes that every principal must have. */
function mandatoryScopes ({ scopes }: Rule): readonly string[] {
  return scopes === null || typeof scopes === 'function' ? [] : scopes.all.map(({ name }) => name)
}

function withoutMandatoryScopes (rule: Rule): Rule {
  const { scopes } = rule
  return scopes === null || typeof scopes === 'function' ? rule : { ...rule, scopes: { ...scopes, all: [] } }
}

type Described = Readonly<Record<string, unknown>>

/**
 * Manages the security schemes of one document: those that the application wrote, and those of the plugin that an
 * operation uses. Unused schemes of the plugin are in the prototype: `@fastify/swagger`, which looks up every scheme
 * that a route names, finds them, but the document does not list them.
 */
class SecuritySchemes {
  readonly #minor: number
  readonly #listed: Record<string, Described>
  readonly #ours: Readonly<Record<string, Described>>
  readonly #written: ReadonlySet<string>
  readonly #texts: Readonly<Record<string, string>>

  constructor (
    document: OpenApiDocument,
    schemes: ReadonlyMap<string, OpenApiSecurityScheme>,
    texts: Readonly<Record<string, string>>
  ) {
    const written = document.components.securitySchemes ?? {}
    this.#minor = minorVersion(document)
    this.#texts = texts
    this.#written = new Set(Object.keys(written))
    this.#ours = Object.fromEntries([...schemes].flatMap(([name, scheme]) => {
      const described = describe(scheme, this.#minor)
      return described === null ? [] : [[name, described] as const]
    }))
    this.#listed = Object.assign(Object.create(this.#ours) as Record<string, Described>, written)
    document.components.securitySchemes = this.#listed
  }

  /** Returns true if the version of the document has a form for the scheme. */
  has (name: string): boolean {
    return name in this.#listed
  }

  /** Adds the schemes that a `security` names to the document. */
  use (security: unknown): void {
    if (!Array.isArray(security)) return
    for (const name of security.filter(isObject).flatMap(Object.keys)) {
      const ours = this.#ours[name]
      if (ours !== undefined && !this.#written.has(name)) this.#listed[name] = ours
    }
  }

  /**
   * Returns the scopes that a `security` may list for a scheme. The flows of OAuth declare their scopes, so missing
   * ones are added to them, unless the application wrote the scheme.
   */
  scopesOf (name: string, scopes: readonly string[]): readonly string[] {
    const scheme = this.#listed[name]
    if (scheme?.type === 'openIdConnect') return scopes
    if (scheme?.type !== 'oauth2') return this.#minor >= 1 ? scopes : []
    const flows = Object.values(scheme.flows as Record<string, OpenApiOAuthFlow>)
    if (this.#written.has(name)) return scopes.filter(scope => flows.some(flow => Object.hasOwn(flow.scopes, scope)))
    for (const { scopes: declared } of flows as ReadonlyArray<{ scopes: Record<string, string> }>) {
      for (const scope of scopes) declared[scope] ??= this.#texts[scope] ?? ''
    }
    return scopes
  }
}

/** Returns a copy of a scheme with the fields that a version has; `null` if the version cannot describe it. */
function describe (scheme: OpenApiSecurityScheme, minor: number): Described | null {
  if (scheme.type === 'mutualTLS' && minor < 1) return null
  const copy = JSON.parse(JSON.stringify(scheme)) as Described
  if (minor >= 2) return copy
  const { deprecated, oauth2MetadataUrl, flows, ...known } = copy
  if (!isObject(flows)) return known
  const { deviceAuthorization, ...older } = flows
  return { ...known, flows: older }
}

/** The refusals of the guard by status, with their names in `components.responses`. */
const refusals = {
  401: {
    name: 'AuthUnauthorized',
    description: 'The credential is missing or invalid.',
    codes: ['AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'],
    headers: { 'WWW-Authenticate': 'The ways to authenticate.' }
  },
  403: {
    name: 'AuthForbidden',
    description: 'The caller may not do this.',
    codes: ['AUTH_ACCESS_DENIED', 'AUTH_CROSS_SITE'],
    headers: { 'WWW-Authenticate': 'The scopes that another token would need.' }
  },
  429: {
    name: 'AuthRateLimited',
    description: 'Too many requests, or too many wrong passwords.',
    codes: ['AUTH_RATE_LIMITED'],
    headers: {
      'Retry-After': 'Seconds to wait.',
      'RateLimit-Policy': 'The limits of requests, if there are any.',
      RateLimit: 'The requests that are left, and the seconds until the limits start anew.'
    }
  },
  503: {
    name: 'AuthUnavailable',
    description: 'The caller cannot be authenticated at the moment.',
    codes: ['AUTH_UNAVAILABLE'],
    headers: { 'Retry-After': 'Seconds to wait.' }
  }
} as const

type Status = keyof typeof refusals

/** Adds the responses of the guard to operations, and their bodies to the document. */
class RefusalResponses {
  readonly #components: OpenApiDocument['components']
  readonly #form: ErrorForm
  /** References to the responses so far, by their status. */
  readonly #references = new Map<Status, string>()

  constructor ({ components }: OpenApiDocument, form: ErrorForm) {
    this.#components = components
    this.#form = form
  }

  /** Adds the responses that an operation does not declare itself, by their status, its range or `default`. */
  addTo (responses: Operation['responses'], { access }: Policy): void {
    if (Object.hasOwn(responses, 'default')) return
    for (const status of statusesOf[access]) {
      if (Object.hasOwn(responses, status) || Object.hasOwn(responses, status < 500 ? '4XX' : '5XX')) continue
      responses[status] = { $ref: getOrCreate(this.#references, status, () => this.#define(status)) }
    }
  }

  /** Returns the reference to a response, and adds the response if the document has none of that name. */
  #define (status: Status): string {
    const { name } = refusals[status]
    const defined = this.#components.responses ?? {}
    if (!Object.hasOwn(defined, name)) {
      this.#components.responses = { ...defined, [name]: responseOf(status, this.#form) }
    }
    return `#/components/responses/${name}`
  }
}

/** The statuses of a policy's refusals. The mode `try` has no 401, because it accepts bad credentials. */
const statusesOf: Readonly<Record<Policy['access'], readonly Status[]>> = {
  public: [], try: [403, 429, 503], optional: [401, 403, 429, 503], required: [401, 403, 429, 503]
}

function responseOf (status: Status, form: ErrorForm): Readonly<Record<string, unknown>> {
  const { description, headers, codes } = refusals[status]
  const content = contentOf(status, codes, form)
  const described = Object.entries(headers).map(([name, text]) => [name, { description: text, schema: string() }])
  return { description, headers: Object.fromEntries(described) as object, ...content === null ? {} : { content } }
}

/** Returns a new schema each time, for the reason that {@link DocumentWriter} gives. */
const string = () => ({ type: 'string' })

/** Returns the body of a refusal; `null` if a function of the application writes it. */
function contentOf (status: Status, codes: readonly string[], form: ErrorForm): Content | null {
  switch (form) {
    case 'fastify': {
      // nothing is required, because an error handler of the application may write less
      const properties = { statusCode: { type: 'integer' }, code: string(), error: string(), message: string() }
      return { 'application/json': { schema: { type: 'object', properties } } }
    }
    case 'problem': return {
      'application/problem+json': objectContent({
        type: string(),
        title: string(),
        status: { type: 'integer', enum: [status] },
        detail: string(),
        code: { type: 'string', enum: [...codes] }
      })
    }
    case 'oauth': return { 'application/json': objectContent({ error: string(), error_description: string() }) }
    default: return null
  }
}

type Content = Readonly<Record<string, { readonly schema: object }>>

function objectContent (properties: object): Content[string] {
  return { schema: { type: 'object', properties, required: Object.keys(properties) } }
}
