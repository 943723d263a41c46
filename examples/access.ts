import type { AuditRow } from 'fastify-gatehouse'

/** Describes who may call a route. */
export function callersOf ({ access, schemes }: AuditRow): string {
  if (access === 'public') return 'anyone'
  return access === 'required' ? schemes : `${schemes} or anyone`
}

/** Describes the rules of a route. For a public route, returns the reason why it is public. */
export function rulesOf ({ rules, reason }: AuditRow): string {
  if (rules.length === 0) return reason ?? ''
  return rules.join(', ').replace(/\b(\d+) s\b/g, (_, count) => duration(Number(count)))
}

const units = [[86_400, 'day'], [3_600, 'hour'], [60, 'minute'], [1, 'second']] as const

/** Formats a number of seconds for people: `1 second`, `40 seconds`, `3 minutes`. */
export function duration (seconds: number): string {
  const [size, unit] = units.find(([size]) => seconds >= size && seconds % size === 0) ?? [1, 'second']
  const count = seconds / size
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}
