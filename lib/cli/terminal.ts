import { parseArgs, type ParseArgsConfig } from 'node:util'

/** The streams that a command may use. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: { write (text: string): unknown }
  readonly stderr: { write (text: string): unknown }
}

/** The arguments are wrong. The message quotes none of them, because one may be a password. */
export class UsageError extends Error {}

/** The command failed. */
export class Failure extends Error {
  readonly exitCode: number

  constructor (message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Parses the arguments of a command with one option. Returns its value, or `undefined` if it was not given. */
export function optionOf (name: string, args: readonly string[], positionals: string): string | undefined {
  const config = {
    args: [...args], options: { [name]: { type: 'string', multiple: true } }, allowPositionals: true
  } satisfies ParseArgsConfig
  const parsed = parse(config, name)
  if (parsed.positionals.length > 0) throw new UsageError(positionals)
  const [value, ...more] = (parsed.values[name] ?? []) as readonly string[]
  if (more.length > 0) throw new UsageError(`--${name} was given twice.`)
  return value
}

function parse (config: ParseArgsConfig, name: string): ReturnType<typeof parseArgs> {
  try {
    return parseArgs(config)
  } catch {
    throw new UsageError(`The only option is --${name}, which needs a value.`)
  }
}
