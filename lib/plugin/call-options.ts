import type { GrantOptions, IssueOptions, RefreshOptions } from '../../types/features.js'
import type { SchemeChoice } from '../../types/names.js'
import type { LoginOptions } from '../../types/sessions.js'
import type { StoreOwner } from '../../types/store.js'
import { internalError, misconfigured } from '../errors.js'
import { describeValue } from '../util/describe.js'
import { isObject, property } from '../util/objects.js'
import { atRunTime, readOptions } from '../util/options.js'

const kinds = {
  'a text': (value: unknown) => typeof value === 'string',
  'true or false': (value: unknown) => typeof value === 'boolean',
  'an object': isObject,
  'a list of texts': (value: unknown) => Array.isArray(value) && value.every(each => typeof each === 'string'),
  'a valid Date': (value: unknown) => value instanceof Date && !Number.isNaN(value.getTime()),
  anything: () => true
} as const

type Kinds = Readonly<Record<string, keyof typeof kinds>>

/**
 * The options of a call, with known keys of the right kind: what is misspelled, or `undefined`, must not read as "not said" while requests are served either.
 * @throws {AuthError} `AUTH_FAULT`, whose detail names the call and the key.
 */
function checked (options: unknown, call: string, known: Kinds): unknown {
  return atRunTime(() => {
    const said = readOptions(options, Object.keys(known), `The options of ${call}`)
    for (const [key, value] of Object.entries(said)) {
      const kind = known[key] as keyof typeof kinds
      if (!kinds[kind](value)) throw misconfigured(`The option ${key} of ${call} must be ${kind}; it is ${describeValue(value)}.`)
    }
    return said
  })
}

export function loginOptions (options: unknown): LoginOptions {
  return checked(options, 'reply.login()', { scheme: 'a text', keep: 'true or false', renew: 'true or false', stateChecked: 'true or false', data: 'an object' }) as LoginOptions
}

export function issueOptions (options: unknown): IssueOptions {
  return checked(options, 'tokens.issue()', { scheme: 'a text', expiresIn: 'anything', claims: 'an object' }) as IssueOptions
}

export function grantOptions (options: unknown): GrantOptions {
  return checked(options, 'tokens.grant()', { scheme: 'a text', scopes: 'a list of texts', client: 'a text', authenticatedAt: 'a valid Date' }) as GrantOptions
}

export function refreshOptions (options: unknown): RefreshOptions {
  return checked(options, 'tokens.refresh()', { scheme: 'a text', scopes: 'a list of texts', client: 'a text' }) as RefreshOptions
}

export function attemptOptions (options: unknown): { readonly realm?: string } {
  return checked(options, 'guesses.attempt()', { realm: 'a text' }) as { readonly realm?: string }
}

export function exceptOptions (options: unknown): { readonly except?: string } {
  return checked(options, 'sessions.of().revokeAll()', { except: 'a text' }) as { readonly except?: string }
}

export function schemeOption (options: unknown, call: string): string | undefined {
  return (checked(options, call, { scheme: 'a text' }) as SchemeChoice).scheme
}

/** @throws {AuthError} `AUTH_FAULT` for what is no owner, such as the `request.principal` of an anonymous request. */
export function ownerOf (owner: unknown, call: string): StoreOwner {
  const [realm, id] = isObject(owner) ? [property(owner, 'realm'), property(owner, 'id')] : []
  if (typeof realm === 'string' && typeof id === 'string') return Object.freeze({ realm, id })
  throw internalError(`The owner of ${call} must be { realm, id }, such as a principal. Got ${describeValue(owner)}`)
}
