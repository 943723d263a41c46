const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/**
 * Parses the URL of a document that is trusted because of the connection it comes by: https, or plain http to a
 * loopback host or one of `insecureHosts`. Returns why it is refused otherwise.
 *
 * @example
 * sourceUrl('http://id.example.com/jwks', []) // 'must be an https URL'
 */
export function sourceUrl (text: string, insecureHosts: readonly string[]): URL | string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^https?:$/.test(url.protocol)) return 'must be an https URL'
  if (url.username !== '' || url.password !== '') return 'must not have a user name or password'
  if (url.protocol === 'https:' || loopback.test(url.hostname) || insecureHosts.includes(url.hostname)) return url
  return 'must be an https URL: plain http is for loopback hosts, and for hosts that insecureHosts names'
}
