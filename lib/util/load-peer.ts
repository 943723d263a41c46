import { createRequire } from 'node:module'
import { isError, misconfigured } from '../errors.js'

const require = createRequire(import.meta.url)

/**
 * Loads an optional library synchronously, so that a missing one is reported at boot and not by the first request.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if it is not installed.
 */
export function loadPeer (library: string, option: string): unknown {
  try {
    return require(library)
  } catch (error) {
    const missing = isError(error) && 'code' in error && error.code === 'MODULE_NOT_FOUND'
    throw missing ? misconfigured(`${option} needs the package '${library}': npm install ${library}`) : error
  }
}
