import type { FastifyReply } from 'fastify'

/**
 * Sends a document of a protocol as JSON. It is sent as text, so that `preSerialization` hooks and serializers of the
 * application, which may wrap all responses in an envelope, do not change the form that clients expect.
 */
export function sendJson (reply: FastifyReply, document: object): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(document))
}
