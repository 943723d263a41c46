import { AuthError } from '../errors.js'
import { audit } from './audit.js'
import { doctor } from './doctor.js'
import { hash } from './hash.js'
import { keys, secret } from './keys.js'
import { Failure, type Output, type Terminal, UsageError } from './terminal.js'

/** A command. Returns the text for standard output, with an exit code if it is not 0. */
type Command = (args: readonly string[], terminal: Terminal) => string | Output | Promise<string | Output>

const commands: ReadonlyMap<string, Command> = new Map(Object.entries({ audit, doctor, secret, keys, hash }))

/**
 * Runs one command. Results go to standard output and everything else to standard error, so that `secret > file` writes
 * only the secret.
 * @returns the exit code: 0; 1 if the command failed; 2 for wrong arguments; 3 if an application could not be loaded;
 * 130 if the person interrupted it.
 */
export async function run ([name, ...args]: readonly string[], terminal: Terminal): Promise<number> {
  if (name === '--help' || name === '-h' || name === 'help' || args.includes('--help') || args.includes('-h')) {
    terminal.stdout.write(usage)
    return 0
  }
  try {
    const command = name === undefined ? undefined : commands.get(name)
    if (command === undefined) {
      throw new UsageError(name === undefined ? 'A command is missing.' : 'There is no such command.')
    }
    const output = await command(args, terminal)
    const { text, exitCode } = typeof output === 'string' ? { text: output, exitCode: 0 } : output
    terminal.stdout.write(`${text}\n`)
    return exitCode
  } catch (error) {
    return report(error, terminal)
  }
}

function report (error: unknown, { stderr }: Terminal): number {
  if (error instanceof UsageError) {
    stderr.write(`${error.message}\n\n${usage}`)
    return 2
  }
  if (error instanceof Failure) {
    stderr.write(`${error.message}\n`)
    return error.exitCode
  }
  stderr.write(`${error instanceof AuthError ? error.detail : String(error)}\n`)
  return 1
}

const usage = `Usage: fastify-gatehouse <command>

  secret [--bytes <n>]          print random bytes as base64url (default 32 bytes, at most 1024)
  keys [--alg <name>]           print a new signing key as a private and a public JWK set: ES256 (default), EdDSA or
                                Ed25519
  keys --rotate <file>          print the next sets for those in a file: the next key signs, and a new one is next
  hash [--algorithm <name>]     print the hash of a password: argon2id (default), scrypt or bcrypt

  audit <app>                   print who may call each route of an application: the module whose default export is
                                an application, a function that returns one, or a plugin
        [--json | --markdown]   in another form than a table
        [--check <file>]        compare with a snapshot; the exit code is 1 if something was loosened or is unclear
        [--update]              write the snapshot of --check anew

  doctor <app>                  print the weaknesses in the set-up of an application; the exit code is 1 if one of them
                                would stop the boot in production
        [--json]                as JSON

hash asks for the password without echoing it, or reads it from standard input:
  fastify-gatehouse hash < password.txt
It does not accept the password as an argument, because other users and the history of the shell can see arguments.
`
