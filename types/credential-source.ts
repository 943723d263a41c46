/**
 * Names the part of a request that carries a credential: `Authorization: Bearer`, another word in `Authorization`
 * (`authorization:Token`), the user name of HTTP Basic with an empty password (`curl -u KEY:`), a header, a query
 * parameter or a cookie.
 */
export type CredentialSource =
  | 'bearer'
  | 'basic:username'
  | `authorization:${string}`
  | `header:${string}`
  | `query:${string}`
  | `cookie:${string}`
