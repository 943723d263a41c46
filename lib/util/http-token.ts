/**
 * Returns true for a token of RFC 9110, 5.6.2: the name of a header, of a cookie, of an authentication scheme, of a
 * parameter.
 */
export function isHttpToken (text: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)
}
