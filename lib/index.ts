export { plugin as default } from './plugin.js'
export { AuthError } from './errors.js'
export { redactRequest } from './guard/redact.js'
export { secretsFromEnvironment, type SecretPurpose, type SecretsOf } from './secrets/environment.js'

// Schemes
export { apiKey, type ApiKeyOptions } from './schemes/api-key/scheme.js'
export { apiKeyRoutes } from './schemes/api-key/routes.js'
export type { ApiKeyRoutesOptions } from './schemes/api-key/routes-options.js'
export { basic, type BasicOptions } from './schemes/basic/scheme.js'
export {
  jwt, type Claims, type Jwk, type JwtCredential, type JwtIssuer, type JwtOptions
} from './schemes/jwt/scheme.js'
export { session, type SessionCredential, type SessionOptions } from './schemes/session/scheme.js'

// Stores
export { memoryStore } from './stores/memory/index.js'
export { withDeadline } from './stores/deadline.js'
export { StoreUnavailable } from './stores/operations.js'
export type {
  JsonObject, Store, StoreChange, StoreCount, StoreEntry, StoreIncrement, StoreOwner, StoreRecord
} from '../types/store.js'

// For schemes of one's own
export { absent, authenticated, crossSite, expired, foreign, invalid, limited, unavailable } from './kit/outcome.js'
export { read, type Reading } from './kit/read-credential.js'
export type { Outcome } from '../types/outcome.js'
export type { Challenge, CredentialSource, Load, Scheme, SchemeContext, SchemeFactory } from '../types/scheme.js'

// The application: options, routes, requests, calls
export type { ApiKeyCredential, ApiKeyInput, ApiKeyRecord, NewApiKey } from '../types/api-keys.js'
export type { AuditRow } from '../types/audit.js'
export type { Finding } from '../types/doctor.js'
export type { GatehouseEvents } from '../types/events.js'
// Declares the additions to Fastify's types.
export type {} from '../types/fastify.js'
export type { Gatehouse } from '../types/gatehouse.js'
export type { AnyPrincipal, PlanName, PrincipalOf, RoleName, SchemeName, SchemesOf, ScopeName } from '../types/names.js'
export type { Duration, ErrorWriter, GatehouseOptions } from '../types/options.js'
export type { AuthErrorCode, AuthFailure } from '../types/outcome.js'
export type { Principal, PrincipalFrom, PrincipalInput } from '../types/principal.js'
// The interfaces that an application fills: TypeScript merges declarations of this module only with what a star
// exports.
export type * from '../types/registry.js'
export type { RequestAuth } from '../types/request-auth.js'
export type { GroupAuth, RouteAuth } from '../types/route-auth.js'
export type { SessionRecord } from '../types/sessions.js'
export type { GrantedTokens, GrantRecord } from '../types/tokens.js'
