export { oauthServer } from './plugin.js'
export type {
  AnyOwnerOAuthClients, ConsentPage, ConsentRequest, GatehouseOAuth, NewOAuthClient, OAuthClientInput,
  OAuthClientOptions, OAuthClientRecord, OAuthGrant, OAuthServerOptions, OwnerConsents, OwnerOAuthClients
} from '../../types/oauth.js'
