import type { InjectOptions, LightMyRequestResponse } from 'fastify'
import type { PrincipalOf, SchemeName } from '../../types/names.js'
import type { Outcome } from '../../types/outcome.js'
import type { PrincipalInput } from '../../types/principal.js'
import type { SessionCredential } from '../../types/sessions.js'
import { misconfigured } from '../errors.js'
import { authenticated } from '../kit/outcome.js'
import { principalAtBoot, principalFrom } from '../kit/principal.js'
import type { BoundScheme } from '../policy/policy.js'
import { describeValue, didYouMean, joinNames } from '../util/describe.js'
import { object, optional, text } from '../util/options.js'
import { checkUse, outcomesByName, registrationsOf, runInjection, type TestedApp } from './injection.js'

/** Options of {@link injectAs}. */
export interface InjectAsOptions<K extends SchemeName = SchemeName> {
  /**
   * The scheme that authenticates the requests; needed only if the application has several. A list for routes that
   * require all of several schemes.
   */
  readonly scheme?: K | readonly K[]
  /**
   * The value of `request.auth.credential` in handlers. Default: an empty session for schemes with sessions, otherwise
   * `null`.
   */
  readonly credential?: unknown
  /** The time at which the person authenticated, for `maxAge`. Default: now, for schemes that report it. */
  readonly authenticatedAt?: Date
}

/** Sends a request as the principal. Takes what `app.inject` takes, and returns its response. */
export type InjectedAs = (request: string | InjectOptions) => Promise<LightMyRequestResponse>

const call = 'injectAs()'

/**
 * Returns a function like `app.inject`, whose requests are authenticated as a principal, without a credential. Only
 * authentication is skipped: rules, limits, `when` and every other part of the guard are those of the application.
 * `load` is not called, so the principal has all the fields that rules and handlers read.
 *
 * @example
 * const ada = injectAs(app, { id: 'ada', roles: ['clerk'] }, { scheme: 'web' })
 * const response = await ada('/orders')
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a wrong argument, with `NODE_ENV=production`, and once the server
 * listens.
 */
export function injectAs<K extends SchemeName, P extends PrincipalInput & Partial<PrincipalOf<K>>> (
  app: TestedApp, principal: P, options: InjectAsOptions<K> = {}
): InjectedAs {
  checkUse(app, call)
  const parsed = parse(options, `The options of ${call}`)
  principalAtBoot(principal, 'test', call)
  return async request => {
    checkUse(app, call)
    await app.ready()
    const outcomes = new Map(
      schemesOf(app, parsed.scheme).map(bound => [bound.name, outcomeOf(bound, principal, parsed)])
    )
    const injection = { outcomeOf: outcomesByName(outcomes), stubbed: false }
    const { response } = await runInjection(app, typeof request === 'string' ? { url: request } : request, injection)
    return response
  }
}

const parse = object({
  scheme: optional(schemeNames, null),
  credential: optional(value => value, null),
  authenticatedAt: optional(date, null)
})

function schemeNames (value: unknown, option: string): readonly string[] {
  const names: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (names.length === 0) throw misconfigured(`${option} must name a scheme, or several in a list.`)
  return names.map((name, i) => text(name, Array.isArray(value) ? `${option}[${i}]` : option))
}

function date (value: unknown, option: string): Date {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value
  throw misconfigured(`${option} must be a valid Date. Got ${describeValue(value)}.`)
}

function outcomeOf (
  { name, scheme, features }: BoundScheme, principal: PrincipalInput, options: ReturnType<typeof parse>
): Outcome {
  const now = scheme.reportsAuthTime === true ? new Date() : null
  const authenticatedAt = options.authenticatedAt ?? now
  const credential = options.credential ?? (features.sessions === undefined ? null : emptySession())
  return authenticated(principalFrom(principal, name), { credential, authenticatedAt })
}

/** Returns what handlers see of a session, whose data lasts for one request. */
function emptySession (): SessionCredential {
  let data = Object.freeze({})
  return Object.freeze({
    id: 'test',
    get data () { return data },
    update (next: object) { data = Object.freeze({ ...next }) }
  })
}

/** Returns the named schemes, or the only one. */
function schemesOf (app: TestedApp, names: readonly string[] | null): readonly BoundScheme[] {
  const known = registrationsOf(app, call).flatMap(({ schemes }) => [...schemes.values()])
  const all = known.map(bound => bound.name)
  if (names === null) {
    if (known.length === 1) return known
    throw misconfigured(`${call} needs the option scheme, because the application has several schemes: ` +
      `${joinNames(all, 'and')}.`)
  }
  const unknown = names.find(name => !all.includes(name))
  if (unknown === undefined) return known.filter(bound => names.includes(bound.name))
  throw misconfigured(`The option scheme of ${call} names '${unknown}', which is not among the schemes of the ` +
    `application.${didYouMean(unknown, all)} Known: ${joinNames(all, 'and')}.`)
}
