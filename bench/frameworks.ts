import { once } from 'node:events'
import type { Server } from 'node:http'
import hapi from '@hapi/hapi'
import hapiJwt from '@hapi/jwt'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { jwt } from 'hono/jwt'

const answer = { hello: 'world' }

/** An application that listens like a Fastify application. */
export interface Listener {
  readonly server: Server
  listen (address: { readonly port: number, readonly host: string }): Promise<unknown>
}

/** The rules for the tokens of a route; `null` for a route without any. */
export interface TokenRules { readonly secret: string, readonly issuer: string, readonly audience: string }

/** Creates a hapi application whose route requires a token, with `@hapi/jwt`. */
export async function hapiApp (rules: TokenRules | null): Promise<Listener> {
  const app = hapi.server({ port: 0, host: '127.0.0.1' })
  if (rules !== null) {
    await app.register(hapiJwt)
    app.auth.strategy('user', 'jwt', {
      keys: { key: rules.secret, algorithms: ['HS256'] },
      verify: { iss: rules.issuer, aud: rules.audience, sub: false },
      validate: ({ decoded }: hapiJwt.HapiJwt.Artifacts) => ({ isValid: true, credentials: decoded.payload })
    })
    app.auth.default('user')
  }
  app.route({ method: 'GET', path: '/', handler: () => answer })
  return { server: app.listener as Server, listen: async () => { await app.start() } }
}

/** Creates a Hono application whose route requires a token, with its middleware `jwt`. */
export async function honoApp (rules: TokenRules | null): Promise<Listener> {
  const app = new Hono()
  if (rules !== null) {
    app.use(jwt({ secret: rules.secret, alg: 'HS256', verification: { iss: rules.issuer, aud: rules.audience } }))
  }
  app.get('/', context => context.json(answer))
  const server = createAdaptorServer({ fetch: app.fetch }) as Server
  return {
    server,
    listen: async ({ port, host }) => {
      server.listen(port, host)
      await once(server, 'listening')
    }
  }
}
