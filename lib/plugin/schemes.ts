import type { FastifyInstance } from 'fastify'
import type { Principal } from '../../types/principal.js'
import type { Scheme, SchemeContext } from '../../types/scheme.js'
import { internalError, misconfigured } from '../errors.js'
import type { BoundScheme } from '../policy/policy.js'
import { describeValue, joinNames } from '../util/describe.js'
import { isScheme, type Options } from './options.js'

/** Makes every scheme for one application, under its name. */
export async function bindSchemes (app: FastifyInstance, { schemes, load }: Options, contextOf: (name: string) => SchemeContext): Promise<ReadonlyMap<string, BoundScheme>> {
  const bound = new Map<string, BoundScheme>()
  for (const [name, definition] of schemes) {
    const scheme = typeof definition === 'function' ? await definition(app, name, contextOf(name)) : definition
    if (!isScheme(scheme)) throw misconfigured(`The option schemes.${name} is a function that made no scheme: an object with authenticate() and openapi.`)
    bound.set(name, Object.freeze({ name, scheme, load: scheme.load === undefined ? load : scheme.load }))
  }
  return bound
}

/** What only some schemes can do. */
type Capability = 'login' | 'logout' | 'issue' | 'returnTo' | 'apiKeys'

/**
 * The scheme with a capability: the one that is named, or the only one there is.
 * @throws {AuthError} `AUTH_FAULT`: the application asked for something that its schemes cannot do.
 */
export function capable<K extends Capability> (schemes: ReadonlyMap<string, BoundScheme>, capability: K, name: string | undefined): { readonly name: string, readonly scheme: Scheme<Principal> & Required<Pick<Scheme<Principal>, K>> } {
  const able = [...schemes.values()].filter(each => each.scheme[capability] !== undefined)
  const found = name === undefined ? able : able.filter(each => each.name === name)
  const [only] = found
  if (found.length === 1 && only !== undefined) return { name: only.name, scheme: only.scheme as Scheme<Principal> & Required<Pick<Scheme<Principal>, K>> }
  const names = able.map(each => `'${each.name}'`)
  if (able.length === 0) throw internalError(`no scheme of this application has ${capability}()`)
  throw internalError(name === undefined ? `several schemes have ${capability}(): name ${joinNames(names)} as scheme` : `the scheme ${describeValue(name)} has no ${capability}(); known: ${joinNames(names)}`)
}
