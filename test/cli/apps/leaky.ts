import Fastify from 'fastify'
import plugin from './plugin.js'

// a connection that is never closed
setInterval(() => {}, 1_000)

export default () => {
  const app = Fastify()
  app.register(plugin)
  return app
}
