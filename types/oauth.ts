import type { FastifyReply, FastifyRequest } from 'fastify'
import type { SchemeName, ScopeName } from './names.js'
import type { Duration } from './options.js'
import type { Principal } from './principal.js'
import type { StoreOwner } from './store.js'

/** A grant of OAuth 2.0 that the authorization server offers. */
export type OAuthGrant = 'authorization_code' | 'refresh_token' | 'client_credentials'

/** Configures a client of the authorization server. */
export interface OAuthClientOptions {
  /** The name that people read on the consent page. Default: the id. */
  readonly name?: string
  /**
   * The URIs to which codes may be sent, compared as text. They are https, http on a loopback host (where the port may
   * differ), or of a private-use scheme.
   */
  readonly redirectUris?: readonly string[]
  /** The scopes that the client may ask for. Default: none. */
  readonly scopes?: readonly ScopeName[]
  /** Default: `authorization_code` and `refresh_token` for a client with redirect URIs, otherwise none. */
  readonly grants?: readonly OAuthGrant[]
  /**
   * One secret, or two while one replaces the other, each with at least 128 bits. Without a secret the client is
   * public.
   */
  readonly secrets?: readonly (string | undefined)[]
  /** In place of the server's option `consent`; `false` for applications of your own. */
  readonly consent?: 'remember' | false
  /**
   * Gives tokens of this client the roles of people and whatever scopes `load` returns, for an application of your own.
   * Default: they are delegated, so they have no roles, and only scopes that the person agreed to.
   */
  readonly roles?: true
  /** The resources whose tokens the client may introspect. Default: none. */
  readonly introspect?: readonly SchemeName[]
}

/** The options of `oauthServer`. */
export interface OAuthServerOptions {
  /** The scheme that people log in with, made by `session()`. */
  readonly session: SchemeName
  /** The signing schemes that tokens are issued for. A token without a requested resource is for the first one. */
  readonly resources: readonly SchemeName[]
  /** The clients by id. Others may be added at run time: `app.gatehouse.oauth.clients`. */
  readonly clients?: Readonly<Record<string, OAuthClientOptions>>
  /**
   * `'remember'` asks people once for the same client and scopes; `false` never asks; a function sends a page of the
   * application. Default: a plain page, each time.
   */
  readonly consent?: 'remember' | false | ConsentPage
  /** The prefix of the protocol's routes. Default `'/oauth'`. */
  readonly prefix?: string
  /**
   * Allows public clients, which have no secret, to be added at run time. Default: `true` if `clients` has a public
   * one.
   */
  readonly publicClients?: boolean
}

/** Describes what a person is asked to allow. */
export interface ConsentRequest {
  readonly client: {
    readonly id: string
    readonly name: string
    /** `true` for a client without a secret, whose id any program can use. */
    readonly isPublic: boolean
  }
  /** The URI to which the person is sent with the answer. */
  readonly redirectUri: string
  readonly person: Principal
  /** The resource that the token is for. */
  readonly resource: string
  /** The requested scopes that the person has, with their descriptions in the option `scopes` of the plugin. */
  readonly scopes: ReadonlyArray<{ readonly name: ScopeName, readonly description: string | null }>
  /** The form of the page: where to post it, and the fields that it must contain. */
  readonly form: { readonly action: string, readonly fields: Readonly<Record<string, string>> }
  /** The fields of the submitted form; `null` while the page is to be sent. */
  readonly submitted: Readonly<Record<string, string>> | null
  /**
   * Allows some or all of the scopes, and sends the person back to the client.
   * @param options `remember`: does not ask again for these scopes.
   * @throws {AuthError} `AUTH_FAULT` for a scope that was not requested, and a wrong option.
   */
  approve (scopes: readonly ScopeName[], options?: { readonly remember?: boolean }): Promise<FastifyReply>
  /** Refuses, and sends the person back to the client. */
  deny (): Promise<FastifyReply>
}

/**
 * Sends the application's consent page. It is called again when the form of the page was submitted, and then calls
 * `consent.approve` or `consent.deny`. If it sends nothing for ten seconds, the client gets `server_error`.
 */
export type ConsentPage = {
  bivarianceHack (request: FastifyRequest, reply: FastifyReply, consent: ConsentRequest): unknown
}['bivarianceHack']

/** Describes a client that is added at run time. */
export interface OAuthClientInput {
  readonly name: string
  readonly redirectUris?: readonly string[]
  readonly scopes?: readonly ScopeName[]
  /** Default: `authorization_code` and `refresh_token` for a client with redirect URIs, otherwise none. */
  readonly grants?: readonly OAuthGrant[]
  /** `false` for a client that cannot keep a secret, such as a browser or desktop application. Default `true`. */
  readonly confidential?: boolean
}

/** Describes a client in the store. It has no secret. */
export interface OAuthClientRecord {
  readonly id: string
  readonly owner: StoreOwner
  readonly name: string
  readonly redirectUris: readonly string[]
  readonly scopes: readonly string[]
  readonly grants: readonly OAuthGrant[]
  readonly confidential: boolean
  /** ISO 8601. */
  readonly createdAt: string
}

/** A client with its secret, which is shown once. `null` for a public client. */
export interface NewOAuthClient {
  readonly client: OAuthClientRecord
  readonly secret: string | null
}

/** The clients of any owner. For an id that comes from a request, use {@link OwnerOAuthClients}. */
export interface AnyOwnerOAuthClients {
  /** Returns a client, or `null` if there is no such client. */
  get (id: string): Promise<OAuthClientRecord | null>
  /** Removes a client. Its tokens are refused after at most 10 seconds. Returns `false` if there was none. */
  remove (id: string): Promise<boolean>
}

/** The clients that one owner has added. A client of somebody else is treated like one that does not exist. */
export interface OwnerOAuthClients extends AnyOwnerOAuthClients {
  /**
   * Adds a client of the owner, and returns its secret, which cannot be read again.
   * @throws {AuthError} `AUTH_FAULT` for a wrong redirect URI, scope or grant.
   */
  create (input: OAuthClientInput): Promise<NewOAuthClient>
  /** Lists the clients, the newest first. */
  list (): Promise<readonly OAuthClientRecord[]>
  /** Replaces the given fields. Returns `null` if there is no such client. */
  update (
    id: string, change: Partial<Omit<OAuthClientInput, 'confidential'>>
  ): Promise<OAuthClientRecord | null>
  /**
   * Gives a confidential client a new secret. The old one is accepted for the time of `overlap`.
   * @returns `null` if there is no such client, or it is public.
   */
  rotateSecret (id: string, options: { readonly overlap: Duration }): Promise<NewOAuthClient | null>
}

/** The remembered consents of one person. */
export interface OwnerConsents {
  /** Lists the remembered consents. */
  list (): Promise<ReadonlyArray<{
    readonly client: string
    readonly scopes: readonly string[]
    /** ISO 8601. */
    readonly givenAt: string
  }>>
  /** Forgets the consent to a client, so that the person is asked again. Grants go on: see `tokens.of()`. */
  remove (client: string): Promise<boolean>
}

/** Type of `app.gatehouse.oauth`. Every call is `AUTH_FAULT` if `oauthServer` is not registered. */
export interface GatehouseOAuth {
  readonly clients: {
    /** Returns the clients of one owner: a principal, or any `{ realm, id }`. */
    of (owner: StoreOwner): OwnerOAuthClients
    /** Returns the clients of all owners, for administration. */
    ofAnyOwner (): AnyOwnerOAuthClients
  }
  readonly consents: {
    /** Returns the remembered consents of one person. */
    of (owner: StoreOwner): OwnerConsents
  }
}
