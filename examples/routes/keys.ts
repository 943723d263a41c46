import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { NewApiKey, RequestAuth, ScopeName } from 'fastify-gatehouse'
import type { CreatedKey } from '../auth.js'
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

  app.get('', { config: { auth: 'web' }, schema: { hide: true } }, async ({ auth, principal }, reply) => {
    const allowed = scopes.filter(scope => auth.allows({ scopes: scope }))
    const keys = await apiKeys.of(principal).list()
    const view = { visitor: principal, keys, scopes: allowed, created: takeKey(auth), maxKeys }
    return sendPage(reply.header('cache-control', 'no-store'), keysPage(view))
  })

  app.post('', { config: { auth: 'web' }, schema: { hide: true, body: newKey } }, async (request, reply) => {
    const { principal, body: { name, scopes, days } } = request
    const expiresAt = new Date(Date.now() + days * day)
    const created = await apiKeys.of(principal).create({ name, scopes, expiresAt }, { within: principal, maxKeys })
    leaveKey(request.auth, created)
    return reply.redirect('/keys', 303)
  })

  app.post('/:id/rotate', {
    config: { auth: 'web' },
    schema: { hide: true, params: keyId, body: overlap }
  }, async (request, reply) => {
    const { principal, body: { overlap } } = request
    // Without an overlap, the new key replaces the old one, so the number of keys stays the same.
    const limit = overlap > 0 ? { maxKeys: 2 * maxKeys } : {}
    const created = await apiKeys.of(principal).rotate(request.params.id, { overlap, within: principal, ...limit })
    if (created === null) return reply.callNotFound()
    leaveKey(request.auth, created)
    return reply.redirect('/keys', 303)
  })

  app.post('/:id/revoke', {
    config: { auth: 'web' },
    schema: { hide: true, params: keyId }
  }, async (request, reply) => {
    const revoked = await apiKeys.of(request.principal).revoke(request.params.id)
    return revoked ? reply.redirect('/keys', 303) : reply.callNotFound()
  })
}

/**
 * Hands a new key to the next page, so that reloading that page creates no other. It travels in the cookie, which is
 * sealed, and is not stored.
 */
function leaveKey (auth: RequestAuth, { key, record }: NewApiKey): void {
  if (auth.scheme === 'web') auth.credential.update({ created: { key, name: record.name } })
}

/** Returns the new key and removes it from the session: it is shown once. */
function takeKey (auth: RequestAuth): CreatedKey | null {
  if (auth.scheme !== 'web' || auth.credential.data.created === undefined) return null
  const { created } = auth.credential.data
  auth.credential.update({})
  return created
}
