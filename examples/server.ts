import { build } from './app.js'
import { guide } from './guide.js'

try {
  const example = await build()
  const { app, config } = example
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      app.close().catch((error: unknown) => { app.log.error(error) })
      // Requests in progress may finish, but a client that never finishes its request must not keep the process alive.
      setTimeout(() => { app.server.closeAllConnections() }, 5_000).unref()
    })
  }
  await app.listen({ port: config.PORT, host: config.HOST })
  process.stdout.write(await guide(example))
} catch (error) {
  process.stderr.write(`The server did not start. ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
