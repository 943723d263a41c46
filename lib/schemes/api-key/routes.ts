import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { NewApiKey } from '../../../types/api-keys.js'
import type { Principal } from '../../../types/principal.js'
import { ownFields } from '../../util/objects.js'
import { leakRoute } from './leaks.js'
import { TooManyKeys } from './owner-lock.js'
import { type ApiKeyRoutesOptions, routeSettings, type RouteSettings } from './routes-options.js'

interface Rotation { Params: { readonly id: string }, Body: { readonly overlap: number } }

/**
 * JSON routes by which signed-in people manage their own keys: `GET /` and `POST /`, `POST /:id/rotate`, `DELETE /:id`; with `leaks`, `POST /leaks` for those who find
 * keys in public places. Only a session that authenticated recently is accepted, and a key may never do more than the person.
 *
 * @example
 * await app.register(apiKeyRoutes, { prefix: '/account/keys', maxAge: '15m' })
 * @throws {AuthError} `AUTH_MISCONFIGURED` at boot, for a wrong option, or where no scheme manages keys or keeps sessions.
 */
export const apiKeyRoutes: FastifyPluginAsync<ApiKeyRoutesOptions> = fp(async (app, options) => {
  const settings = routeSettings(options, app.gatehouse)
  app.addHook('onRequest', async (_request, reply) => { reply.header('cache-control', 'no-store') })
  ownKeys(app, settings)
  if (settings.leaks !== null) await app.register(leakRoute, { ...settings.leaks, revokeLeaked: settings.keys.revokeLeaked })
}, { fastify: '5.x', name: 'fastify-gatehouse-api-key-routes', dependencies: ['fastify-gatehouse'], encapsulate: true })

function ownKeys (app: FastifyInstance, settings: RouteSettings): void {
  const { keys, scheme, maxAge, maxOverlap } = settings
  const config = { auth: { schemes: scheme, mode: 'required', maxAge } } as const

  app.get('/', { config, schema: { response: { 200: listed } } }, async request => ({ keys: await keys.of(person(request)).list() }))

  app.post<{ Body: KeyBody }>('/', { config, bodyLimit: 32_768, schema: { body, response: { 201: made } } }, async (request, reply) => create(settings, request, reply))

  app.post<Rotation>('/:id/rotate', { config, bodyLimit: 1024, schema: { params: keyId, body: overlapOf(maxOverlap), response: { 201: made } } }, async (request, reply) => rotate(settings, request, reply))

  app.delete<{ Params: { id: string } }>('/:id', { config, schema: { params: keyId } }, async (request, reply) => {
    return await keys.of(person(request)).revoke(request.params.id) ? reply.code(204).send() : unknown(reply)
  })
}

async function create ({ keys, maxKeys, rateLimit }: RouteSettings, request: FastifyRequest<{ Body: KeyBody }>, reply: FastifyReply): Promise<FastifyReply> {
  const owner = person(request)
  const { name, scopes = [], roles = [], expiresAt = null } = ownFields(request.body) as unknown as KeyBody
  const end = expiresAt === null ? null : new Date(expiresAt)
  if (end !== null && !(end.getTime() > Date.now())) return answer(reply, 400, 'Bad Request', 'body/expiresAt must be in the future')
  const made = keys.of(owner).create({ name, scopes, roles, expiresAt: end, rateLimit }, { within: owner, maxKeys })
  return sendMade(reply, made, `There are ${maxKeys} keys already: revoke one first`)
}

/** An old key that stays beside its successor is one key more: each of those that a person may have can be rotated once, and then again when an overlap has passed. */
async function rotate ({ keys, maxKeys }: RouteSettings, request: FastifyRequest<Rotation>, reply: FastifyReply): Promise<FastifyReply> {
  const owner = person(request)
  const { overlap } = request.body
  const bounds = { within: owner, ...overlap > 0 ? { maxKeys: 2 * maxKeys } : {} }
  const made = keys.of(owner).rotate(request.params.id, { overlap, ...bounds })
  return sendMade(reply, made, 'There are too many keys beside their successors: rotate with overlap 0, or revoke one first')
}

async function sendMade (reply: FastifyReply, made: Promise<NewApiKey | null>, tooMany: string): Promise<FastifyReply> {
  try {
    const key = await made
    return key === null ? unknown(reply) : await reply.code(201).send(key)
  } catch (error) {
    if (!(error instanceof TooManyKeys)) throw error
    return answer(reply, 409, 'Conflict', tooMany)
  }
}

/** The guard let nobody else in. */
function person ({ principal }: Pick<FastifyRequest, 'principal'>): Principal {
  return principal as Principal
}

/** The same for a key that never was, one that ended, and one of somebody else. */
function unknown (reply: FastifyReply): FastifyReply {
  return answer(reply, 404, 'Not Found', 'There is no such key')
}

function answer (reply: FastifyReply, statusCode: number, error: string, message: string): FastifyReply {
  return reply.code(statusCode).send({ statusCode, error, message })
}

/** What a person sends for a new key. */
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

/** Lengths are counted in characters here and in units of UTF-16 behind it, of which a character has up to two. */
const name = { type: 'string', minLength: 1, maxLength: 100, pattern: '\\S' } as const
const someNames = { type: 'array', items: name, maxItems: 100 } as const

const body = {
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: { name, scopes: someNames, roles: someNames, expiresAt: orNull(instant) }
} as const

const keyId = { type: 'object', required: ['id'], properties: { id: { type: 'string', maxLength: 100 } } } as const

/** The longest overlap in seconds. It must be said: 0 is for a key that others may know, and only the person can tell. */
function overlapOf (longest: number) {
  return { type: 'object', required: ['overlap'], additionalProperties: false, properties: { overlap: { type: 'integer', minimum: 0, maximum: longest } } } as const
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
    rateLimit: orNull({ type: 'object', properties: { max: { type: 'integer' }, window: { type: 'number' } } } as const),
    replacedBy: orNull(text),
    replacedAt: orNull(instant),
    sunsetAt: orNull(instant)
  }
} as const

const listed = { type: 'object', properties: { keys: { type: 'array', items: record } } } as const

const made = { type: 'object', properties: { key: text, record } } as const
