import { Agent, request as requestHttp, type IncomingMessage } from 'node:http'
import { isError, misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { parseJson } from '../../util/encoding.js'

/** Options of {@link fetchJson}. */
export interface FetchOptions {
  /** The time limit for the connection, the headers and the body together, in milliseconds. */
  readonly timeout: number
  readonly maxBytes: number
  /** The agent, for proxies and private certificate authorities; `null`: the global one. */
  readonly agent: Agent | null
  /** Aborts the fetch. It must not outlive the fetch, because it keeps all signals that are derived from it. */
  readonly signal: AbortSignal
}

/** A request of {@link requestJson}. */
export interface JsonRequest {
  readonly method: 'GET' | 'POST'
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | null
  /** Returns true for a status whose body is of use. */
  readonly accepts: (status: number) => boolean
}

/** A fetched JSON document. */
export interface FetchedJson {
  readonly status: number
  readonly value: unknown
  /** `max-age` of `Cache-Control` in seconds; `null` if there is none. */
  readonly maxAge: number | null
}

/** The reason why a document could not be fetched. */
export interface FetchFailure {
  /** The reason, which never contains text of the source. */
  readonly failure: string
  /** `true` if the source sent an unusable answer, `false` if it did not answer. */
  readonly answered: boolean
}

/**
 * Fetches one JSON document with the status 200 and a JSON media type. Redirects are not followed, the charset is
 * always UTF-8, and bytes are counted while they are read. Resolves to a {@link FetchFailure} for every error.
 *
 * @example
 * const url = new URL('https://id.example.com/jwks.json')
 * const fetched = await fetchJson(url, { timeout: 5_000, maxBytes: 262_144, agent: null, signal })
 * if ('failure' in fetched) return fetched.failure
 */
export async function fetchJson (url: URL, options: FetchOptions): Promise<FetchedJson | FetchFailure> {
  return await requestJson(url, plainGet, options)
}

const plainGet: JsonRequest = { method: 'GET', headers: {}, body: null, accepts: status => status === 200 }

/** Sends a request whose answer is JSON, with the limits of {@link fetchJson}. */
export async function requestJson (
  url: URL, request: JsonRequest, options: FetchOptions
): Promise<FetchedJson | FetchFailure> {
  const deadline = AbortSignal.timeout(options.timeout)
  try {
    const response = await open(url, request, { ...options, signal: AbortSignal.any([deadline, options.signal]) })
    return await read(response, request, options.maxBytes)
  } catch (error) {
    return notAnswered(
      deadline.aborted
        ? `no complete answer within ${options.timeout / 1000} seconds`
        : `the connection failed${codeOf(error)}`
    )
  }
}

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/** Returns true for keys that have to be fetched from a URL. */
export function isKeysUrl (keys: unknown): keys is string | URL {
  return keys instanceof URL || (typeof keys === 'string' && /^\s*https?:\/\//i.test(keys))
}

/**
 * Parses the URL of a document that is trusted because of the connection it comes by: https, or plain http to a
 * loopback host or one of `insecureHosts`. Otherwise returns the reason for the refusal, as the end of a sentence.
 * @param insecureHosts `null` where no option names such hosts.
 *
 * @example
 * sourceUrl('http://id.example.com/jwks', null) // 'must be an https URL: plain http is for loopback hosts only'
 */
export function sourceUrl (text: string, insecureHosts: readonly string[] | null): URL | string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^https?:$/.test(url.protocol)) return 'must be an https URL'
  if (url.username !== '' || url.password !== '') return 'must not have a user name or password'
  if (url.protocol === 'https:' || loopback.test(url.hostname) || insecureHosts?.includes(url.hostname)) return url
  const others = insecureHosts === null ? ' only' : ', and for hosts that insecureHosts names'
  return `must be an https URL: plain http is for loopback hosts${others}`
}

/**
 * Returns the reason why a text is not an issuer whose metadata can be fetched (RFC 8414, 2), as the end of a sentence;
 * `null` if it is one.
 */
export function issuerUrlProblem (issuer: string, insecureHosts: readonly string[] | null): string | null {
  const url = sourceUrl(issuer, insecureHosts)
  if (typeof url === 'string') return url
  if (issuer.includes('/.well-known/')) return "must be what its metadata calls issuer, without '/.well-known/…'"
  return /[?#]/.test(issuer) ? 'must not have a query or fragment' : null
}

/** Sends the request, and resolves when the headers of the answer have arrived. */
async function open (
  url: URL, { method, headers: own, body }: JsonRequest, { agent, signal }: FetchOptions
): Promise<IncomingMessage> {
  // loaded only now, because https and its TLS are a tenth of what this package takes to load
  const send = url.protocol === 'https:' ? (await import('node:https')).request : requestHttp
  // Fetches are rare. The server would close an idle connection before the next fetch, which would then fail.
  const headers = {
    ...own,
    accept: 'application/json',
    'accept-encoding': 'identity',
    connection: 'close',
    'user-agent': 'fastify-gatehouse',
    ...body === null ? {} : { 'content-length': Buffer.byteLength(body) }
  }
  return await new Promise((resolve, reject) => {
    let isAnswered = false
    const attempt = (): void => {
      const request = send(url, { method, headers, signal, ...agent === null ? {} : { agent } })
        .on('response', response => {
          isAnswered = true
          resolve(response)
        })
        // The agent of the application may have reused such an idle connection. A POST may have had its effect. After
        // the headers, an error is about the body, whose reader gets it too.
        .on('error', error => {
          const mayRepeat = request.reusedSocket && method === 'GET' && !isAnswered && !signal.aborted
          if (mayRepeat) attempt(); else reject(error)
        })
      request.end(body ?? undefined)
    }
    attempt()
  })
}

async function read (
  response: IncomingMessage, { accepts }: JsonRequest, maxBytes: number
): Promise<FetchedJson | FetchFailure> {
  const { headers } = response
  const status = Number(response.statusCode)
  const refused = accepts(status) ? typeProblem(headers['content-type']) : `the answer has status ${status}`
  if (refused !== null) {
    response.destroy()
    return answered(refused)
  }
  const body = await bodyOf(response, maxBytes)
  if (body === null) return answered(`the answer is longer than ${maxBytes} bytes`)
  const value = parseJson(body.toString())
  return value === undefined
    ? answered('the answer is not JSON')
    : { status, value, maxAge: maxAgeOf(headers['cache-control']) }
}

function typeProblem (contentType = 'application/json'): string | null {
  const [type = ''] = contentType.split(';')
  return /^application\/(?:[\w.+-]+\+)?json$/i.test(type.trim()) ? null : 'the answer is not JSON by its content type'
}

/** Reads a body. Returns `null` and closes the connection if it is too long. */
async function bodyOf (response: IncomingMessage, maxBytes: number): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function maxAgeOf (cacheControl: string | undefined): number | null {
  const [, seconds] = /(?:^|[\s,])max-age="?(\d{1,10})/i.exec(cacheControl ?? '') ?? []
  return seconds === undefined ? null : Number(seconds)
}

function answered (failure: string): FetchFailure {
  return { failure, answered: true }
}

function notAnswered (failure: string): FetchFailure {
  return { failure, answered: false }
}

/**
 * Returns the code of an error of the system, TLS or HTTP, but not its message, which may contain text of the source.
 */
function codeOf (error: unknown): string {
  const code: unknown = isError(error) && 'code' in error ? error.code : null
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? ` (${code})` : ''
}

/** Parses the option `agent`: the agent of fetches. */
export function parseAgent (value: unknown, option: string): Agent {
  if (value instanceof Agent) return value
  throw misconfigured(`${option} must be an Agent of node:https, or of node:http for hosts without TLS. Got ` +
    `${describeValue(value)}.`)
}

/** Parses the option `insecureHosts`: the hosts that may be fetched from over plain http. */
export function parseHosts (value: unknown, option: string): readonly string[] {
  if (Array.isArray(value) && [...value].every(isHost)) return Object.freeze([...value])
  throw misconfigured(`${option} must be a list of host names in lower case, without scheme and port, such as ` +
    "['keycloak'].")
}

/** Returns true for a host name in the form that URLs have. */
function isHost (value: unknown): value is string {
  if (typeof value !== 'string' || !URL.canParse(`http://${value}`) || /:\d+$/.test(value)) return false
  return new URL(`http://${value}`).host === value
}

/** Returns the milliseconds since it was created. */
export type Elapsed = () => number

/**
 * Starts a stopwatch. The system clock may be set back, and the monotonic clock may stop while the machine sleeps. The
 * longer of both times counts, so that nothing is cached for longer than intended.
 */
export function elapsed (): Elapsed {
  const date = Date.now()
  const monotonic = performance.now()
  return () => Math.max(Date.now() - date, performance.now() - monotonic)
}

/** The bounds of a pause, in milliseconds. */
interface PauseBounds {
  /** The pause after the first failure, which doubles with each further one. */
  readonly first: number
  readonly longest: number
}

/** Delays the attempts at a server that has failed. */
export class Backoff {
  /** The time since the last attempt, if it failed. */
  #sinceFailure: Elapsed | null = null
  #failures = 0

  /** Returns true if the last attempt failed. */
  get hasFailed (): boolean {
    return this.#sinceFailure !== null
  }

  /** The milliseconds since the last attempt, if it failed; otherwise 0. */
  get failureAge (): number {
    return this.#sinceFailure?.() ?? 0
  }

  noteSuccess (): void {
    this.#sinceFailure = null
    this.#failures = 0
  }

  noteFailure (): void {
    this.#sinceFailure = elapsed()
    this.#failures++
  }

  /** Returns the milliseconds before the next attempt; 0 if there is no need to wait. */
  remaining ({ first, longest }: PauseBounds): number {
    if (this.#sinceFailure === null) return 0
    return Math.max(0, Math.min(first * 2 ** (this.#failures - 1), longest) - this.#sinceFailure())
  }
}
