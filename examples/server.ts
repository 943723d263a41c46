import { build } from './app.js'
import { guide } from './guide.js'

try {
  const desk = await build()
  const { app, config } = desk
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      app.close().catch((error: unknown) => { app.log.error(error) })
      // What is under way may end; a stranger who sends half a request would keep the process for ever.
      setTimeout(() => { app.server.closeAllConnections() }, 5_000).unref()
    })
  }
  await app.listen({ port: config.PORT, host: config.HOST })
  process.stdout.write(await guide(desk))
} catch (error) {
  process.stderr.write(`The order desk did not start. ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
