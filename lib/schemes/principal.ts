import type { Principal, PrincipalFrom, PrincipalInput } from '../../types/principal.js'
import { fault } from '../errors.js'

const none: readonly string[] = Object.freeze([])

/**
 * The frozen principal of what an application said. Never changes what it was given.
 * @throws {AuthError} `AUTH_FAULT` when it is no principal: no `id`, scopes or roles that are not lists of strings.
 */
export function principalFrom<P extends PrincipalInput> (input: P, realm: string): PrincipalFrom<P> {
  if (typeof input !== 'object' || input === null || typeof input.id !== 'string' || input.id === '') {
    throw fault('a principal must be an object with a non-empty string id')
  }
  const principal: Principal = Object.freeze({
    ...input,
    realm: text(input.realm, 'realm') ?? realm,
    id: input.id,
    scopes: names(input.scopes, 'scopes'),
    roles: names(input.roles, 'roles')
  })
  return principal as PrincipalFrom<P>
}

function text (value: unknown, field: string): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw fault(`a principal's ${field} must be a non-empty string`)
}

function names (value: unknown, field: string): readonly string[] {
  if (value === undefined) return none
  if (!Array.isArray(value) || !value.every(name => typeof name === 'string')) {
    throw fault(`a principal's ${field} must be a list of strings`)
  }
  return Object.isFrozen(value) ? value : Object.freeze([...value])
}
