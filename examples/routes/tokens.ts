import { Type, type FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { People } from '../people.js'

const short = Type.String({ maxLength: 200 })
const credentials = Type.Object({ username: short, password: short })
const refreshToken = Type.Object({ refresh_token: Type.String({ maxLength: 500 }) })
const issued = Type.Object({
  access_token: Type.String(),
  token_type: Type.Literal('Bearer'),
  expires_in: Type.Integer(),
  scope: Type.String(),
  refresh_token: Type.String()
})
const problem = Type.Object({ error: Type.String(), message: Type.String() })

/** Gives people tokens for their own programs: a short access token, and a refresh token for the next pair. */
export const tokens: FastifyPluginAsyncTypebox<{ people: People }> = async (app, { people }) => {
  const { guesses, tokens } = app.gatehouse

  app.post('', {
    config: { auth: { public: 'issues tokens' } },
    schema: { tags: ['people'], summary: 'Get tokens', body: credentials, response: { 200: issued, 401: problem } }
  }, async (request, reply) => {
    const { username, password } = request.body
    const person = await guesses.attempt(reply, username, () => people.verify(username, password))
    if (person === null) return reply.code(401).send({ error: 'Unauthorized', message: 'Wrong name or password' })
    return await tokens.grant(person, { scheme: 'user' })
  })

  // A refresh token is good for one use. If it is used again, its grant ends, because somebody has a copy.
  app.post('/refresh', {
    config: { auth: { public: 'holds a refresh token' } },
    schema: { tags: ['people'], summary: 'Get the next tokens', body: refreshToken, response: { 200: issued } }
  }, async (request, reply) => await tokens.refresh(reply, request.body.refresh_token, { scheme: 'user' }))
}
