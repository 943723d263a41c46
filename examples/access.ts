import type { AuditRow } from 'fastify-gatehouse'

/** Who may call a route, in a few words. */
export function callersOf ({ access, schemes }: AuditRow): string {
  if (access === 'public') return 'anyone'
  return access === 'required' ? schemes : `${schemes} or anyone`
}

/** What is asked of them; of a public route, why it is one. */
export function rulesOf ({ rules, reason }: AuditRow): string {
  return rules.length > 0 ? rules.join(', ') : reason ?? ''
}
