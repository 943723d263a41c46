import { readFile } from 'node:fs/promises'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { adminPage, homePage } from '../views/pages.js'
import { apps } from './apps.js'
import { addErrorPages, sendPage, type PagesOptions } from './html.js'
import { keys } from './keys.js'
import { login } from './login.js'
import { orders } from './orders.js'
import { sessions } from './sessions.js'

const files = [
  ['style.css', 'text/css'], ['icon.svg', 'image/svg+xml'], ['live.js', 'text/javascript'],
  ['copy.js', 'text/javascript']
] as const

/** Pages for people with a browser: HTML, forms and a session. */
export const pages: FastifyPluginAsyncTypebox<PagesOptions> = async (app, options) => {
  addErrorPages(app)

  app.get('/', {
    config: { auth: { schemes: 'web', mode: 'optional' } },
    schema: { hide: true }
  }, async (request, reply) => {
    return sendPage(reply, homePage(request.principal))
  })

  for (const [file, type] of files) {
    const content = await readFile(new URL(`../views/${file}`, import.meta.url))
    app.get(`/${file}`, {
      config: { auth: { public: 'static file' } },
      schema: { hide: true }
    }, async (_request, reply) => {
      return reply.type(type).header('cache-control', 'public, max-age=300').send(content)
    })
  }

  await app.register(login, options)
  await app.register(orders, { prefix: '/desk', ...options })
  await app.register(keys, { prefix: '/keys', ...options })
  await app.register(apps, { prefix: '/apps', ...options })
  await app.register(sessions, { prefix: '/sessions', ...options })
  await app.register(admin, { prefix: '/admin', ...options })
}

const admin: FastifyPluginAsyncTypebox<PagesOptions> = async (app, { people }) => {
  // Applies to every route in this context. After an hour, the person has to log in again.
  app.gatehouse.default({ schemes: 'web', roles: 'admin', maxAge: '1h' })

  app.get('', { config: { auth: 'web' }, schema: { hide: true } }, async (request, reply) => {
    return sendPage(reply, adminPage(request.principal, await people.all(), app.gatehouse.audit()))
  })
}
