import { createServer } from 'node:http'
import type { Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { PublicJwk } from './signing-key.js'

/**
 * Names a failure of an endpoint: no answer, the status 404, a page that is not JSON, 50 MB, one byte a second, or a
 * redirect to the right document.
 */
export type IssuerFailure = 'hang' | '404' | 'html' | 'huge' | 'slow' | 'redirect'

/** Names an endpoint of an issuer. */
export type IssuerEndpoint = 'metadata' | 'keys'

/** Names the location of the metadata: below the issuer, or inserted before its path. */
export type MetadataForm = 'oauth' | 'openid' | 'openid-inserted'

/** Options of {@link issuerServer}. */
export interface IssuerServerOptions {
  readonly path: string
  readonly metadata: MetadataForm
  readonly cacheControl: string | null
  readonly jwks: () => { readonly keys: readonly PublicJwk[] }
}

/** The server of a fake issuer, which is not listening yet. */
export interface IssuerServer {
  readonly http: Server
  readonly requests: Record<IssuerEndpoint, number>
  fail (failure: IssuerFailure | null, endpoint?: IssuerEndpoint): void
}

/** Creates the server of a fake issuer. */
export function issuerServer ({ path, metadata, cacheControl, jwks }: IssuerServerOptions): IssuerServer {
  const failures: Record<IssuerEndpoint, IssuerFailure | null> = { metadata: null, keys: null }
  const requests = { metadata: 0, keys: 0 }
  const http = createServer((request, response) => {
    // the port is not known before the server listens
    const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
    const documents: Record<string, [IssuerEndpoint, () => object]> = {
      [metadataPath(path, metadata)]: [
        'metadata', () => ({ issuer: `${origin}${path}`, jwks_uri: `${origin}/jwks.json` })
      ],
      '/jwks.json': ['keys', jwks]
    }
    const { url = '' } = request
    const redirected = url.startsWith(elsewhere)
    const found = documents[redirected ? url.slice(elsewhere.length) : url]
    if (found === undefined) return fail(response, '404', { url, text: '' })
    const [endpoint, make] = found
    requests[endpoint]++
    const failure = failures[endpoint]
    const text = JSON.stringify(make())
    if (failure !== null && !redirected) return fail(response, failure, { url, text })
    response.writeHead(
      200,
      {
        'content-type': 'application/json',
        ...cacheControl === null || endpoint === 'metadata' ? {} : { 'cache-control': cacheControl }
      }
    )
    response.end(text)
  })
  return {
    http,
    requests,
    fail (failure, endpoint) {
      for (const each of ['metadata', 'keys'] as const) {
        if (endpoint === undefined || endpoint === each) failures[each] = failure
      }
    }
  }
}

/** The path below which redirects lead to the right document. */
const elsewhere = '/elsewhere'

/** Returns the path of the metadata. A slash at the end of the issuer is removed (RFC 8414, 3.1). */
function metadataPath (issuerPath: string, form: MetadataForm): string {
  const path = issuerPath.replace(/\/$/, '')
  switch (form) {
    case 'oauth': return `/.well-known/oauth-authorization-server${path}`
    case 'openid': return `${path}/.well-known/openid-configuration`
    case 'openid-inserted': return `/.well-known/openid-configuration${path}`
  }
}

function fail (
  response: ServerResponse, failure: IssuerFailure, { url, text }: { readonly url: string, readonly text: string }
): void {
  switch (failure) {
    case 'hang': return
    case '404': response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}'); return
    case 'html': response.writeHead(200, { 'content-type': 'text/html' }).end(
      '<!doctype html><title>Please log in</title>'
    ); return
    case 'redirect': response.writeHead(302, { location: `${elsewhere}${url}` }).end(); return
    case 'huge': sendHuge(response); return
    case 'slow': sendSlowly(response, text)
  }
}

/** Sends 50 MB that begin like a JWK set, as fast as the client reads them. */
function sendHuge (response: ServerResponse): void {
  const chunk = Buffer.alloc(1_000_000, ' ')
  let left = 50
  const more = (): void => {
    while (left-- > 0) if (!response.write(chunk)) return
    response.end(']}')
  }
  response.writeHead(200, { 'content-type': 'application/json' }).on('drain', more).write('{"keys":[')
  more()
}

/** Sends one byte a second. */
function sendSlowly (response: ServerResponse, text: string): void {
  let sent = 0
  response.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => { response.write(text.charAt(sent++)) }, 1000)
  response.on('close', () => { clearInterval(timer) })
}
