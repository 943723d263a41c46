import { mkdir } from 'node:fs/promises'

/** Creates the data folder, readable by its owner only. */
export async function createFolder (folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new Error(`DATA_DIR: the folder ${folder} cannot be created (${codeOf(error)}).`, { cause: error })
  }
}

/** Returns the code of a system, database or Redis error. Its message may contain stored data or a password. */
export function codeOf (error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'no answer'
}
