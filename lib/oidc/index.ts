export { oidcLogin } from './plugin.js'
export type {
  OAuthLoginOptions, OidcClaims, OidcLogin, OidcLoginOptions, OidcLogoutOptions, OidcTokens, OpenIdLoginOptions
} from '../../types/oidc.js'
