import type { FastifyRequest } from 'fastify'
import type { Invalid, Unavailable } from '../../../types/outcome.js'
import type { Principal } from '../../../types/principal.js'
import type { Load, SchemeContext } from '../../../types/scheme.js'
import type { Claims } from '../../jose/claims.js'
import { invalid, unavailableOr } from '../../kit/outcome.js'
import { loadedPrincipal, principalFrom } from '../../kit/principal.js'
import { isThenable } from '../../util/objects.js'
import type { LiveTokens } from './live-tokens.js'
import { clientPrefix } from './sign.js'

/** Returns true if a client exists. */
export type IsClient = (client: string) => boolean | Promise<boolean>

/** Configuration of {@link OwnTokens}. */
export interface OwnTokensOptions {
  readonly scheme: string
  /** The `client_id` of the application itself. */
  readonly firstParty: string
  /** `null` if access tokens are valid until they expire. */
  readonly live: LiveTokens | null
  /** Completes the person of a token; `null` without one. */
  readonly load: Load | null
  readonly grants: SchemeContext['grants']
  /** Returns true if an `aud` belongs to another scheme that signs for the same issuer. */
  readonly isOfAnother: (aud: unknown) => boolean
}

/** The principal of a token, and whose rights it has. */
export interface Bearer {
  readonly principal: Principal
  /** The person of a delegated token with all of their rights; `null` if they are the principal, or are unknown. */
  readonly owner: Principal | null
  /** `true` if a client acts for the person. */
  readonly delegated: boolean
}

type Fault = Invalid | Unavailable | null

/**
 * Checks tokens that a scheme signed itself for what a signature cannot prove: whether their grants and clients still
 * exist, and which rights the person has now.
 */
export class OwnTokens {
  readonly #options: OwnTokensOptions
  #isClient: IsClient | null = null

  constructor (options: OwnTokensOptions) {
    this.#options = options
  }

  /** Returns true if the audience of a token is another scheme of the same issuer. */
  isOfAnother ({ aud }: Readonly<Record<string, unknown>>): boolean {
    return this.#options.isOfAnother(aud)
  }

  /** Makes the tokens of a client depend on the client. */
  checkClients (isClient: IsClient): void {
    this.#isClient = isClient
  }

  /** Returns true if a client exists, or is not checked. */
  hasClient (client: unknown): boolean | Promise<boolean> {
    if (this.#isClient === null || client === this.#options.firstParty) return true
    return typeof client === 'string' && this.#isClient(client)
  }

  /** Returns the reason why a verified token is refused. Returns a promise only if the store must be asked. */
  check (claims: Claims): Fault | Promise<Fault> {
    const isEnded = this.#options.live?.isEnded(claims) ?? false
    if (isEnded === false && this.#isClient === null) return null
    return isThenable(isEnded) ? this.#checkLater(claims, isEnded) : this.#checkClient(claims, isEnded)
  }

  /** Returns the principal of a token with the rights that the person has now. */
  complete (
    principal: Principal, claims: Claims, request: FastifyRequest
  ): Bearer | Invalid | Promise<Bearer | Invalid> {
    const { load, scheme } = this.#options
    const delegated = claims['delegated'] === true
    const limited = delegated ? withScopesOf(claims, principal) : principal
    // load knows people
    if (load === null || isOfClient(claims)) return { principal: limited, owner: null, delegated }
    const loaded = load(limited, { scheme, request })
    const complete = (found: unknown): Bearer | Invalid => this.#complete(limited, found, delegated)
    return isThenable(loaded) ? Promise.resolve(loaded).then(complete) : complete(loaded)
  }

  /** Returns a function that watches a token, or `null` if it cannot be revoked. */
  watchOf (claims: Claims): ((ended: () => void) => () => void) | null {
    return this.#options.live?.watchOf(claims) ?? null
  }

  async #checkLater (claims: Claims, isEnded: Promise<boolean>): Promise<Fault> {
    try {
      return await this.#checkClient(claims, await isEnded)
    } catch (error) {
      return unavailableOr(error, 'the store of grants is unavailable')
    }
  }

  #checkClient (claims: Claims, isEnded: boolean): Fault | Promise<Fault> {
    if (isEnded) return invalid('the token was revoked, or its grant has ended')
    const isClient = this.hasClient(claims['client_id'])
    const judge = (exists: boolean): Fault => exists ? null : invalid('the client of the token was removed')
    if (!isThenable(isClient)) return judge(isClient)
    return isClient.then(judge).catch((error: unknown) => unavailableOr(error, 'the store of clients is unavailable'))
  }

  #complete (principal: Principal, found: unknown, delegated: boolean): Bearer | Invalid {
    const { grants, scheme } = this.#options
    const person = loadedPrincipal(principal, found, scheme)
    if (person === null) return invalid('the load function refused the principal')
    if (!delegated) return { principal: person, owner: null, delegated }
    const scopes = principal.scopes.filter(scope => grants(person, 'scopes', scope))
    return { principal: principalFrom({ ...person, scopes, roles: [] }, person.realm), owner: person, delegated }
  }
}

/** Returns a principal without roles, and only with scopes that the token has, even if a mapping added others. */
function withScopesOf ({ scope }: Claims, principal: Principal): Principal {
  const granted = typeof scope === 'string' ? scope.split(' ') : []
  const scopes = principal.scopes.filter(each => granted.includes(each))
  return principalFrom({ ...principal, scopes, roles: [] }, principal.realm)
}

/** Returns true for a token that a client got for itself. */
export function isOfClient ({ sub }: Claims): boolean {
  return sub?.startsWith(clientPrefix) === true
}
