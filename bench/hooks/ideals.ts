import {
  createHash, createHmac, randomBytes, timingSafeEqual, verify, type KeyObject, type VerifyKeyObjectInput
} from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** A handwritten hook for one path. It throws, or returns the caller that the handler would see. */
export type Ideal = (request: FastifyRequest, reply: FastifyReply) => unknown

/** An error of a refusal as an application would write it: a new one each time, without a stack. */
class Refused extends Error {
  readonly code: string
  readonly statusCode: number

  constructor (code: string, statusCode: number) {
    super('Refused')
    this.code = code
    this.statusCode = statusCode
  }
}

function refused (statusCode: number): Refused {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  const error = new Refused('REFUSED', statusCode)
  Error.stackTraceLimit = stackTraceLimit
  return error
}

/** Throws the refusal of a path, with the headers that every guard has to send. */
function refuse (reply: FastifyReply, status: number, challenge = 'Bearer realm="api"'): never {
  reply.code(status)
  reply.header('cache-control', 'no-store')
  reply.header('www-authenticate', challenge)
  throw refused(status)
}

const bearer = ({ raw }: FastifyRequest): string => String(raw.headers.authorization).slice(7)

export const nothing: Ideal = () => null

export const missing: Ideal = (request, reply) => request.raw.headers.authorization ?? refuse(reply, 401)

/** Looks up a credential by its text, as only a cache of verified ones may. */
export function known (header: 'authorization' | 'cookie', value: string, status = 200): Ideal {
  const callers = new Map([[value, { id: 'alice' }]])
  return ({ raw }, reply) => {
    const caller = callers.get(String(raw.headers[header])) ?? refuse(reply, 401)
    return status === 200 ? caller : refuse(reply, status)
  }
}

/** Looks up a key by its digest. */
export function keys (all: Iterable<string>, status = 200): Ideal {
  const digest = (key: string): string => createHash('sha256').update(key).digest('base64')
  const callers = new Map(Array.from(all, (key, i) => [digest(key), { id: `client-${i}` }]))
  return ({ raw }, reply) => {
    const caller = callers.get(digest(String(raw.headers['x-api-key']))) ?? refuse(reply, 401)
    return status === 200 ? caller : refuse(reply, status)
  }
}

export interface TokenRules {
  readonly issuer: string
  readonly audience: string
  readonly key: string | VerifyKeyObjectInput & { readonly key: KeyObject }
}

/** Verifies a token in as few lines as possible, as a hook for one application would. */
export function tokens ({ issuer, audience, key }: TokenRules): Ideal {
  const digest = typeof key === 'object' && key.key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
  const isSigned = (input: string, signature: Buffer): boolean => typeof key === 'string'
    ? timingSafeEqual(createHmac('sha256', key).update(input).digest(), signature)
    : verify(digest, Buffer.from(input), key, signature)
  return (request, reply) => {
    const token = bearer(request)
    const [first, second] = [token.indexOf('.'), token.lastIndexOf('.')]
    if (!isSigned(token.slice(0, second), Buffer.from(token.slice(second + 1), 'base64url'))) refuse(reply, 401)
    const payload = Buffer.from(token.slice(first + 1, second), 'base64url').toString()
    const claims = JSON.parse(payload) as { iss: string, aud: string, exp: number }
    const isValid = claims.iss === issuer && claims.aud === audience && claims.exp > Date.now() / 1000
    return isValid ? claims : refuse(reply, 401)
  }
}

/** Compares a password with the keyed digest of the one that was verified before. */
export function password (credential: string): Ideal {
  const secret = randomBytes(32)
  const digest = (text: string): Buffer => createHmac('sha256', secret).update(text).digest()
  const kept = digest(credential)
  return ({ raw }, reply) =>
    timingSafeEqual(kept, digest(String(raw.headers.authorization))) ? { id: 'operator' } : refuse(reply, 401)
}

/** Counts requests of one key in a window. */
export function limited (key: string, max: number): Ideal {
  const caller = keys([key])
  const counts = new Map<string, number>()
  return (request, reply) => {
    const { id } = caller(request, reply) as { id: string }
    const count = (counts.get(id) ?? 0) + 1
    counts.set(id, count)
    reply.header('ratelimit-policy', `"default";q=${max};w=3600`)
    reply.header('ratelimit', `"default";r=${max - count};t=3600`)
    return count > max ? refuse(reply, 429) : id
  }
}
