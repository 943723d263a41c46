import Fastify from 'fastify'
import plugin from './plugin.js'

// An application that prints and logs, and that fails or ends the process after it was closed
export default () => {
  console.log('console')
  process.stdout.write('stream\n')
  const app = Fastify({ logger: true })
  app.register(plugin)
  app.addHook('onReady', async () => { app.log.info('logger') })
  app.addHook('onClose', async () => {
    setTimeout(() => {
      if (process.env.ENDING === 'throw') throw new Error('too late')
      process.exit(5)
    }, 50)
  })
  return app
}
