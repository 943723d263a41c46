import type { OpenApiOAuthFlow, OpenApiSecurityScheme } from '../../types/openapi.js'
import { isObject } from '../util/objects.js'
import { minorVersion, type OpenApiDocument } from './document.js'

type Described = Readonly<Record<string, unknown>>

/**
 * Manages the security schemes of one document: those that the application wrote, and those of the plugin that an
 * operation uses. Unused schemes of the plugin are in the prototype: `@fastify/swagger`, which looks up every scheme
 * that a route names, finds them, but the document does not list them.
 */
export class SecuritySchemes {
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
