import fp from 'fastify-plugin'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { ApiKeyRecord, ApiKeys } from '../../types/api-keys.js'
import type { Principal } from '../../types/principal.js'
import { leakRoute } from './leaks.js'
import { body, keyId, listed, made, overlapOf, type KeyBody } from './routes/schemas.js'
import { routeSettings, type ApiKeyRoutesOptions, type RouteSettings } from './routes/options.js'
import { endOf } from './record.js'

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
  if (settings.leaks !== null) await app.register(leakRoute, { ...settings.leaks, keys: settings.keys })
}, { fastify: '5.x', name: 'fastify-gatehouse-api-key-routes', dependencies: ['fastify-gatehouse'], encapsulate: true })

function ownKeys (app: FastifyInstance, settings: RouteSettings): void {
  const { keys, scheme, maxAge, maxOverlap } = settings
  const config = { auth: { schemes: scheme, mode: 'required', maxAge } } as const

  app.get('/', { config, schema: { response: { 200: listed } } }, async request => ({ keys: await keys.list(person(request)) }))

  app.post<{ Body: KeyBody }>('/', { config, bodyLimit: 32_768, schema: { body, response: { 201: made } } }, async (request, reply) => create(settings, request, reply))

  app.post<{ Params: { id: string }, Body: { overlap: number } }>('/:id/rotate', { config, bodyLimit: 1024, schema: { params: keyId, body: overlapOf(maxOverlap), response: { 201: made } } }, async (request, reply) => {
    const owner = person(request)
    const rotated = await keys.rotate(request.params.id, { overlap: request.body.overlap, within: owner }, owner)
    return rotated === null ? unknown(reply) : reply.code(201).send(rotated)
  })

  app.delete<{ Params: { id: string } }>('/:id', { config, schema: { params: keyId } }, async (request, reply) => {
    return await keys.revoke(request.params.id, person(request)) ? reply.code(204).send() : unknown(reply)
  })
}

async function create ({ keys, maxKeys, rateLimit }: RouteSettings, request: FastifyRequest<{ Body: KeyBody }>, reply: FastifyReply): Promise<FastifyReply> {
  const owner = person(request)
  const { name, scopes = [], roles = [], expiresAt = null } = request.body
  const end = expiresAt === null ? null : new Date(expiresAt)
  if (end !== null && !(end.getTime() > Date.now())) return answer(reply, 400, 'Bad Request', 'body/expiresAt must be in the future')
  if (await countLive(keys, owner) >= maxKeys) return answer(reply, 409, 'Conflict', `There are ${maxKeys} keys already: revoke one first`)
  const { realm, id } = owner
  return reply.code(201).send(await keys.create({ owner: { realm, id }, name, scopes, roles, expiresAt: end, rateLimit }, { within: owner }))
}

/** The guard let nobody else in. */
function person ({ principal }: FastifyRequest): Principal {
  return principal as Principal
}

async function countLive (keys: ApiKeys, owner: Principal): Promise<number> {
  return (await keys.list(owner)).filter((record: ApiKeyRecord) => endOf(record) > Date.now()).length
}

/** The same for a key that never was, one that ended, and one of somebody else. */
function unknown (reply: FastifyReply): FastifyReply {
  return answer(reply, 404, 'Not Found', 'There is no such key')
}

function answer (reply: FastifyReply, statusCode: number, error: string, message: string): FastifyReply {
  return reply.code(statusCode).send({ statusCode, error, message })
}
