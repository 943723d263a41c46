import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { NewApiKey, ScopeName } from 'fastify-gatehouse'
import type { Person } from '../people.js'
import { keysPage } from '../views/keys.js'
import { sendPage, type PagesOptions } from './html.js'

const scopes: readonly ScopeName[] = ['orders:read', 'orders:write']
const day = 86_400_000
/** Keys of one person, as many as /account/keys allows: a session that was stolen fills no database. */
const most = 50

const newKey = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 60, pattern: '\\S' }),
  scopes: Type.Optional(Type.Array(Type.String({ maxLength: 60 }), { maxItems: 10 })),
  days: Type.Integer({ minimum: 1, maximum: 365 })
})
const keyId = Type.Object({ id: Type.String({ maxLength: 60 }) })
const overlap = Type.Object({ overlap: Type.Integer({ minimum: 0, maximum: 604_800 }) })

/** Everybody's own API keys. Whoever logged in more than 15 minutes ago is asked again: a key lasts longer than a screen that was left unlocked. */
export const keys: FastifyPluginAsyncTypebox<PagesOptions> = async app => {
  app.gatehouse.default({ schemes: 'web', maxAge: '15m' })
  const { apiKeys } = app.gatehouse

  /** The page, with a key that was just made: shown now, and never again. */
  async function show (request: FastifyRequest, visitor: Person, reply: FastifyReply, made: NewApiKey | null = null): Promise<FastifyReply> {
    const mine = scopes.filter(scope => request.auth.allows({ scopes: scope }))
    return sendPage(reply.header('cache-control', 'no-store'), keysPage({ visitor, keys: await apiKeys.list(visitor), scopes: mine, made, most }))
  }

  app.get('', { config: { auth: 'web' }, schema: { hide: true } }, async (request, reply) => show(request, request.principal, reply))

  app.post('', { config: { auth: 'web' }, schema: { hide: true, body: newKey } }, async (request, reply) => {
    const { principal, body: { name, scopes, days } } = request
    const expiresAt = new Date(Date.now() + days * day)
    const made = await apiKeys.create({ owner: { realm: principal.realm, id: principal.id }, name, scopes, expiresAt }, { within: principal, most })
    return show(request, principal, reply.code(201), made)
  })

  app.post('/:id/rotate', { config: { auth: 'web' }, schema: { hide: true, params: keyId, body: overlap } }, async (request, reply) => {
    const { principal } = request
    const { overlap } = request.body
    // Where the old one ends at once, there are no more than before.
    const made = await apiKeys.rotate(request.params.id, { overlap, within: principal, ...overlap > 0 ? { most: 2 * most } : {} }, principal)
    return made === null ? reply.callNotFound() : show(request, principal, reply.code(201), made)
  })

  app.post('/:id/revoke', { config: { auth: 'web' }, schema: { hide: true, params: keyId } }, async (request, reply) => {
    const revoked = await apiKeys.revoke(request.params.id, request.principal)
    return revoked ? reply.redirect('/keys', 303) : reply.callNotFound()
  })
}
