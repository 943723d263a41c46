import type { FastifyRequest } from 'fastify'
import { reader } from '../schemes/read.js'
import type { Seal } from './seal.js'

/** Milliseconds in which a person must have logged in to be sent on. */
const lifetime = 3_600_000

/** Longer ones are not worth a Location header of several kilobytes. */
const longest = 2_000

/**
 * Whether a text leads nowhere but to this application: one slash, no second one and no backslash (browsers read `/\` as `//`),
 * and printable ASCII only, as browsers drop tabs and line ends before they parse.
 */
export function isLocalPath (path: string): boolean {
  return path.length <= longest && /^\/(?!\/)[!-[\]-~]*$/.test(path)
}

/** The path of a GET request, sealed for the login page; `null` where there is none to come back to. */
export function sealReturnPath (seal: Seal, request: FastifyRequest): string | null {
  if (request.method !== 'GET') return null
  const path = request.originalUrl
  return isLocalPath(path) ? seal.seal({ p: path, t: Date.now() }) : null
}

const readReturnTo = reader('query:returnTo', 'returnTo')

/** The path in `?returnTo=`, if this scheme sealed it within the hour; else `fallback`. */
export function openReturnPath (seal: Seal, request: FastifyRequest, fallback: string): string {
  const sealed = readReturnTo(request)
  const opened = typeof sealed === 'string' ? seal.open(sealed) : null
  if (opened === null) return fallback
  const { p: path, t: sealedAt } = opened.payload
  const fresh = typeof sealedAt === 'number' && Date.now() - sealedAt < lifetime
  return fresh && typeof path === 'string' && isLocalPath(path) ? path : fallback
}
