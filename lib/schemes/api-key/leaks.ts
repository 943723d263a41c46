import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { FastifyBaseLogger, FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { ApiKeyFeature } from '../../../types/api-keys.js'
import { AuthError } from '../../errors.js'
import { parseJson } from '../../util/encoding.js'
import { property } from '../../util/objects.js'
import type { PublicKeyOf } from './routes-options.js'

interface LeakRouteOptions {
  readonly revokeLeaked: ApiKeyFeature['revokeLeaked']
  readonly publicKeyOf: PublicKeyOf
  readonly bodyLimit: number
}

/** Tokens in one report. */
const maxTokens = 1_000

/**
 * Accepts reports of leaked keys in the format of GitHub's secret scanning partner programme: a list of
 * `{ token, type, url }`, with a signature over the raw body. Every report with a valid signature gets the same
 * response, so that it does not reveal whether a key existed.
 */
export const leakRoute: FastifyPluginAsync<LeakRouteOptions> = async (app, {
  revokeLeaked, publicKeyOf, bodyLimit
}) => {
  // the signature covers the raw bytes, so they must not be parsed before it is verified
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/json', { parseAs: 'buffer', bodyLimit }, (_request, body, done) => { done(null, body) }
  )

  app.post('/leaks', {
    bodyLimit, config: { auth: { public: 'reports are authenticated by a signature' } }
  }, async (request, reply) => {
    if (!Buffer.isBuffer(request.body) || !await isSigned(request, request.body, publicKeyOf)) {
      throw new AuthError('AUTH_ACCESS_DENIED', 'the report of leaked keys has no valid signature')
    }
    const tokens = parseTokens(request.body)
    if (tokens === null) {
      const message = 'A report is a list of up to 1,000 objects, each with a token'
      return reply.code(400).send({ statusCode: 400, error: 'Bad Request', message })
    }
    request.log.warn({ reported: tokens.length }, 'leaked API keys were reported')
    await revokeAll(tokens, revokeLeaked)
    return reply.code(204).send()
  })
}

async function isSigned ({ headers, log }: FastifyRequest, body: Buffer, publicKeyOf: PublicKeyOf): Promise<boolean> {
  const { 'github-public-key-identifier': identifier, 'github-public-key-signature': signature } = headers
  if (typeof identifier !== 'string' || typeof signature !== 'string' || !/^[\x21-\x7e]{1,200}$/.test(identifier)) {
    return false
  }
  const key = parsePublicKey(await fetchPublicKey(identifier, publicKeyOf, log))
  return key !== null && isSignedBy(key, body, signature)
}

async function fetchPublicKey (identifier: string, publicKeyOf: PublicKeyOf, log: FastifyBaseLogger): Promise<unknown> {
  try {
    return await publicKeyOf(identifier)
  } catch (error) {
    log.error({ err: error }, 'the public keys for reports of leaked API keys are unavailable')
    throw new AuthError('AUTH_UNAVAILABLE', 'the public keys for reports of leaked API keys are unavailable')
  }
}

function parseTokens (body: Buffer): readonly string[] | null {
  const report = parseJson(body.toString())
  if (!Array.isArray(report) || report.length > maxTokens) return null
  const tokens = report.map(
    (entry: unknown) => typeof entry === 'object' && entry !== null ? property(entry, 'token') : undefined
  )
  return tokens.every(token => typeof token === 'string') ? tokens : null
}

/** Tries to revoke every key before it throws: the reporter then gets a 503 and sends the whole report again. */
async function revokeAll (tokens: readonly string[], revokeLeaked: LeakRouteOptions['revokeLeaked']): Promise<void> {
  const results = await Promise.allSettled(tokens.map(token => revokeLeaked(token)))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

/** Parses a public key of the curve P-256 in PEM. Returns `null` for anything else, including a private key. */
export function parsePublicKey (pem: unknown): KeyObject | null {
  if (typeof pem !== 'string' || !/^\s*-----BEGIN PUBLIC KEY-----/.test(pem)) return null
  try {
    const key = createPublicKey(pem)
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : null
  } catch {
    return null
  }
}

/** Verifies ECDSA with SHA-256; the signature is ASN.1 (DER) in base64, as GitHub's secret scanning sends it. */
function isSignedBy (key: KeyObject, body: Buffer, signature: string): boolean {
  // a signature over P-256 has at most 72 bytes
  return signature.length <= 100 && /^[A-Za-z0-9+/]+={0,2}$/.test(signature) && verify(
    'sha256', body, key, Buffer.from(signature, 'base64')
  )
}
