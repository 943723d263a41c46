import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fp from 'fastify-plugin'

/**
 * Serves the API documentation at `/docs`. Register it before the routes whose schemas it shows. Who may call them is
 * added by fastify-gatehouse.
 */
export const docs = fp(async app => {
  await app.register(swagger, {
    openapi: {
      // from 3.1 on, a document can list the scopes that a key needs
      openapi: '3.1.1',
      info: { title: 'Order desk', description: 'Orders, for people and machines.', version: '1.0.0' },
      tags: [{ name: 'orders' }, { name: 'people' }, { name: 'API keys' }, { name: 'operations' }]
    }
  })
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP: true,
    uiConfig: { validatorUrl: null },
    // *Authorize* gets a token from our own authorization server.
    initOAuth: { clientId: 'docs', usePkceWithAuthorizationCodeGrant: true }
  })
})
