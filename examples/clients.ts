import type { OAuthServerOptions } from 'fastify-gatehouse/oauth'
import type { Config } from './config.js'

const names = { docs: 'API documentation', dashboard: 'Sales dashboard', agent: 'AI assistant', partner: 'Partner' }

/** Returns the name of a client, as people read it. */
export function nameOf (client: string): string {
  return Object.hasOwn(names, client) ? names[client as keyof typeof names] : client
}

/** Returns the clients that may ask the authorization server for tokens. */
export function clientsFor ({ PUBLIC_URL, DASHBOARD_SECRET, PARTNER_SECRET }: Config): OAuthServerOptions['clients'] {
  return {
    // Swagger UI runs in the browser and cannot keep a secret.
    docs: {
      name: names.docs,
      redirectUris: [`${PUBLIC_URL}/docs/static/oauth2-redirect.html`],
      scopes: ['orders:read', 'orders:write']
    },
    // A web application of somebody else: examples/client.ts.
    dashboard: {
      name: names.dashboard,
      redirectUris: ['http://127.0.0.1:4000/callback'],
      scopes: ['orders:read'],
      secrets: [DASHBOARD_SECRET]
    },
    // A program on the person's machine, which listens on a port of its choice.
    agent: {
      name: names.agent,
      redirectUris: ['http://127.0.0.1/callback', 'http://localhost/callback'],
      scopes: ['orders:read']
    },
    // A server that acts for itself, and for no person.
    partner: {
      name: names.partner,
      grants: ['client_credentials'],
      scopes: ['orders:read', 'orders:write'],
      secrets: [PARTNER_SECRET]
    }
  }
}
