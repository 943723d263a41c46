import { request as requestHttp } from 'node:http'
import type { Agent, IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { LookupFunction } from 'node:net'

/** How a document may be fetched. */
export interface FetchOptions {
  /** Milliseconds for the connection, the head and the body together. */
  readonly timeout: number
  readonly maxBytes: number
  /** For proxies and private certificate authorities; `null`: the global one. */
  readonly agent: Agent | null
  /**
   * Resolves host names, and may refuse one by calling back with an error. Never asked for IP addresses. `null`: the
   * resolver of the system.
   */
  readonly lookup: LookupFunction | null
  /** Ends the fetch early. It must not outlive the fetch: what is derived from it is kept as long as it is. */
  readonly signal: AbortSignal
}

/** A JSON document. */
export interface FetchedJson {
  readonly value: unknown
  /** `max-age` of `Cache-Control`, in seconds; `null` when there is none. */
  readonly maxAge: number | null
}

/** Why there is no document. */
export interface FetchFailure {
  /** In words of ours: never text of the source. */
  readonly failure: string
  /** The source answered, with something else. */
  readonly answered: boolean
}

/**
 * Gets one JSON document: status 200 and a JSON media type only, UTF-8 whatever the media type says of its charset, no
 * redirects. Bytes are counted while they are read. Resolves to a {@link FetchFailure} for everything that goes wrong.
 *
 * @example
 * const fetched = await fetchJson(new URL('https://id.example.com/jwks.json'), { timeout: 5_000, maxBytes: 262_144, agent: null, lookup: null, signal })
 * if ('failure' in fetched) return fetched.failure
 */
export async function fetchJson (url: URL, options: FetchOptions): Promise<FetchedJson | FetchFailure> {
  const deadline = AbortSignal.timeout(options.timeout)
  try {
    const response = await open(url, { ...options, signal: AbortSignal.any([deadline, options.signal]) })
    return await read(response, options.maxBytes)
  } catch (error) {
    return notAnswered(
      deadline.aborted
        ? `no complete answer within ${options.timeout / 1000} seconds`
        : `the connection failed${codeOf(error)}`
    )
  }
}

/** Sends the request, and resolves when the head of the answer is there. */
async function open (url: URL, { agent, lookup, signal }: FetchOptions): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? requestHttps : requestHttp
  // fetches are rare: a connection that was kept would be closed by the other side before the next one, and seem good
  const headers = {
    accept: 'application/json', 'accept-encoding': 'identity', connection: 'close', 'user-agent': 'fastify-gatehouse'
  }
  return await new Promise((resolve, reject) => {
    const attempt = (): void => {
      const request = send(
        url, { headers, signal, ...agent === null ? {} : { agent }, ...lookup === null ? {} : { lookup } }
      )
        .on('response', resolve)
        // the agent may have had such a connection of somebody else
        .on('error', error => { if (request.reusedSocket && !signal.aborted) attempt(); else reject(error) })
      request.end()
    }
    attempt()
  })
}

async function read (response: IncomingMessage, maxBytes: number): Promise<FetchedJson | FetchFailure> {
  const refused = headFault(response)
  if (refused !== null) {
    response.destroy()
    return answered(refused)
  }
  const body = await bodyOf(response, maxBytes)
  if (body === null) return answered(`the answer is longer than ${maxBytes} bytes`)
  const value = parse(body)
  return value === undefined
    ? answered('the answer is not JSON')
    : { value, maxAge: maxAgeOf(response.headers['cache-control']) }
}

function headFault ({ statusCode, headers }: IncomingMessage): string | null {
  if (statusCode !== 200) return `the answer has status ${statusCode}`
  const [type = ''] = (headers['content-type'] ?? 'application/json').split(';')
  return /^application\/(?:[\w.+-]+\+)?json$/i.test(type.trim()) ? null : 'the answer is not JSON by its content type'
}

/** Reads a body; `null` when it is too long, and the connection is then closed. */
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

/** Parses JSON; `undefined`, which JSON has no word for, for anything else. */
function parse (body: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(body.toString())
    return value
  } catch {
    return undefined
  }
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

/** The code of an error of the system, TLS or HTTP. Its message may be text of the source. */
function codeOf (error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : null
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,60}$/.test(code) ? ` (${code})` : ''
}
