import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { AuthError } from 'fastify-gatehouse'

/** Errors as JSON, for programs. What the server did wrong is for the log: a database that is away says at which address, and others say what was stored. */
export function hideFaults (error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const statusCode = error.statusCode ?? 500
  // These say nothing to begin with.
  if (statusCode < 500 || error instanceof AuthError) return reply.send(error)
  request.log.error(error)
  return reply.code(statusCode).send({ statusCode, error: STATUS_CODES[statusCode], message: 'Something went wrong' })
}
