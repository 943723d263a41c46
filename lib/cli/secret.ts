import { randomBytes } from 'node:crypto'
import { optionOf, UsageError } from './terminal.js'

const minBytes = 32
const maxBytes = 1024

/** Prints random bytes as base64url. 32 bytes are enough for every secret of this plugin; HS512 needs 64. */
export function secret (args: readonly string[]): string {
  const bytes = optionOf('bytes', args, 'secret takes no arguments except --bytes.') ?? String(minBytes)
  const count = /^\d{1,4}$/.test(bytes) ? Number(bytes) : NaN
  if (!(count >= minBytes && count <= maxBytes)) {
    throw new UsageError(`--bytes must be a whole number from ${minBytes} to ${maxBytes}.`)
  }
  return randomBytes(count).toString('base64url')
}
