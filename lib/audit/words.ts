import type { AuditRow } from '../../types/audit.js'

/** Returns a route in words: `GET, POST /orders`, with its constraints `GET /orders (host admin.example.com)`. */
export function routeInWords ({ method, url, constraints }: Pick<AuditRow, 'method' | 'url' | 'constraints'>): string {
  return `${method} ${url}${constraintsInWords(constraints)}`
}

/** Returns the constraints of a route in words, with a space before them; `''` without any. */
export function constraintsInWords (constraints: AuditRow['constraints']): string {
  const words = Object.entries(constraints ?? {}).map(([name, value]) => `${name} ${value}`)
  return words.length === 0 ? '' : ` (${words.join(', ')})`
}
