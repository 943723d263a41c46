import { createRequire } from 'node:module'
import { isError, misconfigured } from '../errors.js'

const require = createRequire(import.meta.url)

/**
 * Loads an optional library synchronously, so that a missing one is reported at boot and not by the first request.
 * @param use what needs it, as the beginning of a sentence.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if it is not installed, or cannot be loaded.
 */
export function loadPeer (library: string, use: string): unknown {
  try {
    return require(library)
  } catch (error) {
    const isMissing = isError(error) && 'code' in error && error.code === 'MODULE_NOT_FOUND'
    throw misconfigured(isMissing
      ? `${use} needs the package '${library}': npm install ${library}`
      : `${use} needs the package '${library}', which cannot be loaded: ${isError(error) ? error.message : 'it threw'}`)
  }
}
