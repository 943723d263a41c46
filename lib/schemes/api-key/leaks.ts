import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { FastifyBaseLogger, FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { ApiKeyFeature } from '../../../types/api-keys.js'
import { AuthError } from '../../errors.js'
import { property } from '../../util/objects.js'
import type { PublicKeyOf } from './routes-options.js'

interface LeakRouteOptions {
  readonly revokeLeaked: ApiKeyFeature['revokeLeaked']
  readonly publicKeyOf: PublicKeyOf
  readonly bodyLimit: number
}

/** Of one report. */
const mostTokens = 1_000

/**
 * Where leaked keys are reported, in the manner of GitHub's secret scanning partner programme: a list of `{ token, type, url }`, signed over the body as it came.
 * Every report with a good signature gets the same answer, whatever was in it: it never says whether a key was good.
 */
export const leakRoute: FastifyPluginAsync<LeakRouteOptions> = async (app, { revokeLeaked, publicKeyOf, bodyLimit }) => {
  // the signature is over the bytes, so they are not parsed before it is checked; the parsers of the application are not ours to use
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit }, (_request, body, done) => { done(null, body) })

  app.post('/leaks', { bodyLimit, config: { auth: { public: 'reporters sign what they send' } } }, async (request, reply) => {
    if (!Buffer.isBuffer(request.body) || !await isSigned(request, request.body, publicKeyOf)) throw new AuthError('AUTH_ACCESS_DENIED', 'a report of leaked keys without a good signature')
    const tokens = tokensIn(request.body)
    if (tokens === null) return reply.code(400).send({ statusCode: 400, error: 'Bad Request', message: 'A report is a list of up to 1,000 objects, each with a token' })
    request.log.warn({ reported: tokens.length }, 'leaked API keys were reported')
    await revokeAll(tokens, revokeLeaked)
    return reply.code(204).send()
  })
}

async function isSigned ({ headers, log }: FastifyRequest, body: Buffer, publicKeyOf: PublicKeyOf): Promise<boolean> {
  const { 'github-public-key-identifier': identifier, 'github-public-key-signature': signature } = headers
  if (typeof identifier !== 'string' || typeof signature !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(identifier)) return false
  const key = publicKeyFrom(await found(identifier, publicKeyOf, log))
  return key !== null && isSignedBy(key, body, signature)
}

async function found (identifier: string, publicKeyOf: PublicKeyOf, log: FastifyBaseLogger): Promise<unknown> {
  try {
    return await publicKeyOf(identifier)
  } catch (error) {
    log.error({ err: error }, 'the public keys of those who report leaked keys cannot be had')
    throw new AuthError('AUTH_UNAVAILABLE', 'the public keys of those who report leaked keys cannot be had')
  }
}

function tokensIn (body: Buffer): readonly string[] | null {
  const report = parsed(body)
  if (!Array.isArray(report) || report.length > mostTokens) return null
  const tokens = report.map((entry: unknown) => typeof entry === 'object' && entry !== null ? property(entry, 'token') : undefined)
  return tokens.every(token => typeof token === 'string') ? tokens : null
}

function parsed (body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

/** Revokes every key, and throws only then: the reporter gets a 503 and sends the whole report again. */
async function revokeAll (tokens: readonly string[], revokeLeaked: LeakRouteOptions['revokeLeaked']): Promise<void> {
  const ends = await Promise.allSettled(tokens.map(token => revokeLeaked(token)))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

/** A public key of the curve P-256 in PEM; `null` for anything else, a private key among it. */
export function publicKeyFrom (pem: unknown): KeyObject | null {
  if (typeof pem !== 'string' || !/^\s*-----BEGIN PUBLIC KEY-----/.test(pem)) return null
  try {
    const key = createPublicKey(pem)
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : null
  } catch {
    return null
  }
}

/** ECDSA over SHA-256, the signature in ASN.1 (DER) and base64, as GitHub's secret scanning signs. */
function isSignedBy (key: KeyObject, body: Buffer, signature: string): boolean {
  // a signature over P-256 has at most 72 bytes
  return signature.length <= 100 && /^[A-Za-z0-9+/]+={0,2}$/.test(signature) && verify('sha256', body, key, Buffer.from(signature, 'base64'))
}
