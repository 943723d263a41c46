#!/usr/bin/env node
import { run } from './run.js'

const { stdin, stdout, stderr } = process
// The disk is full, or the reader of the pipe has gone: exit with an error.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  stderr.write(`Standard output cannot be written (${error.code}).\n`)
  process.exit(1)
})
// Standard output is only for the result, but an audited application may print and log there as well.
Object.defineProperty(process, 'stdout', { value: stderr })
const exitCode = await run(process.argv.slice(2), { stdin, stdout, stderr })
// The exit code is decided: an audited application that still runs can neither change it nor delay the exit.
stdout.write('', error => { if (error == null) process.exit(exitCode) })
