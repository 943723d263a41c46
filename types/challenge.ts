/**
 * Describes one challenge of the header `WWW-Authenticate` (RFC 9110, 11.6.1). When it is serialised, strings are
 * quoted and escaped, and numbers are not.
 */
export interface Challenge {
  /** The HTTP authentication scheme, such as `Bearer` or `Basic`. */
  readonly scheme: string
  /** The parameters. Those that are `undefined` are left out. */
  readonly params: Readonly<Record<string, string | number | undefined>>
}
