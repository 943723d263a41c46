import { createRequire } from 'node:module'
import { misconfigured } from '../errors.js'

const require = createRequire(import.meta.url)

/**
 * Loads an optional library, at once: who asks for a store learns there that something is missing, not from its first request.
 * @throws {AuthError} `AUTH_MISCONFIGURED` when it is not installed.
 */
export function peer (library: string, place: string): unknown {
  try {
    return require(library)
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND'
    throw missing ? misconfigured(`${place} needs the package '${library}': npm install ${library}`) : error
  }
}
