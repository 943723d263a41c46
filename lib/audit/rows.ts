import { readFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { inspect } from 'node:util'
import type { AuditRow } from '../../types/audit.js'
import { misconfigured } from '../errors.js'
import { type Policy, requiresScope } from '../policy/policy.js'
import type { PublicPath } from '../policy/public-paths.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { policyData, rulesInWords, schemesInWords } from '../policy/words.js'
import type { Stage } from '../routes/hooks.js'
import { getOrCreate } from '../util/objects.js'
import { routeInWords } from './snapshot.js'

/**
 * Returns a row for every route, sorted by pattern. A HEAD route that Fastify added for a GET route has no row of its
 * own.
 */
export function auditRows (routes: readonly RoutePolicy[], stage: Stage): readonly AuditRow[] {
  const gets = new Map<string, Set<Policy>>()
  for (const { url, policy } of routes.filter(route => route.methods === 'GET')) {
    getOrCreate(gets, url, () => new Set<Policy>()).add(policy)
  }
  return routes
    .filter(route => route.methods !== 'HEAD' || !patternsOfGet(route).some(url => gets.get(url)?.has(route.policy)))
    .map(route => row(route, stage))
    .sort((a, b) => compare(a.url, b.url) || compare(a.method, b.method))
}

/**
 * Returns the patterns under which the GET of a HEAD may be listed: for the root of a prefix, `onRoute` reports
 * `GET /prefix` and `HEAD /prefix/`.
 */
function patternsOfGet ({ url, server }: RoutePolicy): readonly string[] {
  return url === `${server.prefix}/` ? [url, server.prefix] : [url]
}

function row ({ policy, methods, url, constraints, from, preflight, file }: RoutePolicy, declared: Stage): AuditRow {
  const stage = preflight ? 'preHandler' : declared
  const data = policyData(policy)
  return Object.freeze({
    method: methods,
    url,
    constraints: constraintsAsText(constraints),
    access: policy.access,
    schemes: schemesInWords(data),
    rules: Object.freeze(rulesInWords(data)),
    from,
    delegated: acceptsDelegated(policy),
    stage: policy.access === 'public' ? 'none' : policy.late && stage !== 'preHandler' ? `${stage}, preHandler` : stage,
    reason: reasonOf(policy),
    policy: data,
    file: file === null ? null : fileInPackage(file)
  })
}

/** Returns the constraints of a route as text. Those of an application's own strategies may be any values. */
export function constraintsAsText (constraints: RoutePolicy['constraints']): AuditRow['constraints'] {
  const entries = Object.entries(constraints ?? {}).sort(([a], [b]) => compare(a, b))
  if (entries.length === 0) return null
  const asText = (value: unknown): string =>
    typeof value === 'string' ? value : inspect(value, { depth: null, breakLength: Infinity })
  return Object.freeze(Object.fromEntries(entries.map(([name, value]) => [name, asText(value)])))
}

/** Returns true if a client may call the route for a person: it requires a scope, or the scheme is for clients. */
function acceptsDelegated ({ alternatives, rules, requiresScope: isScoped }: Policy): boolean {
  const entries = rules.flatMap(rule => rule.anyOf ?? []).filter(requiresScope)
  return alternatives.some(([acting, ...others]) => {
    if (others.some(({ scheme }) => scheme.delegated === true)) return true
    if (acting?.scheme.delegated === undefined) return false
    return acting.scheme.delegated || isScoped ||
      entries.some(({ schemes }) => schemes === null || schemes.includes(acting.name))
  })
}

/** Returns the reason why a route is public, or a note that it does not inherit the default. */
function reasonOf (policy: Policy): string | null {
  if (policy.access === 'public') return policy.reason === '' ? null : policy.reason
  return policy.detached ? 'inherit: false' : null
}

function compare (a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

const titles = ['route', 'access', 'schemes', 'rules', 'delegated', 'from', 'file'] as const

function cellsOf (row: AuditRow): readonly string[] {
  const { access, schemes, rules, delegated, from, reason, file } = row
  const words = [...rules, ...reason === null ? [] : [reason]].join('; ')
  return [routeInWords(row), access, schemes, words, delegated ? 'yes' : '', from, file ?? '']
    .map(cell => cell.replace(/\s*\n\s*/g, ' '))
}

/** Returns the lines of the table, titles first. Without a route for delegated tokens, they have no column. */
function linesOf (rows: readonly AuditRow[]): ReadonlyArray<readonly string[]> {
  const lines: ReadonlyArray<readonly string[]> = [titles, ...rows.map(cellsOf)]
  return rows.some(({ delegated }) => delegated) ? lines : lines.map(cells => cells.toSpliced(4, 1))
}

/** Writes the audit as a table of text. */
export function auditTable (rows: readonly AuditRow[]): string {
  const lines = linesOf(rows)
  const [head = []] = lines
  const widths = head.map((_, i) => Math.max(...lines.map(cells => String(cells[i]).length)))
  return lines.map(cells => cells.map((cell, i) => cell.padEnd(Number(widths[i]))).join('  ').trimEnd()).join('\n')
}

/** Writes the audit as a table of Markdown. */
export function auditMarkdown (rows: readonly AuditRow[]): string {
  const [head = [], ...lines] = linesOf(rows)
  const all = [head, head.map(() => '---'), ...lines.map(cells => cells.map(escape))]
  return all.map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

function escape (cell: string): string {
  return cell.replaceAll('|', '\\|')
}

/**
 * Returns the path of a file relative to its package, with slashes: `routes/orders.ts`. The path of a library's file
 * begins with the library's name, without the folder in which a package manager keeps it.
 */
export function fileInPackage (path: string): string {
  const slashed = path.replaceAll('\\', '/')
  const library = slashed.lastIndexOf('/node_modules/')
  if (library !== -1) return slashed.slice(library + '/node_modules/'.length)
  const folder = packageOf(dirname(path))
  return folder === null ? basename(path) : relative(folder, path).replaceAll('\\', '/')
}

const packages = new Map<string, string | null>()

/** Returns the root folder of the package that a folder belongs to; `null` if there is none. */
function packageOf (folder: string): string | null {
  return getOrCreate<string, string | null>(packages, folder, () => {
    const above = dirname(folder)
    return isPackage(folder) ? folder : above === folder ? null : packageOf(above)
  })
}

/** Returns true for a folder with a package.json that has a name. Builds have one with only a `type`. */
function isPackage (folder: string): boolean {
  try {
    const text = readFileSync(join(folder, 'package.json'), 'utf8')
    return typeof (JSON.parse(text) as { readonly name?: unknown }).name === 'string'
  } catch {
    return false
  }
}

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
