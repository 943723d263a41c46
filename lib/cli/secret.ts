import { randomBytes } from 'node:crypto'
import { optionOf, UsageError } from './terminal.js'

const least = 32
const most = 1024

/** Random bytes as base64url: 32 of them are what every secret of this plugin asks for; HS512 signs with 64. */
export function secret (args: readonly string[]): string {
  const bytes = optionOf('bytes', args, 'secret takes no argument but --bytes.') ?? String(least)
  const count = /^\d{1,4}$/.test(bytes) ? Number(bytes) : NaN
  if (!(count >= least && count <= most)) throw new UsageError(`--bytes must be a whole number from ${least} to ${most}.`)
  return randomBytes(count).toString('base64url')
}
