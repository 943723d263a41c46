import type { Foreign, Invalid, Unavailable } from '../../../types/outcome.js'
import { AuthError } from '../../errors.js'
import { isUnavailable } from '../../jose/keyring.js'
import { foreign, invalid, unavailableOr } from '../../kit/outcome.js'
import { TtlCache } from '../../util/cache.js'
import { isNo, isThenable } from '../../util/objects.js'

/** The maximum number of cached issuers, and of cached negative results. */
const maxIssuers = 1_000
/** The maximum length of an `iss` in characters. The function is not called for longer ones. */
const maxLength = 500
/** The time for which a negative result is cached, in milliseconds. Short, so that new issuers are accepted soon. */
const negativeTtl = 60_000

/**
 * Finds issuers by a function of the application. Accepted issuers are cached without expiry, negative results for a
 * minute. Concurrent requests share one call.
 */
export class IssuerFunction<T extends object> {
  readonly #resolve: (iss: string) => unknown
  readonly #make: (iss: string, answer: unknown) => T
  readonly #known = new Map<string, T>()
  readonly #answers = new TtlCache<T | null>({
    ttl: negativeTtl, maxEntries: maxIssuers, isNegative: answer => answer === null
  })

  /** @param make converts a result of `resolve` to an issuer; an error that it throws is a fault of the application. */
  constructor (resolve: (iss: string) => unknown, make: (iss: string, answer: unknown) => T) {
    this.#resolve = resolve
    this.#make = make
  }

  /** Finds an issuer. Returns *foreign* if the application does not accept it. */
  of (iss: unknown): T | Foreign | Invalid | Unavailable | Promise<T | Foreign | Unavailable> {
    if (typeof iss !== 'string') return invalid('the claim iss is missing or not a string')
    if (iss === '' || iss.length > maxLength) return foreign
    const known = this.#known.get(iss)
    if (known !== undefined) return known
    try {
      const answer = this.#answers.get(iss, () => this.#learn(iss))
      return isThenable(answer) ? answer.then(found => found ?? foreign, unavailableOr) : answer ?? foreign
    } catch (error) {
      return unavailableOr(error)
    }
  }

  #learn (iss: string): T | null | Promise<T | null> {
    const answer = this.#resolve(iss)
    return isThenable(answer) ? Promise.resolve(answer).then(each => this.#keep(iss, each)) : this.#keep(iss, answer)
  }

  #keep (iss: string, answer: unknown): T | null {
    if (isUnavailable(answer)) throw new AuthError('AUTH_UNAVAILABLE', answer.detail)
    if (isNo(answer)) return null
    const made = this.#make(iss, answer)
    const [oldest] = this.#known.size < maxIssuers ? [] : this.#known.keys()
    if (oldest !== undefined) this.#known.delete(oldest)
    this.#known.set(iss, made)
    return made
  }
}
