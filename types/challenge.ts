/** One `WWW-Authenticate` value (RFC 9110, 11.6.1), before it is written: numbers stay bare, strings are quoted and escaped. */
export interface Challenge {
  /** The HTTP authentication scheme: `Bearer`, `Basic`. */
  readonly scheme: string
  /** What is `undefined` is left out. */
  readonly params: Readonly<Record<string, string | number | undefined>>
}
