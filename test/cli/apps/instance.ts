import Fastify from 'fastify'
import plugin from './plugin.js'

const app = Fastify()
await app.register(plugin)

export default app
