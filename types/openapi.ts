/** Describes one flow of OAuth 2.0 (OAuth Flow Object). The required URLs depend on the flow. */
export interface OpenApiOAuthFlow {
  readonly authorizationUrl?: string
  readonly deviceAuthorizationUrl?: string
  readonly tokenUrl?: string
  readonly refreshUrl?: string
  /** Descriptions by scope. Further scopes that routes require are added. */
  readonly scopes: Readonly<Record<string, string>>
}

/** Lists the flows of an authorization server (OAuth Flows Object). */
export interface OpenApiOAuthFlows {
  readonly implicit?: OpenApiOAuthFlow
  readonly password?: OpenApiOAuthFlow
  readonly clientCredentials?: OpenApiOAuthFlow
  readonly authorizationCode?: OpenApiOAuthFlow
  /** Since OpenAPI 3.2; left out of older documents. */
  readonly deviceAuthorization?: OpenApiOAuthFlow
}

interface OpenApiSchemeFields {
  readonly description?: string
  /** Since OpenAPI 3.2; left out of older documents. */
  readonly deprecated?: boolean
}

/** Describes a security scheme in OpenAPI 3 (Security Scheme Object). */
export type OpenApiSecurityScheme = OpenApiSchemeFields & (
  | { readonly type: 'http', readonly scheme: string, readonly bearerFormat?: string }
  | { readonly type: 'apiKey', readonly in: 'header' | 'query' | 'cookie', readonly name: string }
  | { readonly type: 'openIdConnect', readonly openIdConnectUrl: string }
  | {
    readonly type: 'oauth2'
    readonly flows: OpenApiOAuthFlows
    /** The metadata URL of RFC 8414. Since OpenAPI 3.2; left out of older documents. */
    readonly oauth2MetadataUrl?: string
  }
  /** Since OpenAPI 3.1; older documents cannot describe it. */
  | { readonly type: 'mutualTLS' }
)
