import { hash } from 'node:crypto'
import type { OAuthGrant } from '../../../types/oauth.js'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { listOf, oneOf, string, type Parser } from '../../util/options.js'
import { parseRedirectUri } from './redirect-uri.js'

/** A secret of a client, which is known by its digest alone. */
export interface ClientSecret {
  /** SHA-256, in base64url. */
  readonly digest: string
  /** Milliseconds since 1970; `null` if it does not expire. */
  readonly expiresAt: number | null
}

/** A client of the authorization server. */
export interface Client {
  readonly id: string
  readonly name: string
  readonly redirectUris: readonly string[]
  readonly scopes: readonly string[]
  readonly grants: readonly OAuthGrant[]
  /** None for a public client. */
  readonly secrets: readonly ClientSecret[]
  /** `true` for a client that authenticates. */
  readonly isConfidential: boolean
  /** `undefined` for the server's own rule. */
  readonly consent: 'remember' | false | undefined
  /** `true` if its tokens carry the roles of people. */
  readonly roles: boolean
  /** The schemes whose tokens it may introspect. */
  readonly introspect: readonly string[]
}

/** Returns the digest under which a secret is known. */
export function digestOf (secret: string | Uint8Array): string {
  return hash('sha256', secret, 'base64url')
}

export const grantNames = ['authorization_code', 'refresh_token', 'client_credentials'] as const

/** Parses a list of scopes. @param declared the scopes of the application; `null` if it declares none. */
export function scopesParser (declared: ReadonlySet<string> | null): Parser<readonly string[]> {
  return listOf((value, option) => {
    const scope = string(value, option)
    if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) {
      throw misconfigured(`${option} is no scope (RFC 6749, 3.3). Got ${describeValue(value)}.`)
    }
    if (declared?.has(scope) === false) {
      throw misconfigured(`${option} is ${describeValue(scope)}, which the option scopes of the plugin does not ` +
        'declare.')
    }
    return scope
  })
}

export const parseRedirectUris = listOf(parseRedirectUri)

const parseGrantList = listOf(oneOf(...grantNames))

/** Parses the grants of a client. */
export function parseGrants (value: unknown, option: string): readonly OAuthGrant[] {
  return parseGrantList(value, option)
}

/** The fields of a client that decide which grants it may have. */
interface GrantRules {
  readonly grants: readonly OAuthGrant[] | null
  readonly redirectUris: readonly string[]
  readonly isConfidential: boolean
}

/** Returns the grants of a client. @throws {AuthError} `AUTH_MISCONFIGURED` for grants that the client cannot use. */
export function grantsOf ({ grants, redirectUris, isConfidential }: GrantRules, option: string): readonly OAuthGrant[] {
  const hasUris = redirectUris.length > 0
  const all = grants ?? (hasUris ? ['authorization_code', 'refresh_token'] as const : [])
  if (all.includes('authorization_code') !== hasUris) {
    throw misconfigured(`${option} needs redirectUris and the grant authorization_code together: codes are sent to ` +
      'redirect URIs, and nothing else is.')
  }
  if (all.includes('refresh_token') && !hasUris) {
    throw misconfigured(`${option} has the grant refresh_token without authorization_code, which gives the first one.`)
  }
  if (all.includes('client_credentials') && !isConfidential) {
    throw misconfigured(`${option} has the grant client_credentials, which needs a secret (RFC 6749, 4.4).`)
  }
  return Object.freeze([...all])
}
