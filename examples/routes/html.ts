import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config.js'
import type { Orders } from '../orders.js'
import type { People } from '../people.js'
import { errorPage } from '../views/pages.js'

export interface PagesOptions {
  readonly orders: Orders
  readonly people: People
  readonly config: Config
}

export function sendPage (reply: FastifyReply, page: string): FastifyReply {
  return reply.type('text/html; charset=utf-8').send(page)
}

/** Sends an error as a page. The message of a server error only goes to the log. */
export function showError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const status = error.statusCode ?? 500
  if (status >= 500) request.log.error(error)
  const message = status >= 500 ? 'Something went wrong' : error.message
  return sendPage(reply.code(status), errorPage(status, message))
}

/** Sends a page to browsers, and JSON to other clients. */
export function showNotFound ({ headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.code(404)
  return headers.accept?.includes('text/html')
    ? sendPage(reply, errorPage(404, 'Page not found'))
    : reply.send({ statusCode: 404, error: 'Not Found' })
}
