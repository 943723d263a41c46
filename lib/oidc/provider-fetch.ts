import type { CustomFetch } from 'openid-client'
import { requestJson, type JsonRequest } from '../jose/remote/fetch-json.js'
import { isObject, ownFields } from '../util/objects.js'
import type { ProviderSettings } from './options.js'

/** Milliseconds for one request to a provider. */
const timeout = 5_000
const maxBytes = 262_144

/** A provider that does not answer, or answers something that is not of the protocol. */
export class ProviderDown extends Error {}

/**
 * Returns the `fetch` that `openid-client` uses: JSON only, with limits of time and size, and without redirects.
 * @param running all running requests, which are aborted when the application closes.
 */
export function createFetch (
  { agent }: Pick<ProviderSettings, 'agent'>, running: Set<AbortController>
): CustomFetch {
  return async (text, options) => {
    const url = new URL(text)
    const request = requestOf(options)
    const abort = new AbortController()
    running.add(abort)
    const fetched = await requestJson(url, request, { timeout, maxBytes, agent, lookup: null, signal: abort.signal })
    running.delete(abort)
    const place = `${url.host}${url.pathname}`.slice(0, 200)
    if ('failure' in fetched) throw new ProviderDown(`${place}: ${fetched.failure}`)
    const { value, status } = fetched
    // some providers answer errors with 200
    const isError = isObject(value) && typeof ownFields(value)['error'] === 'string'
    if (status !== 200 && !isError) throw new ProviderDown(`${place}: the answer has status ${status}`)
    return Response.json(value, { status: isError && request.method === 'POST' ? 400 : status })
  }
}

type FetchOptions = Parameters<CustomFetch>[1]

/** The library reads documents, and posts forms to the token endpoint, whose errors have a status from 400 on. */
function requestOf ({ method, headers, body }: FetchOptions): JsonRequest {
  if (method !== 'POST') return { method: 'GET', headers, body: null, accepts: status => status === 200 }
  const accepts = (status: number): boolean => status === 200 || (status >= 400 && status < 500 && status !== 429)
  return { method, headers, body: String(body), accepts }
}
