import { type KeyObject, verify } from 'node:crypto'
import type { FastifyBaseLogger, FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { ApiKeyFeature, NewApiKey } from '../../../types/api-keys.js'
import type { Principal } from '../../../types/principal.js'
import { AuthError, explain, internalError } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { parseJson } from '../../util/encoding.js'
import { isNo, ownFields, property, settleAll } from '../../util/objects.js'
import { TooManyKeys } from './owners.js'
import {
  type ApiKeyRoutesOptions, parsePublicKey, parseRoutesOptions, type PublicKeyOf, type RouteSettings
} from './routes-options.js'

interface Rotation { Params: { readonly id: string }, Body: { readonly overlap: number } }

/**
 * Adds JSON routes with which signed-in people manage their own keys: `GET /` and `POST /`, `POST /:id/rotate`,
 * `DELETE /:id`; with `leaks`, also `POST /leaks` for reports of leaked keys. Only a session with a recent login is
 * accepted, and a key never has more rights than the person.
 *
 * @example
 * await app.register(apiKeyRoutes, { prefix: '/account/keys', maxAge: '15m' })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, for a wrong option, or where no scheme manages keys or keeps
 * sessions.
 */
export const apiKeyRoutes: FastifyPluginAsync<ApiKeyRoutesOptions> = fp(async (app, options) => {
  const settings = parseRoutesOptions(options, app.gatehouse)
  await useJsonSchema(app)
  app.addHook('onRequest', async (_request, reply) => { reply.header('cache-control', 'no-store') })
  addKeyRoutes(app, settings)
  const { leaks, keys: { revokeLeaked } } = settings
  if (leaks !== null) await app.register(leakRoute, { ...leaks, revokeLeaked })
}, { fastify: '5.x', name: 'fastify-gatehouse-api-key-routes', dependencies: ['fastify-gatehouse'], encapsulate: true })

/**
 * Compiles the schemas of a context as Fastify does by default. The application may have replaced the compilers by some
 * that do not read JSON Schema, such as those of zod, or have options for Ajv that refuse unknown fields.
 */
async function useJsonSchema (app: FastifyInstance): Promise<void> {
  // a literal import, so that bundlers see it; only here, because nothing else of the main entry needs Fastify itself
  const { default: Fastify } = await import('fastify')
  const unchanged = Fastify()
  // an instance has no compilers before it compiles a schema
  unchanged.post('/', { schema: { body, response: { 201: newKey } } }, () => {})
  await unchanged.ready()
  const { validatorCompiler, serializerCompiler } = unchanged
  if (validatorCompiler !== undefined) app.setValidatorCompiler(validatorCompiler)
  if (serializerCompiler !== undefined) app.setSerializerCompiler(serializerCompiler)
}

function addKeyRoutes (app: FastifyInstance, settings: RouteSettings): void {
  const { keys, scheme, maxAge, maxOverlap } = settings
  const config = { auth: { schemes: scheme, mode: 'required', maxAge } } as const

  const listSchema = { ...documented('List your API keys'), response: { 200: keyList } }
  app.get('/', { config, schema: listSchema }, async request => ({ keys: await keys.of(personOf(request)).list() }))

  const createSchema = { ...documented('Create an API key'), body, response: { 201: newKey } }
  const createOptions = { config, bodyLimit: 32_768, schema: createSchema }
  app.post<{ Body: KeyBody }>('/', createOptions, async (request, reply) => create(settings, request, reply))

  const rotateSchema = {
    ...documented('Replace an API key by a new one'),
    params: keyId,
    body: rotationBody(maxOverlap),
    response: { 201: newKey }
  }
  const rotateOptions = { config, bodyLimit: 1024, schema: rotateSchema }
  app.post<Rotation>('/:id/rotate', rotateOptions, async (request, reply) => rotate(settings, request, reply))

  const revokeSchema = { ...documented('Revoke an API key'), params: keyId, response: { 204: revoked } }
  app.delete<{ Params: { id: string } }>('/:id', { config, schema: revokeSchema }, async (request, reply) => {
    return await keys.of(personOf(request)).revoke(request.params.id) ? reply.code(204).send() : sendNotFound(reply)
  })
}

/** Returns the part of a schema that only the description of the API shows. */
function documented (summary: string): { readonly tags: readonly string[], readonly summary: string } {
  return { tags: ['API keys'], summary }
}

async function create (
  { keys, maxKeys, rateLimit }: RouteSettings, request: FastifyRequest<{ Body: KeyBody }>, reply: FastifyReply
): Promise<FastifyReply> {
  const owner = personOf(request)
  const { name, scopes = [], roles = [], expiresAt = null } = ownFields(request.body) as unknown as KeyBody
  const end = expiresAt === null ? null : new Date(expiresAt)
  if (end !== null && !(end.getTime() > Date.now())) {
    return sendError(reply, 400, 'body/expiresAt must be in the future')
  }
  const created = keys.of(owner).create({ name, scopes, roles, expiresAt: end, rateLimit }, { within: owner, maxKeys })
  return sendNewKey(reply, created, `The maximum number of keys (${maxKeys}) is reached: revoke one first`)
}

/**
 * Rotates a key. During the overlap the old key counts beside its successor, so that twice `maxKeys` are allowed: each
 * key can be rotated once per overlap.
 */
async function rotate (
  { keys, maxKeys }: RouteSettings, request: FastifyRequest<Rotation>, reply: FastifyReply
): Promise<FastifyReply> {
  const owner = personOf(request)
  const { overlap } = request.body
  const bounds = { within: owner, ...overlap > 0 ? { maxKeys: 2 * maxKeys } : {} }
  const successor = keys.of(owner).rotate(request.params.id, { overlap, ...bounds })
  const tooMany = 'There are too many keys beside their successors: rotate with overlap 0, or revoke one first'
  return sendNewKey(reply, successor, tooMany)
}

/** @param tooMany the message of the response when the owner has too many keys. */
async function sendNewKey (
  reply: FastifyReply, pending: Promise<NewApiKey | null>, tooMany: string
): Promise<FastifyReply> {
  try {
    const key = await pending
    return key === null ? sendNotFound(reply) : await reply.code(201).send(key)
  } catch (error) {
    if (!(error instanceof TooManyKeys)) throw error
    return sendError(reply, 409, tooMany)
  }
}

/** Returns the principal. There is one, because the guard lets nobody else in. */
function personOf ({ principal }: { readonly principal: Principal | null }): Principal {
  return principal as Principal
}

/** Sends the same response for a key that never existed, one that expired, and one of somebody else. */
function sendNotFound (reply: FastifyReply): FastifyReply {
  return sendError(reply, 404, 'There is no such key')
}

/** Sends an error by way of the application's error handler, as Fastify does after a failed validation. */
function sendError (reply: FastifyReply, statusCode: number, message: string): FastifyReply {
  return reply.send(Object.assign(new Error(message), { statusCode }))
}

/** The request body of a new key. */
interface KeyBody {
  readonly name: string
  readonly scopes?: readonly string[]
  readonly roles?: readonly string[]
  readonly expiresAt?: string | null
}

const text = { type: 'string' } as const
const instant = { type: 'string', format: 'date-time' } as const
const orNull = <T extends object>(schema: T) => ({ ...schema, nullable: true })
const names = { type: 'array', items: text } as const

/** JSON Schema counts characters, the service UTF-16 code units, of which a character has up to two. */
const name = { type: 'string', minLength: 1, maxLength: 100, pattern: '\\S' } as const
const nameList = { type: 'array', items: name, maxItems: 100 } as const

const body = {
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: { name, scopes: nameList, roles: nameList, expiresAt: orNull(instant) }
} as const

const keyId = { type: 'object', required: ['id'], properties: { id: { type: 'string', maxLength: 100 } } } as const

/**
 * Returns the schema of a rotation. The overlap has no default: only the person knows whether the key may have leaked,
 * which needs 0.
 * @param maxOverlap seconds.
 */
function rotationBody (maxOverlap: number) {
  return {
    type: 'object',
    required: ['overlap'],
    additionalProperties: false,
    properties: { overlap: { type: 'integer', minimum: 0, maximum: maxOverlap } }
  } as const
}

const record = {
  type: 'object',
  properties: {
    id: text,
    owner: { type: 'object', properties: { realm: text, id: text } },
    name: text,
    start: text,
    scopes: names,
    roles: names,
    createdAt: instant,
    expiresAt: orNull(instant),
    lastUsedAt: orNull(instant),
    rateLimit: orNull(
      { type: 'object', properties: { max: { type: 'integer' }, window: { type: 'number' } } } as const
    ),
    replacedBy: orNull(text),
    replacedAt: orNull(instant),
    sunsetAt: orNull(instant)
  }
} as const

const keyList = { type: 'object', properties: { keys: { type: 'array', items: record } } } as const

const newKey = { type: 'object', properties: { key: text, record } } as const

const revoked = { type: 'null', description: 'The key is revoked' } as const

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
const leakRoute: FastifyPluginAsync<LeakRouteOptions> = async (app, {
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
      throw explain(new AuthError('AUTH_ACCESS_DENIED', 'the report of leaked keys has no valid signature'))
    }
    const tokens = parseTokens(request.body)
    if (tokens === null) return sendError(reply, 400, 'A report is a list of up to 1,000 objects, each with a token')
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
  const found = await fetchPublicKey(identifier, publicKeyOf, log)
  if (isNo(found)) return false
  const key = parsePublicKey(found)
  if (key !== null) return isSignedBy(key, body, signature)
  throw internalError('the function apiKeyRoutes.leaks.publicKeys must return a public key of the curve P-256 in ' +
    `PEM, or null. Got ${describeValue(found)}`)
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
  await settleAll(tokens.map(token => revokeLeaked(token)))
}

/** Verifies ECDSA with SHA-256; the signature is ASN.1 (DER) in base64, as GitHub's secret scanning sends it. */
function isSignedBy (key: KeyObject, body: Buffer, signature: string): boolean {
  // a signature over P-256 has at most 72 bytes
  return signature.length <= 100 && /^[A-Za-z0-9+/]+={0,2}$/.test(signature) && verify(
    'sha256', body, key, Buffer.from(signature, 'base64')
  )
}
