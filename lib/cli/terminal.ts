import { parseArgs, type ParseArgsConfig } from 'node:util'

/** What a command may use of its process. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: { write (text: string): unknown }
  readonly stderr: { write (text: string): unknown }
}

/** It was asked for wrongly. The message names no argument: one of them may be a password. */
export class UsageError extends Error {}

/** It could not be done. */
export class Failure extends Error {
  readonly exitCode: number

  constructor (message: string, exitCode = 1) {
    super(message)
    this.exitCode = exitCode
  }
}

/** The value of a command's one option, which takes one; `undefined` where it was not given. */
export function optionOf (name: string, args: readonly string[], positionals: string): string | undefined {
  const config = { args: [...args], options: { [name]: { type: 'string', multiple: true } }, allowPositionals: true } satisfies ParseArgsConfig
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
    throw new UsageError(`The only option is --${name}, and it takes a value.`)
  }
}
