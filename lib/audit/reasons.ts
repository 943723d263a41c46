import type { AuditRow } from '../../types/audit.js'
import { misconfigured } from '../errors.js'
import type { PublicPath } from '../policy/public-paths.js'

/** Returns every public path without a reason, with the fix. */
export function reasonlessPaths (publicPaths: readonly PublicPath[]): readonly string[] {
  return publicPaths.flatMap(({ path, reason }, i) =>
    reason.trim() === '' ? [`publicPaths[${i}]: write { path: '${path}', reason: '…' }`] : [])
}

/** Returns every public route without a reason, with the fix. A route of a public path has the reason of its path. */
export function reasonlessRoutes (rows: readonly AuditRow[]): readonly string[] {
  return rows
    .filter(({ access, reason, from }) => access === 'public' && reason === null && !from.startsWith('public path '))
    .map(({ method, url, file }) =>
      `${method} ${url}${file === null ? '' : ` (in ${file})`}: write auth: { public: '…' } in place of false`)
}

/**
 * Checks that all public routes and paths have a reason.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming every public route and path without a reason.
 */
export function checkReasons (rows: readonly AuditRow[], publicPaths: readonly PublicPath[]): void {
  const mistakes = [...reasonlessPaths(publicPaths), ...reasonlessRoutes(rows)]
  if (mistakes.length === 0) return
  throw misconfigured('The option requireReason is true, but these public routes or paths have no reason:', mistakes)
}
