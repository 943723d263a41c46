import { parseArgs, type ParseArgsConfig } from 'node:util'

/** The streams that a command may use. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: { write (text: string): unknown }
  readonly stderr: { write (text: string): unknown }
}

/** The result of a command that has its own exit code. */
export interface Output {
  readonly text: string
  readonly exitCode: number
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
  return optionsOf([name], args, positionals)[name]
}

/**
 * Parses the arguments of a command. Returns the values of the options that were given.
 * @param positionals the message for an argument that is not an option.
 */
export function optionsOf (
  names: readonly string[], args: readonly string[], positionals: string
): Readonly<Record<string, string | undefined>> {
  const options = Object.fromEntries(names.map(name => [name, { type: 'string', multiple: true } as const]))
  const parsed = parse({ args: [...args], options, allowPositionals: true }, names.length === 1
    ? `The only option is --${names.join()}, which needs a value.`
    : `The options are ${names.map(name => `--${name}`).join(' and ')}, and each needs a value.`)
  if (parsed.positionals.length > 0) throw new UsageError(positionals)
  return Object.fromEntries(Object.entries(parsed.values).map(([name, values]) => [name, valueOf(name, values)]))
}

/**
 * Returns the value of an option that is parsed with `multiple: true`, because the parser would take the last of
 * several. Returns `undefined` if it was not given.
 */
export function valueOf (name: string, [value, ...more]: readonly string[] = []): string | undefined {
  if (more.length > 0) throw new UsageError(`--${name} was given twice.`)
  return value
}

/**
 * Parses arguments.
 * @param usage the message for anything that is not in `config`.
 */
export function parse<T extends ParseArgsConfig> (config: T, usage: string): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs(config)
  } catch {
    throw new UsageError(usage)
  }
}
