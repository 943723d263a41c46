import type { Principal, PrincipalInput } from '../../../types/principal.js'
import { principalFrom } from '../principal.js'

/**
 * The principal of claims without a mapping: `sub`, scopes of `scope` (RFC 8693, 4.2: one text) or `scp` (a text or a list), roles of `roles`.
 * Says in words why there is none.
 */
export function defaultPrincipal (claims: Readonly<Record<string, unknown>>, realm: string): Principal | string {
  const { sub, scope, scp, roles = [] } = claims
  if (typeof sub !== 'string') return 'the claim sub is missing'
  if (scope !== undefined && typeof scope !== 'string') return 'the claim scope is not a text'
  const scopes = words(scope ?? scp ?? [])
  if (scopes === null) return 'the claim scp is neither a text nor a list of texts'
  const names = Array.isArray(roles) ? words(roles) : null
  if (names === null) return 'the claim roles is not a list of texts'
  const input: PrincipalInput = { realm, id: sub, scopes, roles: names }
  return principalFrom(input, realm)
}

/** Separate names, each once; `null` when the claim is not made of texts. */
function words (claim: unknown): readonly string[] | null {
  const list: unknown = typeof claim === 'string' ? claim.split(' ').filter(word => word !== '') : claim
  if (!Array.isArray(list) || !list.every(word => typeof word === 'string')) return null
  return [...new Set(list)]
}
