import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { No } from '../../../types/answer.js'
import type { ApiKeyCredential } from '../../../types/api-keys.js'
import type { Authenticated, Invalid } from '../../../types/outcome.js'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { Load, SchemeContext } from '../../../types/scheme.js'
import type { StoreOwner } from '../../../types/store.js'
import { internalError } from '../../errors.js'
import { invalid } from '../../kit/outcome.js'
import { loadedPrincipal, principalFrom } from '../../kit/principal.js'
import { isNo, isThenable } from '../../util/answer.js'
import { deepFrozenCopy } from '../../util/objects.js'
import { Memo } from '../../util/ttl-cache.js'

/** What a managed key proves. */
export type KeyAuthenticated = Authenticated<Principal, ApiKeyCredential>

/** Scopes and roles. */
export type Rights = Pick<Principal, 'scopes' | 'roles'>

/** Whether somebody has a scope or role, as {@link SchemeContext.grants} says. */
type Grants = SchemeContext['grants']

/** What {@link Owners} works with. */
export interface OwnersOptions {
  readonly app: FastifyInstance
  /** The scheme's name. */
  readonly scheme: string
  readonly load: Load
  readonly grants: Grants
  /** Milliseconds. */
  readonly staleness: number
}

const size = 10_000

/**
 * The owners of keys, as `load` knows them. It is asked for an owner and not for a request, because its answer serves every key and request of that owner for a while;
 * and with a principal without scopes and roles, so that what it returns is the owner's and nothing of the key's.
 */
export class Owners {
  readonly #options: OwnersOptions
  readonly #known: Memo<Principal | null>

  constructor (options: OwnersOptions) {
    this.#options = options
    this.#known = new Memo({ staleness: options.staleness, size, denies: owner => owner === null })
  }

  /** The owner as of now; `null` when there is none (any more). */
  async find (owner: StoreOwner): Promise<Principal | null> {
    this.#known.forget(keyOf(owner))
    return this.#find(owner)
  }

  /** Completes what a key proves: its principal is the owner, with those of the key's rights that the owner has. *Invalid* when there is no owner (any more). */
  narrow (key: KeyAuthenticated, recheck: KeyAuthenticated['recheck']): KeyAuthenticated | Invalid | Promise<KeyAuthenticated | Invalid> {
    const owner = this.#find(key.principal)
    return isThenable(owner) ? owner.then(found => this.#narrowed(found, key, recheck)) : this.#narrowed(owner, key, recheck)
  }

  #find (owner: StoreOwner): Principal | null | Promise<Principal | null> {
    return this.#known.get(keyOf(owner), () => this.#load(owner))
  }

  #load ({ realm, id }: StoreOwner): Principal | null | Promise<Principal | null> {
    const { load, scheme, app } = this.#options
    const nobody = principalFrom({ realm, id }, realm)
    const loaded = load(nobody, { scheme, request: withoutRequest(app) })
    const complete = (found: PrincipalInput | No): Principal | null => {
      if (isNo(found)) return null
      if (typeof found !== 'object' || Array.isArray(found)) throw internalError(`the load function for the scheme '${scheme}' returned neither a principal nor a no, such as null`)
      return deepFrozenCopy(loadedPrincipal(nobody, found))
    }
    return isThenable(loaded) ? Promise.resolve(loaded).then(complete) : complete(loaded)
  }

  #narrowed (owner: Principal | null, key: KeyAuthenticated, recheck: KeyAuthenticated['recheck']): KeyAuthenticated | Invalid {
    if (owner === null) return invalid('load knows no such owner of an API key, or it is disabled')
    return { ...key, principal: principalFrom({ ...owner, ...common(key.principal, owner, this.#options.grants) }, owner.realm), owner, recheck }
  }
}

/** Those of some rights that somebody has, by a role or as they are. */
export function common ({ scopes, roles }: Rights, holder: Principal, grants: Grants): Rights {
  return {
    scopes: scopes.filter(name => grants(holder, 'scopes', name)),
    roles: roles.filter(name => grants(holder, 'roles', name))
  }
}

/** Names that somebody has not, of some rights: empty when they have all. */
export function missing (rights: Rights, holder: Principal, grants: Grants): readonly string[] {
  const held = common(rights, holder, grants)
  return [...rights.scopes.filter(name => !held.scopes.includes(name)), ...rights.roles.filter(name => !held.roles.includes(name))]
}

function keyOf ({ realm, id }: StoreOwner): string {
  return JSON.stringify([realm, id])
}

/**
 * What `load` gets in place of a request: the application and its log. Keys are also made where there is no request, and what one said of one request
 * must not count for another.
 */
function withoutRequest (app: FastifyInstance): FastifyRequest {
  return Object.freeze({ server: app, log: app.log }) as unknown as FastifyRequest
}
