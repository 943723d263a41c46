import type { FastifyInstance } from 'fastify'
import type { AuditRow } from '../../types/audit.js'
import type { Store } from '../../types/store.js'
import { backingOf, type InfoClient } from '../stores/backing.js'

/** An origin that no application allows on purpose (RFC 2606). */
const strangeOrigin = 'https://doctor.invalid'

/** Returns the protected routes whose preflight allows credentials to every origin. */
export async function corsFindings (app: FastifyInstance, rows: readonly AuditRow[]): Promise<readonly string[]> {
  const found: string[] = []
  for (const { method, url, access } of rows) {
    if (access === 'public' || method === 'OPTIONS') continue
    const { headers } = await app.inject({
      method: 'OPTIONS',
      url: url.replace(/:[^/-]+|\*/g, 'x'),
      headers: { origin: strangeOrigin, 'access-control-request-method': method.replace(/,.*/, '') }
    })
    const origin = headers['access-control-allow-origin']
    const isOpen = origin === '*' || origin === strangeOrigin
    if (isOpen && headers['access-control-allow-credentials'] === 'true') found.push(`${method} ${url}`)
  }
  return found
}

/**
 * Returns the uses of a Redis that may evict records.
 * @param limits the client of the option `limits.redis`, if there is one.
 */
export async function redisFindings (store: Store | null, limits: object | null): Promise<readonly string[]> {
  const backing = store === null ? undefined : backingOf(store)
  const found: string[] = []
  for (const [name, client] of [
    ['store', backing?.kind === 'redis' ? backing.client : null], ['limits.redis', limits as InfoClient | null]
  ] as const) {
    const policy = client === null ? 'noeviction' : await evictionPolicyOf(client)
    if (policy !== 'noeviction') found.push(`${name}: ${policy}`)
  }
  return found
}

/**
 * Returns the `maxmemory-policy` by `INFO`, because managed servers forbid `CONFIG`; `noeviction` if it is not told.
 */
async function evictionPolicyOf (client: InfoClient): Promise<string> {
  const text = await client.info('memory').catch(() => '')
  return /^maxmemory_policy:(\S+)/m.exec(text)?.[1] ?? 'noeviction'
}
