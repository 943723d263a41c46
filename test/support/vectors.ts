import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Public test vectors that stand outside of the repository; `GATEHOUSE_VECTORS` names their folder. */
const folder = process.env['GATEHOUSE_VECTORS'] ?? ''

if (folder !== '' && !existsSync(folder)) throw new Error(`GATEHOUSE_VECTORS names ${folder}, which does not exist`)

/** The reason to skip a test that needs the vectors, `false` where they are available. */
export const withoutVectors: string | false = folder === '' && 'GATEHOUSE_VECTORS names no folder of test vectors'

/** Returns the path of a file or folder of the vectors. */
export function vectorPath (path: string): string {
  return join(folder, path)
}

/** Reads a JSON file of the vectors. */
export function readVectors<T> (path: string): T {
  return JSON.parse(readFileSync(vectorPath(path), 'utf8')) as T
}

/** Reads the lines of a word list of the vectors, without empty ones. */
export function readWords (path: string): readonly string[] {
  return readFileSync(vectorPath(path), 'utf8').split(/\r?\n/).filter(line => line !== '')
}
