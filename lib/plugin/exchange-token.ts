import type { FastifyReply } from 'fastify'
import type { GrantedTokens, RefreshOptions, TokenFeature } from '../../types/features.js'
import { type AuthError, authFailure, refusal } from '../errors.js'
import { writeChallenges } from '../guard/challenge.js'
import type { BoundSchemes, Provider } from './schemes.js'

/** A refresh token, and the schemes that may have issued it: one or more. */
interface Exchange {
  readonly candidates: ReadonlyArray<Provider<NonNullable<TokenFeature['refresh']>>>
  readonly token: unknown
  readonly options: RefreshOptions
}

/**
 * Exchanges a refresh token at the scheme that issued it.
 * @throws {AuthError} `AUTH_INVALID_CREDENTIALS`, with the challenge of that scheme on the reply, or of the first
 * candidate if none issued the token.
 */
export async function exchangeToken (
  reply: FastifyReply, schemes: BoundSchemes, { candidates, token, options }: Exchange
): Promise<GrantedTokens> {
  // RFC 6749, 5.1
  reply.header('cache-control', 'no-store')
  for (const { name, feature } of candidates) {
    const outcome = await feature(reply.request, token, options)
    if (!('kind' in outcome)) return outcome
    if (outcome.kind === 'invalid') throw refuse(reply, schemes, { name, detail: outcome.detail })
  }
  const [first] = candidates
  throw refuse(
    reply, schemes, { name: String(first?.name), detail: 'it is missing, or was not issued to this client' }
  )
}

interface Refusal {
  readonly name: string
  readonly detail: string
}

function refuse (reply: FastifyReply, schemes: BoundSchemes, { name, detail }: Refusal): AuthError {
  const failure = authFailure('AUTH_INVALID_CREDENTIALS', name, `refresh token: ${detail}`)
  const { code, scheme, detail: reason } = failure
  const challenge = schemes.get(name)?.scheme.challenge?.(failure) ?? null
  // without a challenge, the response gets that of the policy
  if (challenge !== null) reply.header('www-authenticate', writeChallenges([challenge].flat()))
  reply.request.log.info({ auth: { code, scheme, reason } }, 'request refused')
  return refusal(failure)
}
