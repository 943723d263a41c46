import type { Foreign, Invalid, Unavailable } from '../../../types/outcome.js'
import { AuthError } from '../../errors.js'
import { isUnavailable } from '../../jose/keyring.js'
import { foreign, invalid, unavailableOr } from '../../kit/outcome.js'
import { isNo, isThenable } from '../../util/answer.js'
import { TtlCache } from '../../util/ttl-cache.js'

/** Issuers that are known at once, and those that are known not to be. */
const maxIssuers = 1_000
/** Characters of an `iss` that the application is asked about. */
const maxLength = 500
/** Milliseconds for which a no is believed, so that a new issuer is accepted soon. */
const noFor = 60_000

/**
 * Issuers that the application tells one by one. It is asked once for each `iss` that it accepts, at most once a minute
 * for each that it does not, and by all requests together that come while it answers.
 */
export class IssuerFunction<T extends object> {
  readonly #ask: (iss: string) => unknown
  readonly #make: (iss: string, answer: unknown) => T
  readonly #known = new Map<string, T>()
  readonly #answers = new TtlCache<T | null>({
    ttl: noFor, maxEntries: maxIssuers, isNegative: answer => answer === null
  })

  /** @param make makes of an answer what {@link of} returns; what it throws is a fault of the application. */
  constructor (ask: (iss: string) => unknown, make: (iss: string, answer: unknown) => T) {
    this.#ask = ask
    this.#make = make
  }

  /** Finds an issuer: *foreign* where the application said no. */
  of (iss: unknown): T | Foreign | Invalid | Unavailable | Promise<T | Foreign | Unavailable> {
    if (typeof iss !== 'string') return invalid('the claim iss is missing, or no string')
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
    const answer = this.#ask(iss)
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
