import { misconfigured } from '../errors.js'

/**
 * Loads an optional library for what needs it.
 * @throws {AuthError} `AUTH_MISCONFIGURED` when it is not installed.
 */
export async function peer<T> (load: () => Promise<T>, library: string, place: string): Promise<T> {
  try {
    return await load()
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
    throw missing ? misconfigured(`${place} needs the package '${library}': npm install ${library}`) : error
  }
}
