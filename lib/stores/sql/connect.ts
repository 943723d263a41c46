import { Kysely, PostgresAdapter, PostgresDialect, SqliteAdapter, type Dialect, type PostgresPool, type PostgresPoolClient } from 'kysely'
import type pg from 'pg'
import type { PoolClient } from 'pg'
import { misconfigured } from '../../errors.js'
import { peer } from '../peer.js'
import { libsqlDialect } from './libsql.js'
import type { AnyKysely, ParsedOptions } from './options.js'

/** A database that is ready to be asked: connections are made when they are needed. */
export interface Database {
  readonly kysely: AnyKysely
  readonly engine: 'sqlite' | 'postgres'
  close (): Promise<void>
}

/** @throws {AuthError} `AUTH_MISCONFIGURED` for a database that is neither SQLite nor PostgreSQL. */
export function connect ({ source, timeout }: ParsedOptions): Database {
  if ('kysely' in source) return { kysely: source.kysely, engine: engineOf(source.kysely), close: async () => {} }
  const kysely = new Kysely<unknown>({ dialect: 'dialect' in source ? source.dialect : dialectOf(source, timeout) })
  return { kysely, engine: engineOf(kysely), close: () => kysely.destroy() }
}

function engineOf (kysely: AnyKysely): Database['engine'] {
  const { adapter } = kysely.getExecutor()
  if (adapter instanceof PostgresAdapter) return 'postgres'
  if (adapter instanceof SqliteAdapter) return 'sqlite'
  throw misconfigured('sqlStore speaks SQLite and PostgreSQL: the given Kysely, or dialect, is for another database (or of another copy of Kysely).')
}

function dialectOf (source: { readonly sqlite: string } | { readonly connectionString: string }, timeout: number): Dialect {
  return 'sqlite' in source
    ? libsqlDialect(source.sqlite, timeout)
    : new PostgresDialect({ pool: poolOf(source.connectionString, timeout) })
}

function poolOf (connectionString: string, timeout: number): PostgresPool {
  const { Pool } = peer('pg', 'sqlStore({ connectionString })') as typeof pg
  const pool = new Pool({
    connectionString,
    max: 10,
    connectionTimeoutMillis: timeout,
    // the server gives up on a statement, and we on a server that does not even do that
    statement_timeout: timeout,
    query_timeout: timeout + 250,
    idleTimeoutMillis: 10_000,
    keepAlive: true,
    allowExitOnIdle: true
  })
  // Lost connections are an error of the next query. An error event that nobody hears would end the process, of idle clients and of busy ones.
  pool.on('error', () => {})
  pool.on('connect', client => { client.on('error', () => {}) })
  return { connect: async () => clientOf(await pool.connect()), end: () => pool.end() }
}

const clients = new WeakMap<PoolClient, PostgresPoolClient>()

/** Kysely gives every client back as a good one. A client that failed otherwise than by the server's word may wait for an answer forever: it is thrown away. */
function clientOf (client: PoolClient): PostgresPoolClient {
  const known = clients.get(client)
  if (known !== undefined) return known
  let broken = false
  const query = async (text: string, values: readonly unknown[]): Promise<unknown> => {
    try {
      return await client.query(text, [...values])
    } catch (error) {
      broken = !(error instanceof Error && 'severity' in error)
      throw error
    }
  }
  // the cursors of Kysely's interface are for streaming, which nobody here does
  const made = { query, release: () => { client.release(broken) } } as unknown as PostgresPoolClient
  clients.set(client, made)
  return made
}
