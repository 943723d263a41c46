/** One flow of OAuth 2.0 (OAuth Flow Object). Which URLs it has depends on the flow. */
export interface OpenApiOAuthFlow {
  readonly authorizationUrl?: string
  readonly deviceAuthorizationUrl?: string
  readonly tokenUrl?: string
  readonly refreshUrl?: string
  /** From scope to description. Scopes that routes ask for are added. */
  readonly scopes: Readonly<Record<string, string>>
}

/** The flows of an authorization server (OAuth Flows Object). */
export interface OpenApiOAuthFlows {
  readonly implicit?: OpenApiOAuthFlow
  readonly password?: OpenApiOAuthFlow
  readonly clientCredentials?: OpenApiOAuthFlow
  readonly authorizationCode?: OpenApiOAuthFlow
  /** From OpenAPI 3.2 on; left out of older documents. */
  readonly deviceAuthorization?: OpenApiOAuthFlow
}

interface OpenApiSchemeFields {
  readonly description?: string
  /** From OpenAPI 3.2 on; left out of older documents. */
  readonly deprecated?: boolean
}

/** A security scheme as OpenAPI 3 describes it (Security Scheme Object). */
export type OpenApiSecurityScheme = OpenApiSchemeFields & (
  | { readonly type: 'http', readonly scheme: string, readonly bearerFormat?: string }
  | { readonly type: 'apiKey', readonly in: 'header' | 'query' | 'cookie', readonly name: string }
  | { readonly type: 'openIdConnect', readonly openIdConnectUrl: string }
  | {
    readonly type: 'oauth2'
    readonly flows: OpenApiOAuthFlows
    /** RFC 8414. From OpenAPI 3.2 on; left out of older documents. */
    readonly oauth2MetadataUrl?: string
  }
  /** From OpenAPI 3.1 on; older documents cannot describe it. */
  | { readonly type: 'mutualTLS' }
)
