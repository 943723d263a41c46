import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fp from 'fastify-plugin'

/** Serves the API documentation at `/docs`. Register it before the routes whose schemas it shows. */
export const docs = fp(async app => {
  await app.register(swagger, {
    openapi: {
      info: { title: 'Order desk', description: 'Orders, for people and machines.', version: '1.0.0' },
      tags: [{ name: 'orders' }, { name: 'people' }, { name: 'operations' }]
    }
  })
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, uiConfig: { validatorUrl: null } })
})
