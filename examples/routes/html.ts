import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from 'fastify-gatehouse'
import type { Config } from '../config.js'
import type { Orders } from '../orders.js'
import type { People, Person } from '../people.js'
import { errorPage } from '../views/pages.js'

export interface PagesOptions {
  readonly orders: Orders
  readonly people: People
  readonly config: Config
}

export function sendPage (reply: FastifyReply, page: string): FastifyReply {
  return reply.type('text/html; charset=utf-8').send(page)
}

/** Answers errors and unknown addresses with pages that know who is logged in. */
export function addErrorPages (app: FastifyInstance): void {
  // A refused request has no principal, and an unknown address has no route, so the guard is called here.
  const guard = app.gatehouse.guard({ schemes: 'web', mode: 'try' })

  async function visitorOf (request: FastifyRequest, reply: FastifyReply): Promise<Person | null> {
    try {
      await guard(request, reply)
    } catch {
      // The store does not answer. The page is sent anyway.
    }
    return request.auth.scheme === 'web' ? request.auth.principal : null
  }

  /** Sends an error as a page. The message of a server error only goes to the log. */
  app.setErrorHandler(async (error: FastifyError, request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) request.log.error(error)
    const message = status >= 500 ? 'Something went wrong' : error.message
    const visitor = await visitorOf(request, reply)
    if (error instanceof AuthError) reply.headers(error.headers)
    return sendPage(reply.code(status), errorPage(status, message, visitor))
  })

  /** Sends a page to browsers, and JSON to other clients. */
  app.setNotFoundHandler(async (request, reply) => {
    reply.code(404)
    if (request.headers.accept?.includes('text/html') !== true) return { statusCode: 404, error: 'Not Found' }
    const visitor = await visitorOf(request, reply)
    return sendPage(reply.code(404), errorPage(404, 'Page not found', visitor))
  })
}
