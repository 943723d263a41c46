import { unescape } from 'node:querystring'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { oauthError } from './errors.js'

/** Bytes of a form. */
const maxFormBytes = 16_384

interface Parameter {
  /** The value, the first one if the parameter is repeated. */
  readonly value: string
  /** As it was sent, percent-encoded. */
  readonly raw: string
  count: number
}

/**
 * The parameters of a request, from a form or a query. A parameter without a value counts as left out (RFC 6749, 3.1).
 */
export class Parameters {
  readonly #all = new Map<string, Parameter>()

  /** Parses the form encoding (`application/x-www-form-urlencoded`). */
  constructor (text: string) {
    for (const part of text.split('&')) {
      if (part === '') continue
      const equals = part.indexOf('=')
      const name = decodeForm(equals === -1 ? part : part.slice(0, equals))
      const raw = equals === -1 ? '' : part.slice(equals + 1)
      const known = this.#all.get(name)
      if (known === undefined) this.#all.set(name, { value: decodeForm(raw), raw, count: 1 })
      else known.count++
    }
  }

  /** Returns the value of a parameter, the first one if it is repeated, or `null`. */
  get (name: string): string | null {
    return this.#all.get(name)?.value || null
  }

  /** Returns a value as it was sent, percent-encoded, or `null`. */
  raw (name: string): string | null {
    return this.#all.get(name)?.raw || null
  }

  isRepeated (name: string): boolean {
    return (this.#all.get(name)?.count ?? 0) > 1
  }

  /** Returns the fields with their first values, for the application's own page. */
  fields (): Readonly<Record<string, string>> {
    return Object.freeze(Object.fromEntries([...this.#all].map(([name, { value }]) => [name, value])))
  }

  /**
   * Rejects repeated parameters and empty names (RFC 6749, 3.2). Several resources could be meant, but a token has one
   * (RFC 8707).
   * @throws {OAuthError} `invalid_target`, `invalid_request`
   */
  check (): void {
    for (const [name, { count }] of this.#all) {
      if (name === '') throw oauthError('invalid_request', 'A parameter has no name')
      if (count === 1) continue
      if (name === 'resource') throw oauthError('invalid_target', 'A token has one resource: name one')
      throw oauthError('invalid_request', 'A parameter is repeated')
    }
  }
}

/** Decodes a form-encoded text. Like the URL Standard, it replaces bytes that are not UTF-8. */
export function decodeForm (text: string): string {
  return unescape(text.replaceAll('+', ' '))
}

/** Returns the query of a URL as it was sent. */
export function queryText (url = ''): string {
  const start = url.indexOf('?')
  return start === -1 ? '' : url.slice(start + 1)
}

/** Makes forms the only bodies of a context, whatever parsers the application has. */
export function acceptForms (context: FastifyInstance): void {
  context.removeAllContentTypeParsers()
  context.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'string', bodyLimit: maxFormBytes },
    (_request, body, done) => { done(null, new Parameters(String(body))) }
  )
}

/**
 * Returns the form of a request.
 * @throws {OAuthError} `invalid_request` for any other body, or none, and as {@link Parameters.check}.
 */
export function formOf ({ body }: FastifyRequest): Parameters {
  if (!(body instanceof Parameters)) {
    throw oauthError('invalid_request', 'The request must be form-encoded', { status: 415 })
  }
  body.check()
  return body
}
