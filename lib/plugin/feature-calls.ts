import type { FastifyReply, FastifyRequest } from 'fastify'
import type { GatehouseApiKeys } from '../../types/api-keys.js'
import type { AnyReply } from '../../types/gatehouse.js'
import type { GatehouseOAuth } from '../../types/oauth.js'
import type { PrincipalInput } from '../../types/principal.js'
import type { GatehouseSessions, SessionFeature } from '../../types/sessions.js'
import type { GatehouseTokens, GrantedTokens, PublicJwkSet, RefreshOptions, TokenFeature } from '../../types/tokens.js'
import { type AuthError, authFailure, internalError, refusal } from '../errors.js'
import { reportRefusal } from '../events/events.js'
import { writeChallenges } from '../guard/challenge.js'
import {
  chooseProvider, noProvider, parseGrantOptions, parseIssueOptions, parseOwner, parseRefreshOptions, parseReply,
  parseRequest, parseRevokeAllOptions, parseSchemeOption, type Provider, providersOf
} from './call-options.js'
import type { Internals } from './internals.js'
import type { BoundSchemes } from './schemes.js'

/** Creates `app.gatehouse.apiKeys`. */
export function createApiKeyCalls (schemes: BoundSchemes): GatehouseApiKeys {
  const providers = providersOf(schemes, features => features.apiKeys)
  const chosen = (options: unknown, call: string) =>
    chooseProvider(providers, parseSchemeOption(options, call), 'manage API keys').feature
  return Object.freeze({
    schemes: Object.freeze(providers.map(({ name }) => name)),
    of: (owner: unknown, options: unknown = {}) =>
      chosen(options, 'apiKeys.of()').of(parseOwner(owner, 'apiKeys.of()')),
    ofAnyOwner: (options: unknown = {}) => chosen(options, 'apiKeys.ofAnyOwner()').ofAnyOwner(),
    revokeLeaked: async (key: string, options: unknown = {}) =>
      await chosen(options, 'apiKeys.revokeLeaked()').revokeLeaked(key)
  })
}

/** Creates `app.gatehouse.sessions`, for the scheme that a call names, otherwise for all schemes together. */
export function createSessionCalls (schemes: BoundSchemes): GatehouseSessions {
  const providers = providersOf(schemes, features => features.sessions)
  const chosen = (options: unknown, call: string): readonly SessionFeature[] => {
    const name = parseSchemeOption(options, call)
    if (name !== undefined) return [chooseProvider(providers, name, 'keep sessions').feature]
    if (providers.length === 0) throw noProvider('keep sessions')
    return providers.map(({ feature }) => feature)
  }
  return Object.freeze({
    schemes: Object.freeze(providers.map(({ name }) => name)),
    of (owner: unknown, options: unknown = {}) {
      const parsedOwner = parseOwner(owner, 'sessions.of()')
      const all = chosen(options, 'sessions.of()').map(feature => feature.of(parsedOwner))
      return mergeOwned(all, { call: 'sessions.of().revokeAll()', lastUse: ({ lastSeenAt }) => lastSeenAt })
    },
    ofAnyOwner (options: unknown = {}) {
      const all = chosen(options, 'sessions.ofAnyOwner()').map(feature => feature.ofAnyOwner())
      return Object.freeze({
        revoke: async (id: string) => (await Promise.all(all.map(each => each.revoke(id)))).includes(true)
      })
    },
    returnTo (request: FastifyRequest, fallback = '/') {
      parseRequest(request, 'sessions.returnTo()')
      // Each scheme can open only the cookies that it sealed itself.
      return providers.map(({ feature }) => feature.returnTo?.(request, fallback) ?? fallback)
        .find(path => path !== fallback) ?? fallback
    }
  })
}

const grantVerb = 'refresh tokens, which needs sign.refresh'
const signVerb = 'sign tokens with an issuer and an audience'

/** Creates `app.gatehouse.tokens`. */
export function createTokenCalls (schemes: BoundSchemes): GatehouseTokens {
  const providers = providersOf(schemes, features => features.tokens)
  const granting = providersOf(schemes, features => features.tokens?.grant)
  const refreshing = providersOf(schemes, features => features.tokens?.refresh)
  return Object.freeze({
    issue: async (principal: PrincipalInput, options: unknown = {}) => {
      const parsed = parseIssueOptions(options)
      return await chooseProvider(providers, parsed.scheme, 'issue tokens').feature.issue(principal, parsed)
    },
    grant: async (principal: PrincipalInput, options: unknown = {}) => {
      const parsed = parseGrantOptions(options)
      return await chooseProvider(granting, parsed.scheme, grantVerb).feature(principal, parsed)
    },
    refresh: async (anyReply: AnyReply, token: unknown, options: unknown = {}) => {
      const parsed = parseRefreshOptions(options)
      const isOpen = parsed.scheme === undefined && refreshing.length > 0
      const candidates = isOpen ? refreshing : [chooseProvider(refreshing, parsed.scheme, grantVerb)]
      const reply = parseReply(anyReply, 'tokens.refresh()')
      return await exchangeToken(reply, schemes, { candidates, token, options: parsed })
    },
    ...createRevocationCalls(schemes),
    jwks: (options: unknown = {}) => publicKeys(schemes, parseSchemeOption(options, 'tokens.jwks()'))
  })
}

/** Creates the calls that list and end grants, for the scheme that a call names, otherwise for all schemes together. */
function createRevocationCalls (schemes: BoundSchemes): Pick<GatehouseTokens, 'of' | 'revoke'> {
  const revoking = providersOf(schemes, features => features.tokens?.revoke)
  const listing = providersOf(schemes, features => features.tokens?.of)
  return {
    async revoke (token: unknown) {
      if (revoking.length === 0) throw noProvider(signVerb)
      if (typeof token !== 'string') return
      for (const { name, feature } of revoking) {
        const revocation = await feature(token)
        if (revocation === 'unsupported') throw internalError(notRevocable(name))
        if (revocation === 'revoked') return
      }
    },
    of (owner: unknown, options: unknown = {}) {
      const parsedOwner = parseOwner(owner, 'tokens.of()')
      const name = parseSchemeOption(options, 'tokens.of()')
      const isOpen = name === undefined && listing.length > 0
      const chosen = isOpen ? listing : [chooseProvider(listing, name, signVerb)]
      const all = chosen.map(({ feature }) => feature(parsedOwner))
      return mergeOwned(all, { call: 'tokens.of().revokeAll()', lastUse: ({ lastUsedAt }) => lastUsedAt })
    }
  }
}

function notRevocable (name: string): string {
  return `an access token of schemes.${name} cannot be revoked, because sign.staleness is false. Revoke the refresh ` +
    'token, or leave sign.staleness out'
}

/** Returns the public keys of the scheme that a call names, otherwise of the only issuer. */
function publicKeys (schemes: BoundSchemes, name: string | undefined): PublicJwkSet {
  const publishing = providersOf(schemes, ({ tokens }) => tokens?.jwks)
  // An issuer has the same keys in all of its schemes.
  const issuers = new Set(publishing.map(each => schemes.get(each.name)?.features.tokens?.service?.issuer ?? each.name))
  const [first] = name === undefined && issuers.size === 1 ? publishing : []
  return (first ?? chooseProvider(publishing, name, signVerb)).feature()
}

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
async function exchangeToken (
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
  const detail = 'it is missing or malformed, or was issued to another client or with another refresh.secret'
  throw refuse(reply, schemes, { name: String(first?.name), detail })
}

interface Refusal {
  readonly name: string
  readonly detail: string
}

function refuse (reply: FastifyReply, schemes: BoundSchemes, { name, detail }: Refusal): AuthError {
  const failure = authFailure('AUTH_INVALID_CREDENTIALS', name, `refresh token: ${detail}`)
  const challenge = schemes.get(name)?.scheme.challenge?.(failure) ?? null
  // Without a challenge of the scheme, the response gets that of the policy.
  if (challenge !== null) reply.header('www-authenticate', writeChallenges([challenge].flat()))
  reportRefusal(reply.request, failure, 'request refused')
  return refusal(failure)
}

/** Creates `app.gatehouse.oauth`, which forwards to the authorization server. */
export function createOAuthCalls (internals: Internals): GatehouseOAuth {
  const server = (): GatehouseOAuth => {
    if (internals.oauth !== null) return internals.oauth
    throw internalError('this application has no authorization server: register oauthServer of fastify-gatehouse/oauth')
  }
  return Object.freeze({
    clients: Object.freeze({
      of: (owner: unknown) => server().clients.of(parseOwner(owner, 'oauth.clients.of()')),
      ofAnyOwner: () => server().clients.ofAnyOwner()
    }),
    consents: Object.freeze({
      of: (owner: unknown) => server().consents.of(parseOwner(owner, 'oauth.consents.of()'))
    })
  })
}

/** The calls that sessions and grants of one owner have alike. */
interface Owned<R extends { readonly id: string }> {
  list (): Promise<readonly R[]>
  revoke (id: string): Promise<boolean>
  revokeAll (options?: { readonly except?: string }): Promise<void>
}

interface MergeOptions<R extends { readonly id: string }> {
  /** The name of `revokeAll` in messages. */
  readonly call: string
  /** Returns the time of the last use, in ISO 8601. */
  readonly lastUse: (record: R) => string
}

/**
 * Combines what one owner has in several schemes, the most recently used first. Schemes for one audience have the same
 * grants, which are listed once.
 */
function mergeOwned<R extends { readonly id: string }> (
  all: ReadonlyArray<Owned<R>>, { call, lastUse }: MergeOptions<R>
): Required<Owned<R>> {
  return Object.freeze({
    list: async () => {
      const records = (await Promise.all(all.map(each => each.list()))).flat()
      return records.filter(({ id }, i) => records.findIndex(each => each.id === id) === i)
        .sort((a, b) => lastUse(b).localeCompare(lastUse(a)))
    },
    revoke: async (id: string) => (await Promise.all(all.map(each => each.revoke(id)))).includes(true),
    revokeAll: async (options: unknown = {}) => {
      const parsed = parseRevokeAllOptions(options, call)
      await Promise.all(all.map(each => each.revokeAll(parsed)))
    }
  })
}
