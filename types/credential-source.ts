/** Where a credential travels: `Authorization: Bearer`, a header, a query parameter, a cookie. */
export type CredentialSource = 'bearer' | `header:${string}` | `query:${string}` | `cookie:${string}`
