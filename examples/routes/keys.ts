import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import type { NewApiKey, ScopeName } from 'fastify-gatehouse'
import type { Person } from '../people.js'
import { keysPage } from '../views/keys.js'
import { sendPage, type PagesOptions } from './html.js'

const scopes: readonly ScopeName[] = ['orders:read', 'orders:write']
const day = 86_400_000
/** The maximum number of keys per person, as in /account/keys, so that a stolen session cannot fill the database. */
const maxKeys = 50

const newKey = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 60, pattern: '\\S' }),
  scopes: Type.Optional(Type.Array(Type.String({ maxLength: 60 }), { maxItems: 10 })),
  days: Type.Integer({ minimum: 1, maximum: 365 })
})
const keyId = Type.Object({ id: Type.String({ maxLength: 60 }) })
const overlap = Type.Object({ overlap: Type.Integer({ minimum: 0, maximum: 604_800 }) })

/**
 * Lets people manage their own API keys. They must have logged in within 15 minutes, because a key outlives a session
 * that was left open.
 */
export const keys: FastifyPluginAsyncTypebox<PagesOptions> = async app => {
  app.gatehouse.default({ schemes: 'web', maxAge: '15m' })
  const { apiKeys } = app.gatehouse

  /** Sends the page. A key that was just created is shown this once. */
  async function show (reply: FastifyReply, visitor: Person, created: NewApiKey | null = null): Promise<FastifyReply> {
    const allowed = scopes.filter(scope => reply.request.auth.allows({ scopes: scope }))
    const view = { visitor, keys: await apiKeys.of(visitor).list(), scopes: allowed, created, maxKeys }
    return sendPage(reply.header('cache-control', 'no-store'), keysPage(view))
  }

  app.get('', {
    config: { auth: 'web' },
    schema: { hide: true }
  }, async ({ principal }, reply) => show(reply, principal))

  app.post('', { config: { auth: 'web' }, schema: { hide: true, body: newKey } }, async (request, reply) => {
    const { principal, body: { name, scopes, days } } = request
    const expiresAt = new Date(Date.now() + days * day)
    const created = await apiKeys.of(principal).create({ name, scopes, expiresAt }, { within: principal, maxKeys })
    return show(reply.code(201), principal, created)
  })

  app.post('/:id/rotate', {
    config: { auth: 'web' },
    schema: { hide: true, params: keyId, body: overlap }
  }, async (request, reply) => {
    const { principal, body: { overlap } } = request
    // Without an overlap, the new key replaces the old one, so the number of keys stays the same.
    const limit = overlap > 0 ? { maxKeys: 2 * maxKeys } : {}
    const created = await apiKeys.of(principal).rotate(request.params.id, { overlap, within: principal, ...limit })
    return created === null ? reply.callNotFound() : show(reply.code(201), principal, created)
  })

  app.post('/:id/revoke', {
    config: { auth: 'web' },
    schema: { hide: true, params: keyId }
  }, async (request, reply) => {
    const revoked = await apiKeys.of(request.principal).revoke(request.params.id)
    return revoked ? reply.redirect('/keys', 303) : reply.callNotFound()
  })
}
