import { isDeepStrictEqual } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { misconfigured } from '../../errors.js'
import type { Trust } from './issuers.js'
import type { SignSettings } from './sign-options.js'

/** A scheme that accepts the tokens of an issuer. */
interface Member {
  /** The path of its options, for messages. */
  readonly path: string
  readonly trust: Trust
  /** `null` if it does not sign. */
  readonly sign: SignSettings | null
}

/** The schemes of an application by issuer. */
const issuers = new WeakMap<FastifyInstance, Map<string, Member[]>>()

/**
 * Records a scheme of an issuer. An issuer that signs in this application has one set of keys and one `sign`: otherwise
 * one scheme would accept tokens that another has revoked.
 * @returns a function that tells if an `aud` belongs to another signing scheme of the issuer.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if two schemes of an issuer differ and one of them signs.
 */
export function joinIssuer (app: FastifyInstance, member: Member): (aud: unknown) => boolean {
  const { issuer, audience } = member.trust.rules
  if (issuer === null) return () => false
  const byIssuer = issuers.get(app) ?? new Map<string, Member[]>()
  issuers.set(app, byIssuer)
  const members = byIssuer.get(issuer) ?? []
  byIssuer.set(issuer, members)
  for (const other of members) checkSame(member, other)
  members.push(member)
  return aud => {
    const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
    const others = members.filter(({ sign, trust }) => sign !== null && trust.rules.audience !== audience)
    return others.some(({ trust }) => trust.rules.audience?.some(each => named.includes(each)))
  }
}

function checkSame (one: Member, other: Member): void {
  if (one.sign === null && other.sign === null) return
  if (isDeepStrictEqual(one.sign, other.sign) && haveSameKeys(one, other)) return
  throw misconfigured(`${other.path} and ${one.path} have the same issuer, and one of them signs tokens, so they ` +
    'must have the same keys and the same sign. Otherwise one would accept tokens that the other has revoked. Write ' +
    'both options once and give them to both schemes.')
}

function haveSameKeys (one: Member, other: Member): boolean {
  const [keys, others] = [one.trust.ring?.keys, other.trust.ring?.keys]
  if (keys === undefined || others === undefined) return one.trust.given === other.trust.given
  return keys.length === others.length && keys.every(({ key, kid, algorithm, next }, i) => {
    const same = others[i]
    return same?.kid === kid && same.algorithm === algorithm && same.next === next && same.key.equals(key)
  })
}
