import type { ErrorForm } from '../guard/responder.js'
import type { Policy } from '../policy/policy.js'
import type { OpenApiDocument, Operation } from './document.js'

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
export class RefusalResponses {
  readonly #components: OpenApiDocument['components']
  readonly #form: ErrorForm

  constructor ({ components }: OpenApiDocument, form: ErrorForm) {
    this.#components = components
    this.#form = form
  }

  /** Adds the responses that an operation does not declare itself, by their status, its range or `default`. */
  addTo (operation: Operation, policy: Policy): void {
    const declared = operation.responses
    const missing = statusesOf(policy).filter(status =>
      ![String(status), `${String(status).charAt(0)}XX`, 'default'].some(key => Object.hasOwn(declared, key)))
    if (missing.length === 0) return
    const added = missing.map(status => [status, { $ref: `#/components/responses/${this.#define(status)}` }] as const)
    operation.responses = { ...declared, ...Object.fromEntries(added) }
  }

  /** Returns the name of a response, and adds the response if the document has none of that name. */
  #define (status: Status): string {
    const { name } = refusals[status]
    const defined = this.#components.responses ?? {}
    if (!Object.hasOwn(defined, name)) {
      this.#components.responses = { ...defined, [name]: responseOf(status, this.#form) }
    }
    return name
  }
}

/** Returns the statuses of a policy's refusals. The mode `try` has no 401, because it accepts bad credentials. */
function statusesOf ({ access }: Policy): readonly Status[] {
  if (access === 'public') return []
  return access === 'try' ? [403, 429, 503] : [401, 403, 429, 503]
}

function responseOf (status: Status, form: ErrorForm): Readonly<Record<string, unknown>> {
  const { description, headers, codes } = refusals[status]
  const content = contentOf(status, codes, form)
  const described = Object.entries(headers).map(([name, text]) => [name, { description: text, schema: string }])
  return { description, headers: Object.fromEntries(described) as object, ...content === null ? {} : { content } }
}

const string = { type: 'string' }

/** Returns the body of a refusal; `null` if a function of the application writes it. */
function contentOf (status: Status, codes: readonly string[], form: ErrorForm): Content | null {
  switch (form) {
    case 'fastify': {
      // nothing is required, because an error handler of the application may write less
      const properties = { statusCode: { type: 'integer' }, code: string, error: string, message: string }
      return { 'application/json': { schema: { type: 'object', properties } } }
    }
    case 'problem': return {
      'application/problem+json': whole({
        type: string,
        title: string,
        status: { type: 'integer', enum: [status] },
        code: { type: 'string', enum: codes }
      })
    }
    case 'oauth': return { 'application/json': whole({ error: string, error_description: string }) }
    default: return null
  }
}

type Content = Readonly<Record<string, { readonly schema: object }>>

function whole (properties: object): Content[string] {
  return { schema: { type: 'object', properties, required: Object.keys(properties) } }
}
