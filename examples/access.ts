import type { AuditRow } from 'fastify-gatehouse'

/** Describes who may call a route. */
export function callersOf ({ access, schemes }: AuditRow): string {
  if (access === 'public') return 'anyone'
  return access === 'required' ? schemes : `${schemes} or anyone`
}

/** Describes the rules of a route. For a public route, returns the reason why it is public. */
export function rulesOf ({ rules, reason }: AuditRow): string {
  return rules.length > 0 ? rules.join(', ') : reason ?? ''
}
