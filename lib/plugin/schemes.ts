import type { FastifyInstance } from 'fastify'
import type { Features } from '../../types/features.js'
import type { Principal } from '../../types/principal.js'
import type { SchemeName } from '../../types/names.js'
import type { Made, Scheme, SchemeContext } from '../../types/scheme.js'
import { internalError, misconfigured } from '../errors.js'
import type { BoundScheme } from '../policy/policy.js'
import { describeValue, joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { isScheme, type Options } from './options.js'

/** The schemes of one application, by name. */
export type BoundSchemes = ReadonlyMap<string, BoundScheme>

/** Makes every scheme for one application, under its name. */
export async function bindSchemes (app: FastifyInstance, { schemes, load }: Options, contextOf: (name: string) => SchemeContext): Promise<BoundSchemes> {
  const bound = new Map<string, BoundScheme>()
  for (const [name, definition] of schemes) {
    const made = typeof definition === 'function' ? await definition(app, name, contextOf(name)) : definition
    const { scheme, features } = partsOf(made, name)
    bound.set(name, Object.freeze({ name, scheme, features: Object.freeze({ ...features }), load: scheme.load === undefined ? load : scheme.load }))
  }
  return bound
}

interface MadeParts {
  readonly scheme: Scheme<Principal>
  readonly features: Features
}

function partsOf (made: Made<Principal>, name: string): MadeParts {
  if (isScheme(made)) return { scheme: made, features: {} }
  if (isObject(made) && isScheme(made.scheme) && isObject(made.features)) return { scheme: made.scheme, features: made.features }
  throw misconfigured(`The option schemes.${name} is a function that made no scheme. Return an object with ` +
    'authenticate() and openapi, or { scheme, features }.')
}

/** A scheme that has a feature. */
export interface Provider<F> {
  readonly name: SchemeName
  readonly feature: F
}

/** Returns the schemes that have a feature. */
export function providersOf<F> (schemes: BoundSchemes, pick: (features: Features) => F | undefined): ReadonlyArray<Provider<F>> {
  return [...schemes.values()].flatMap(({ name, features }) => {
    const feature = pick(features)
    return feature === undefined ? [] : [{ name: name as SchemeName, feature }]
  })
}

/**
 * Returns the scheme that a call means: the one that it names, or the only one there is.
 * @param verb what these schemes do, for the message: "keep sessions".
 * @throws {AuthError} `AUTH_FAULT` when there is none, the named one is not among them, or several are and none is named.
 */
export function chooseProvider<F> (providers: ReadonlyArray<Provider<F>>, name: string | undefined, verb: string): Provider<F> {
  const [only, ...others] = name === undefined ? providers : providers.filter(each => each.name === name)
  if (only !== undefined && others.length === 0) return only
  if (providers.length === 0) throw internalError(`no scheme of this application can ${verb}`)
  const names = joinNames(providers.map(each => `'${each.name}'`))
  throw internalError(name === undefined
    ? `several schemes can ${verb}: name one of them, ${names}, as the option scheme`
    : `the scheme ${describeValue(name)} cannot ${verb}. Known: ${names}`)
}
