#!/usr/bin/env node
import { run } from './run.js'

// The disk is full, or the reader of the pipe has gone: exit with an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.stderr.write(`Standard output cannot be written (${error.code}).\n`)
  process.exit(1)
})
process.exitCode = await run(process.argv.slice(2), process)
// Connections that an audited application left open must not keep the process alive.
setTimeout(() => { process.exit() }, 1_000).unref()
