import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from 'fastify-gatehouse'

/**
 * Sends an error as JSON. The message of a server error only goes to the log, because it may contain addresses or
 * stored data.
 */
export function sendError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const statusCode = error.statusCode ?? 500
  // The message of an AuthError is constant and public.
  if (statusCode < 500 || error instanceof AuthError) return reply.send(error)
  request.log.error(error)
  return reply.code(statusCode).send({ statusCode, error: STATUS_CODES[statusCode], message: 'Something went wrong' })
}
