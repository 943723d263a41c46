import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { link, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'
import { codeOf, createFolder } from './folder.js'

type Names = readonly string[]
type Secrets = Readonly<Record<string, string | undefined>>

/**
 * Returns secrets for development. They are generated once and kept in `<folder>/secrets.env`, so that sessions, tokens
 * and keys survive a restart.
 * @throws {Error} If the file cannot be read or is damaged.
 */
export async function generatedSecrets (folder: string, names: Names, log: FastifyBaseLogger): Promise<Secrets> {
  const file = join(folder, 'secrets.env')
  await createFolder(folder)
  try {
    const text = await readOrNull(file) ?? await createOnce(file, names)
    const secrets = parseEnv(text)
    const missing = names.filter(name => !/^(?:[\w-]{16,}|\{"keys":.+\})$/.test(secrets[name] ?? ''))
    if (missing.length > 0) throw new Error(damaged(file, missing))
    await warnIfReadable(file, log)
    return secrets
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error
    throw new Error(`The file ${file} cannot be used (${codeOf(error)}).`, { cause: error })
  }
}

function damaged (file: string, missing: readonly string[]): string {
  return `The file ${file} is damaged: it does not contain ${missing.join(', ')}. ` +
    'Delete it to generate new secrets. Everybody then has to log in again.'
}

async function readOrNull (file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

/** Creates the file atomically. If another process creates it at the same time, its file is used. */
async function createOnce (file: string, names: readonly string[]): Promise<string> {
  const lines = names.map(name => `${name}=${name.endsWith('_KEYS') ? newKeys() : newSecret(name)}`)
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  const text = `# Generated for development. Delete this file to generate new secrets.\n${lines.join('\n')}\n`
  await writeFile(draft, text, { flag: 'wx', mode: 0o600 })
  try {
    await link(draft, file)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    await rm(draft)
  }
  return await readFile(file, 'utf8')
}

/** Returns random bytes: fewer for keys, which people paste, and for passwords, which they type. */
function newSecret (name: string): string {
  return randomBytes(name.endsWith('_SECRET') ? 32 : name.endsWith('_KEY') ? 24 : 12).toString('base64url')
}

/** Returns a set with one private key, as JSON in quotes. */
function newKeys (): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const kid = randomBytes(6).toString('base64url')
  return `'${JSON.stringify({ keys: [{ ...privateKey.export({ format: 'jwk' }), kid, alg: 'ES256' }] })}'`
}

/**
 * Logs a warning if other users can read the file. It is not an error, because the secrets are for development, and
 * some file systems (Windows drives in WSL, shared folders) cannot store a stricter mode.
 */
async function warnIfReadable (file: string, log: FastifyBaseLogger): Promise<void> {
  const { mode } = await stat(file)
  if (process.platform === 'win32' || (mode & 0o077) === 0) return
  log.warn(`Other users of this machine can read ${file}. To fix this: chmod 600 ${file}`)
}
