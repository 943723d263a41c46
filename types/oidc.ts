import type { FastifyRequest } from 'fastify'
import type { SchemeName } from './names.js'
import type { No, PrincipalInput } from './principal.js'

/** The claims of an ID token, which was verified (OpenID Connect Core 1.0, 2). */
export interface OidcClaims {
  /** The issuer. Together with `sub` it identifies the person. */
  readonly iss: string
  readonly sub: string
  readonly aud: string | readonly string[]
  readonly exp: number
  readonly iat: number
  /** The time at which the person proved who they are, in seconds since 1970. */
  readonly auth_time?: number
  /** Proves nothing unless `email_verified` is true and the provider owns the domain. */
  readonly email?: unknown
  readonly email_verified?: unknown
  readonly [claim: string]: unknown
}

/** The answer of the token endpoint (RFC 6749, 5.1). */
export interface OidcTokens {
  readonly access_token: string
  /** In lower case, such as `bearer`. */
  readonly token_type: string
  /** Seconds. */
  readonly expires_in?: number
  readonly scope?: string
  readonly refresh_token?: string
  readonly id_token?: string
}

/** The parameter of the function `person`. */
export interface OidcLogin<Claims = OidcClaims> {
  /** The claims of the ID token, or the result of `profile`. */
  readonly claims: Claims
  /** For calls to the API of the provider. Nothing of them is kept. */
  readonly tokens: OidcTokens
  /** The request that ends the login. */
  readonly request: FastifyRequest
}

/** Options of the route that ends a session. */
export interface OidcLogoutOptions {
  /** The path of the route, which several providers may share. Default: `/logout` below the prefix of the context. */
  readonly path?: string
  /**
   * The URL to which the provider sends the person, who is then logged out. It is registered at the provider. Default:
   * `/` of the origin of `redirectUri`.
   */
  readonly redirectUri?: string
}

interface CommonOptions {
  /**
   * The URL to which the provider sends the person: https, or http on a loopback host. It is registered at the
   * provider. Its path is where the route of the callback stands.
   */
  readonly redirectUri: string
  readonly clientId: string | undefined
  /** Left out for a public client. `undefined` (an unset environment variable) stops the boot. */
  readonly clientSecret?: string | undefined
  /**
   * The method by which the client authenticates at the token endpoint. Default: `'basic'`, unless the provider says
   * that it accepts `'post'` only, and `'post'` with `endpoints`.
   */
  readonly clientAuthentication?: 'basic' | 'post'
  /** The scheme in which the login begins a session, made by `session()`. */
  readonly session: SchemeName
  /** The path at which a login begins. Default: the path of `redirectUri` without `/callback`. */
  readonly path?: string
  /** Scopes to ask for. With `issuer`, `openid` is added. */
  readonly scopes?: readonly string[]
  /** Further parameters of the authorization request, such as `prompt`, `hd` or `access_type`. */
  readonly parameters?: Readonly<Record<string, string>>
  /** The path to which a login without a return path leads. Default `'/'`. */
  readonly fallback?: string
  /** Hosts that may be fetched from over plain http. Loopback hosts always may. */
  readonly insecureHosts?: readonly string[]
  /**
   * The agent of fetches from the provider, for proxies and private certificate authorities: an Agent of `node:https`.
   * Default: the global one.
   */
  readonly agent?: object
}

/** A login with an OpenID provider. */
export interface OpenIdLoginOptions extends CommonOptions {
  /** The issuer of the provider, whose metadata is found by discovery at the first login. */
  readonly issuer: string | undefined
  readonly endpoints?: undefined
  readonly profile?: undefined
  /** Returns the principal of the person, or `null` if they have no account here: the answer is then 403. */
  readonly person: (login: OidcLogin) => PrincipalInput | No | Promise<PrincipalInput | No>
  /** Adds a route that ends the session here and at the provider. */
  readonly logout?: true | OidcLogoutOptions
}

/** A login with a provider that offers OAuth 2.0 without OpenID Connect. */
export interface OAuthLoginOptions extends CommonOptions {
  readonly issuer?: undefined
  /** The URLs of the provider's endpoints. */
  readonly endpoints: { readonly authorize: string, readonly token: string }
  /** Asks the provider who the person is. Returns `null` if it is nobody. If it throws, the answer is 503. */
  readonly profile: (accessToken: string) => object | No | Promise<object | No>
  /** Returns the principal of the person, or `null` if they have no account here: the answer is then 403. */
  readonly person: (
    login: OidcLogin<Readonly<Record<string, unknown>>>
  ) => PrincipalInput | No | Promise<PrincipalInput | No>
  readonly logout?: undefined
}

/** The options of `oidcLogin`. */
export type OidcLoginOptions = OpenIdLoginOptions | OAuthLoginOptions
