import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/**
 * Lets scripts of every origin call a route, without cookies, as an `onSend` hook. Where `@fastify/cors` has answered
 * already, its origin and credentials are replaced.
 */
export async function allowEveryOrigin (request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.removeHeader('access-control-allow-credentials')
  reply.header('access-control-allow-origin', '*')
  if (request.method === 'OPTIONS') answerPreflight(request, reply)
  else reply.header('access-control-expose-headers', 'WWW-Authenticate, Retry-After')
}

function answerPreflight ({ headers }: FastifyRequest, reply: FastifyReply): void {
  const names = headers['access-control-request-headers']
  reply.header('access-control-allow-methods', 'GET, POST')
  reply.header('access-control-max-age', '86400')
  reply.header('vary', 'Access-Control-Request-Headers')
  if (typeof names === 'string' && names !== '') reply.header('access-control-allow-headers', names)
}

/** Declares the answer to the preflight of a route that {@link allowEveryOrigin} opens. */
export function declarePreflight (context: FastifyInstance, url: string): void {
  const options = {
    config: { auth: { public: 'answers CORS preflights, which have no credentials' } },
    schema: { hide: true } as object,
    onSend: allowEveryOrigin
  }
  context.options(url, options, async (_request, reply) => reply.code(204).send())
}
