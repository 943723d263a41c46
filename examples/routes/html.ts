import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config.js'
import type { Orders } from '../orders.js'
import type { People } from '../people.js'
import { errorPage } from '../views/pages.js'

/** What the pages work with. */
export interface PagesOptions { readonly orders: Orders, readonly people: People, readonly config: Config }

export function sendPage (reply: FastifyReply, page: string): FastifyReply {
  return reply.type('text/html; charset=utf-8').send(page)
}

/** Errors as pages. What the server did wrong is for the log. */
export function showError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode ?? 500
  if (status >= 500) request.log.error(error)
  return sendPage(reply.code(status), errorPage(status, status >= 500 ? 'Something went wrong' : error.message))
}

/** A page for browsers, JSON for all others. */
export function showNotFound ({ headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.code(404)
  return headers.accept?.includes('text/html') ? sendPage(reply, errorPage(404, 'There is nothing here')) : reply.send({ statusCode: 404, error: 'Not Found' })
}
