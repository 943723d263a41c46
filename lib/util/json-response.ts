import type { FastifyReply } from 'fastify'

/**
 * Sends a document of a protocol as JSON. It is sent as text, because clients know no other form of it: a hook
 * `preSerialization` or a serializer of the application, which may put all answers into an envelope, does not get it.
 */
export function sendJson (reply: FastifyReply, document: object): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(document))
}
