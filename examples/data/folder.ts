import { mkdir } from 'node:fs/promises'

/** Makes the folder of everything that is kept, for nobody else on this machine to look into. */
export async function makeFolder (folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new Error(`DATA_DIR: the folder ${folder} cannot be made (${codeOf(error)}).`, { cause: error })
  }
}

/** The code of a system, a database or Redis. What they say beside it may hold what was stored, or a password. */
export function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'no answer'
}
