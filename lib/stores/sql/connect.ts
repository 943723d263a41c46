import { closeSync, openSync } from 'node:fs'
import {
  type DatabaseConnection, type Dialect, Kysely, PostgresAdapter, PostgresDialect, type PostgresPool,
  type PostgresPoolClient, SqliteAdapter, type SqliteDatabase, SqliteDialect, SqliteDriver, type SqliteStatement
} from 'kysely'
import type Libsql from 'libsql'
import type pg from 'pg'
import type { PoolClient } from 'pg'
import { misconfigured } from '../../errors.js'
import { peer } from '../errors.js'
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
  throw misconfigured(
    'sqlStore speaks SQLite and PostgreSQL: the given Kysely, or dialect, is for another database (or of another copy of Kysely).'
  )
}

function dialectOf (
  source: { readonly sqlite: string } | { readonly connectionString: string }, timeout: number
): Dialect {
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
  // Lost connections are an error of the next query. An error event that nobody hears would end the process, of idle
  // clients and of busy ones.
  pool.on('error', () => {})
  pool.on('connect', client => { client.on('error', () => {}) })
  return { connect: async () => clientOf(await pool.connect()), end: () => pool.end() }
}

const clients = new WeakMap<PoolClient, PostgresPoolClient>()

/**
 * Kysely gives every client back as a good one. A client that failed otherwise than by the server's word may wait for
 * an answer forever: it is thrown away.
 */
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

/** A SQLite file by `libsql`, opened by the first query. */
function libsqlDialect (file: string, timeout: number): Dialect {
  const library = peer('libsql', 'sqlStore({ sqlite })') as typeof Libsql
  const config = { database: async () => open(library, file, timeout) }
  const dialect = new SqliteDialect(config)
  dialect.createDriver = () => new SharedDriver(config)
  return dialect
}

/**
 * Kysely lends its one connection to one caller at a time, and wakes all others whenever it comes back. Here nobody
 * waits for it: `libsql` has answered when it returns, and nobody of this store begins a transaction on SQLite.
 */
class SharedDriver extends SqliteDriver {
  #connection: Promise<DatabaseConnection> | null = null

  override acquireConnection (): Promise<DatabaseConnection> {
    this.#connection ??= super.acquireConnection()
    return this.#connection
  }

  override async releaseConnection (): Promise<void> {}
}

function open (Database: typeof Libsql, file: string, timeout: number): SqliteDatabase {
  if (file !== ':memory:') createPrivate(file)
  const database = new Database(file, { timeout })
  // A reader does not wait for a writer. NORMAL loses the last commits when the power fails (not when the process
  // does), and corrupts nothing.
  database.exec('pragma journal_mode = wal; pragma synchronous = normal')
  return compiledOnce({ prepare: sql => database.prepare(sql), close: () => { database.close() } })
}

/**
 * Creates a file that only its owner reads and writes, where there is none. What SQLite puts beside it (`-wal`, `-shm`)
 * has the mode of the file.
 */
function createPrivate (file: string): void {
  try {
    closeSync(openSync(file, 'ax', 0o600))
  } catch {
    // it is there, and its mode is the operator's choice; or SQLite is about to say why it cannot be opened
  }
}

/** A store has a dozen statements, all with parameters. */
function compiledOnce ({ prepare, close }: SqliteDatabase): SqliteDatabase {
  const statements = new Map<string, SqliteStatement>()
  return {
    prepare (sql) {
      const known = statements.get(sql)
      if (known !== undefined) return known
      const made = prepare(sql)
      statements.set(sql, made)
      return made
    },
    close () {
      statements.clear()
      close()
    }
  }
}
