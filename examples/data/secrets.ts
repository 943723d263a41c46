import { randomBytes } from 'node:crypto'
import { link, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { FastifyBaseLogger } from 'fastify'
import { codeOf, makeFolder } from './folder.js'

/**
 * Secrets for development, made up once and kept in `<folder>/secrets.env`, so that sessions, tokens and keys survive a restart.
 * @throws {Error} a sentence, when the file cannot be read or is damaged.
 */
export async function keptSecrets (folder: string, names: readonly string[], log: FastifyBaseLogger): Promise<Readonly<Record<string, string | undefined>>> {
  const file = join(folder, 'secrets.env')
  await makeFolder(folder)
  try {
    const text = await textOf(file) ?? await makeOnce(file, names)
    const kept = parseEnv(text)
    const bad = names.filter(name => !/^[\w-]{16,}$/.test(kept[name] ?? ''))
    if (bad.length > 0) throw new Error(`The file ${file} is damaged: it does not have ${bad.join(', ')}. Remove it to begin with new secrets: everybody logs in again.`)
    await warnOfReaders(file, log)
    return kept
  } catch (error) {
    throw error instanceof Error && 'code' in error ? new Error(`The file ${file} cannot be used (${codeOf(error)}).`, { cause: error }) : error
  }
}

async function textOf (file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

/** Two processes may start at once: the file appears whole or not at all, and whoever comes second takes what is there. */
async function makeOnce (file: string, names: readonly string[]): Promise<string> {
  const lines = names.map(name => `${name}=${randomBytes(sizeOf(name)).toString('base64url')}`)
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  await writeFile(draft, `# Made up for development. To begin anew, remove this file.\n${lines.join('\n')}\n`, { flag: 'wx', mode: 0o600 })
  try {
    await link(draft, file)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    await rm(draft)
  }
  return await readFile(file, 'utf8')
}

/** Bytes: less of what people paste and type. */
function sizeOf (name: string): number {
  return name.endsWith('_SECRET') ? 32 : name.endsWith('_KEY') ? 24 : 12
}

/** A warning and no refusal: these secrets are for development, and some file systems (Windows' disks in WSL, shared folders) can keep no mode that would mend it. */
async function warnOfReaders (file: string, log: FastifyBaseLogger): Promise<void> {
  const { mode } = await stat(file)
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) log.warn(`${file} may be read by others on this machine. To mend it: chmod 600 ${file}`)
}
