import type { Finding, FindingId } from '../../types/doctor.js'
import { howToFixSecret } from '../secrets/check-secret.js'

/** Describes one kind of finding. */
interface Description extends Pick<Finding, 'severity' | 'what' | 'why' | 'fix'> {
  /**
   * The boots that log it: all of them, or those in production only. `command` and `request`: none, because it is found
   * by the command or while requests are served.
   */
  readonly at: 'boot' | 'production' | 'command' | 'request'
}

/** Describes every finding. The documentation lists them in this order. */
export const descriptions: Readonly<Record<FindingId, Description>> = {
  'placeholder-secret': {
    severity: 'refused',
    at: 'production',
    what: 'a secret is meant for development, or is the placeholder of an example',
    why: 'Whoever has read the example or the repository knows it.',
    fix: howToFixSecret
  },
  'insecure-cookies': {
    severity: 'refused',
    at: 'boot',
    what: 'session cookies are sent without Secure and __Host-, because secure is false',
    why: 'Over plain HTTP, everybody on the way can read them and become the person.',
    fix: 'Leave secure out. Chrome, Edge and Firefox accept the cookies on http://localhost; Safari needs https.'
  },
  'plain-http': {
    severity: 'refused',
    at: 'production',
    what: 'an issuer or its keys have a plain http URL',
    why: 'Everybody on the way can replace the keys, and then sign tokens.',
    fix: 'Use an https URL. A host in a private network without TLS can be named in insecureHosts.'
  },
  'test-kit': {
    severity: 'refused',
    at: 'production',
    what: 'the test kit is loaded',
    why: 'It exists to go past authentication.',
    fix: 'Import fastify-gatehouse/testing in tests only.'
  },
  'insecure-hosts': {
    severity: 'warned',
    at: 'production',
    what: 'keys are fetched by plain http, from a host in insecureHosts',
    why: 'Everybody on the way can replace the keys, and then sign tokens.',
    fix: 'Use an https URL, and leave insecureHosts out.'
  },
  'memory-store': {
    severity: 'warned',
    at: 'production',
    what: 'the store is in the memory of the process',
    why: 'A restart loses what is in it, also what was revoked, and other instances do not see it.',
    fix: 'Set the option store to sqlStore() or redisStore().'
  },
  'shared-secret': {
    severity: 'warned',
    at: 'boot',
    what: 'one secret is used for two purposes',
    why: 'A leak of one is a leak of the other.',
    fix: 'Give each its own.'
  },
  'trust-proxy-all': {
    severity: 'warned',
    at: 'boot',
    what: 'trustProxy is true',
    why: 'request.ip is then the leftmost address of X-Forwarded-For, which the client writes itself: every guess ' +
      'may come with an address of its own.',
    fix: "Name the proxies instead, such as trustProxy: '10.0.0.0/8' or 'loopback'."
  },
  'trust-proxy-count': {
    severity: 'warned',
    at: 'boot',
    what: 'trustProxy is a number',
    why: "With a number, Fastify trusts no address, so all clients behind the proxy have the proxy's address and " +
      'share its guesses.',
    fix: "Name the proxies instead, such as trustProxy: '10.0.0.0/8' or 'loopback'."
  },
  'cors-credentials': {
    severity: 'warned',
    at: 'command',
    what: 'CORS allows credentials to every origin',
    why: 'A page of any site can read what these routes answer to the cookies of its visitors.',
    fix: 'List the origins, or set credentials to false.'
  },
  'unlimited-login': {
    severity: 'warned',
    at: 'request',
    what: 'a person was logged in without guesses.attempt',
    why: 'If this route verifies a password, the guesses at it are not limited.',
    fix: 'Verify it within app.gatehouse.guesses.attempt(). If the route needs no password, ignore this finding.'
  },
  'query-credentials': {
    severity: 'warned',
    at: 'production',
    what: 'credentials are read from the query',
    why: 'URLs are kept in the logs of proxies, in histories and in the header Referer.',
    fix: 'Read them from a header.'
  },
  'unredacted-logger': {
    severity: 'warned',
    at: 'boot',
    what: 'credentials travel in query parameters, Fastify logs URLs, and the logger is not pino',
    why: 'The plugin cannot hide them in the log.',
    fix: 'Serialize requests with redactRequest({ query }).'
  },
  'unredacted-trace': {
    severity: 'warned',
    at: 'boot',
    what: 'credentials travel in query parameters, and the log level is trace',
    why: 'Fastify then logs the bytes of requests that it cannot parse.',
    fix: 'Give the logger the serializer err: redactRequest({ query }), or another level.'
  },
  'unredacted-not-found': {
    severity: 'warned',
    at: 'boot',
    what: 'credentials travel in query parameters, and the log of requests for unknown paths cannot be reached',
    why: 'The plugin cannot hide them there.',
    fix: 'Register the plugin on the outermost instance and before setNotFoundHandler, or give the logger the ' +
      'serializer req: redactRequest({ query }).'
  },
  'public-without-reason': {
    severity: 'warned',
    at: 'production',
    what: 'public routes or paths have no reason',
    why: 'Nobody can tell later if they are public on purpose.',
    fix: "Write auth: { public: 'why' } on the route, or { path, reason } in publicPaths."
  },
  'unused-public-path': {
    severity: 'warned',
    at: 'boot',
    what: 'this public path opens no route',
    why: 'It may be misspelled, and opens whatever route is added there later.',
    fix: 'Correct it, or remove it from publicPaths. It opens no route that has a config.auth or a group default. If ' +
      "it ends with '/*', it opens no route with parameters either: list those by their own patterns."
  },
  'unused-scheme': {
    severity: 'warned',
    at: 'production',
    what: 'no route accepts this scheme',
    why: 'It may have been forgotten on a route.',
    fix: 'Name it on a route or in the default, or remove it.'
  },
  'unused-scope': {
    severity: 'warned',
    at: 'production',
    what: 'no rule requires this scope',
    why: 'It may have been forgotten on a route, and those who get it believe that it means something.',
    fix: 'Require it on a route, or remove it from the option scopes.'
  },
  'missing-login-page': {
    severity: 'warned',
    at: 'boot',
    what: 'no route answers GET for the login page of this scheme',
    why: 'Browsers are redirected to a page that does not exist.',
    fix: 'Add the route, or correct loginPath.'
  },
  'issuer-origin': {
    severity: 'warned',
    at: 'production',
    what: 'the issuer of the authorization server has another origin than the audience of its tokens',
    why: 'Clients look for the metadata at the origin of the issuer, and this application has to answer there.',
    fix: 'Use the same origin for both. If this application answers at both, ignore this finding.'
  },
  'long-reuse-grace': {
    severity: 'warned',
    at: 'boot',
    what: 'reuseGrace is above 2 minutes',
    why: 'A stolen refresh token can be exchanged for as long after its owner has used it.',
    fix: 'Leave it out: 30 seconds are enough for tabs that refresh at once.'
  },
  'refresh-without-load': {
    severity: 'warned',
    at: 'boot',
    what: 'there are refresh tokens, but no load function',
    why: 'People keep the scopes and roles that they were granted until the grant ends.',
    fix: 'Give the scheme or the plugin a load function.'
  },
  'redis-eviction': {
    severity: 'warned',
    at: 'command',
    what: 'Redis may evict records, by its maxmemory-policy',
    why: 'An evicted revocation or count no longer refuses anything.',
    fix: 'Set maxmemory-policy to noeviction.'
  }
}

/** Returns the ids of all findings. */
export const findingIds = Object.keys(descriptions) as readonly FindingId[]

/** The places of a sentence that are listed. A boot must not log thousands of routes. */
const maxPlaces = 10

/** Writes a finding as one line, for logs and the message that stops a boot. */
export function sentenceOf ({ what, where, why, fix }: Finding): string {
  const more = where.length > maxPlaces ? ` and ${where.length - maxPlaces} more` : ''
  return `${what} (${where.slice(0, maxPlaces).join(', ')}${more}). ${why} ${fix}`
}
