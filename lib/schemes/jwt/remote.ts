import { Agent } from 'node:http'
import { misconfigured } from '../../errors.js'
import { isSymmetric } from '../../jose/algorithms.js'
import type { Algorithm } from '../../jose/algorithms.js'
import type { VerificationKey } from '../../jose/jwk.js'
import type { RemoteOptions, RemoteSource } from '../../jose/remote/remote-keys.js'
import { sourceUrl } from '../../jose/remote/source-url.js'
import { parseDuration } from '../../util/duration.js'

type Options = Readonly<Record<string, unknown>>

/** The options of {@link JwtOptions} that are about fetched keys. */
export const remoteOptionNames = ['cooldown', 'staleFor', 'insecureHosts', 'agent'] as const

/** How keys are fetched, as far as the options say it. */
export type RemoteSettings = Pick<RemoteOptions, 'cooldown' | 'staleFor' | 'insecureHosts' | 'agent'>

/** Parses the options about fetched keys. @throws {AuthError} `AUTH_MISCONFIGURED`, naming the option. */
export function remoteSettings (options: Options, place: string): RemoteSettings {
  const { cooldown = 30, staleFor = '24h', insecureHosts = [], agent = null } = options
  const pause = parseDuration(cooldown, `The option cooldown of ${place}`)
  if (pause === 0) throw misconfigured(`The option cooldown of ${place} must be more than 0: every unknown key would be asked for.`)
  if (agent !== null && !(agent instanceof Agent)) throw misconfigured(`The option agent of ${place} must be an Agent of node:https, or of node:http for hosts without TLS.`)
  return { cooldown: pause * 1000, staleFor: parseDuration(staleFor, `The option staleFor of ${place}`) * 1000, insecureHosts: hosts(insecureHosts, place), agent }
}

function hosts (value: unknown, place: string): readonly string[] {
  if (Array.isArray(value) && value.every(isHost)) return value
  throw misconfigured(`The option insecureHosts of ${place} must be a list of host names in small letters, without scheme and port, such as ['keycloak'].`)
}

/** Returns true for a host name as URLs have it. */
function isHost (value: unknown): value is string {
  return typeof value === 'string' && URL.canParse(`http://${value}`) && new URL(`http://${value}`).host === value && !/:\d+$/.test(value)
}

/** Returns true for keys that are to be fetched from a URL. */
export function isKeysUrl (keys: unknown): keys is string | URL {
  return keys instanceof URL || (typeof keys === 'string' && /^\s*https?:\/\//i.test(keys))
}

/** What is known of an issuer before its keys are fetched. */
export interface RemoteIssuer {
  readonly issuer: string | null
  readonly algorithms: readonly Algorithm[] | null
  readonly check: (key: VerificationKey) => void
  readonly insecureHosts: readonly string[]
  readonly place: string
}

/** The source of keys at a URL. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function sourceAt (keys: string | URL, { issuer, algorithms, check, insecureHosts, place }: RemoteIssuer): RemoteSource {
  const url = sourceUrl(String(keys).trim(), insecureHosts)
  if (!(url instanceof URL)) throw misconfigured(`The option keys of ${place} ${url}.`)
  return { issuer, url, check, algorithms: published(algorithms, place) }
}

/** The source of keys where the metadata of the issuer says. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function sourceByDiscovery ({ issuer, algorithms, check, insecureHosts, place }: RemoteIssuer): RemoteSource {
  if (issuer === null) throw misconfigured(`${place} needs keys: without an issuer nobody can be asked for them.`)
  const url = sourceUrl(issuer, insecureHosts)
  const fault = !(url instanceof URL) ? url : /[?#]/.test(issuer) ? 'must not have a query or fragment' : null
  if (fault !== null) throw misconfigured(`${place} needs keys, because its issuer cannot be asked for them: it ${fault}.`)
  return { issuer, url: null, check, algorithms: published(algorithms, place) }
}

function published (algorithms: readonly Algorithm[] | null, place: string): readonly Algorithm[] | null {
  if (algorithms === null || !algorithms.some(isSymmetric)) return algorithms
  throw misconfigured(`The option algorithms of ${place} names HMAC, whose secrets nobody publishes. Name the algorithms of public keys, or give keys.`)
}
