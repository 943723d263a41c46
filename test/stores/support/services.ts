import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import pg from 'pg'
import { timeLimit } from '../../support/time-limit.js'

export const databaseUrl = process.env['DATABASE_URL'] ?? 'postgres://root@127.0.0.1:5432/test'
export const redisUrl = process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379'

/** A prefix that no other run has. */
export function prefix (): string {
  return `t${randomBytes(6).toString('hex')}_`
}

/** Why the tests of a service are skipped, `false` when they are not: where CI is true, a missing service is a failure. */
export async function missing (name: string, check: () => Promise<unknown>): Promise<string | false> {
  try {
    await check()
    return false
  } catch (error) {
    if (process.env['CI'] === 'true') throw error
    return `${name} does not answer: its tests are skipped`
  }
}

export function noPostgres (): Promise<string | false> {
  return missing('PostgreSQL', () => query('select 1'))
}

export function noRedis (): Promise<string | false> {
  return missing('Redis', async () => { await withRedis(client => client.ping()) })
}

/** Asks PostgreSQL beside the store. */
export async function query (text: string): Promise<readonly unknown[]> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: timeLimit(5_000) })
  await client.connect()
  try {
    return (await client.query(text)).rows as unknown[]
  } finally {
    await client.end()
  }
}

/** Asks Redis beside the store. */
export async function withRedis<T> (ask: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(redisUrl, { lazyConnect: true, retryStrategy: () => null })
  client.on('error', () => {})
  try {
    await client.connect()
    return await ask(client)
  } finally {
    client.disconnect()
  }
}

/** Removes the tables of a prefix. */
export async function dropTables (prefix: string): Promise<void> {
  await query(`drop table if exists ${prefix}records, ${prefix}counters`)
}

/** Removes the keys of a prefix. */
export async function dropKeys (prefix: string): Promise<void> {
  await withRedis(async client => {
    for await (const keys of client.scanStream({ match: `*${prefix}*`, count: 1_000 }) as AsyncIterable<string[]>) {
      if (keys.length > 0) await client.unlink(...keys)
    }
  })
}
