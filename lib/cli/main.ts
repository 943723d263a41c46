#!/usr/bin/env node
import { run } from './run.js'

// A full disk, or a reader that has gone: a sentence, and no exit code that says it is done.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.stderr.write(`Standard output cannot be written (${error.code}).\n`)
  process.exit(1)
})
process.exitCode = await run(process.argv.slice(2), process)
