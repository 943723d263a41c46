import type { OpenApiSecurityScheme } from '../../types/openapi.js'
import type { ErrorForm } from '../guard/responder.js'
import type { Policy } from '../policy/policy.js'
import { isObject } from '../util/objects.js'
import type { OpenApiDocument, Operation, PathItem } from './document.js'
import { RefusalResponses } from './responses.js'
import { SecuritySchemes } from './security-schemes.js'
import { securityOf } from './security.js'

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
