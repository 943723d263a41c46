import { closeSync, openSync } from 'node:fs'
import {
  type DatabaseConnection, type Dialect, Kysely, PostgresAdapter, PostgresDialect, type PostgresPool,
  type PostgresPoolClient, type QueryExecutorProvider, SqliteAdapter, type SqliteDatabase, SqliteDialect, SqliteDriver,
  type SqliteStatement
} from 'kysely'
import type Libsql from 'libsql'
import type pg from 'pg'
import type { PoolClient } from 'pg'
import { isError, misconfigured } from '../../errors.js'
import { loadPeer } from '../../util/load-peer.js'

/** The methods of `Kysely` that the store calls, whatever the type of its tables. */
export interface AnyKysely extends QueryExecutorProvider {
  transaction (): { execute<T> (callback: (transaction: QueryExecutorProvider) => Promise<T>): Promise<T> }
}

/** The database to connect to: one of the options of `sqlStore`, parsed. */
export type SqlSource =
  | { readonly sqlite: string }
  | { readonly connectionString: string }
  | { readonly dialect: Dialect }
  | { readonly kysely: AnyKysely }

/** A database, whose connections are opened when they are needed. */
export interface Database {
  readonly kysely: AnyKysely
  readonly engine: 'sqlite' | 'postgres'
  close (): Promise<void>
}

/**
 * Connects to a database.
 * @param timeout milliseconds; of a new connection only.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a database that is neither SQLite nor PostgreSQL.
 */
export function connect (source: SqlSource, timeout: number): Database {
  if ('kysely' in source) return { kysely: source.kysely, engine: engineOf(source.kysely), close: async () => {} }
  const kysely = new Kysely<unknown>({ dialect: 'dialect' in source ? source.dialect : createDialect(source, timeout) })
  return { kysely, engine: engineOf(kysely), close: () => kysely.destroy() }
}

function engineOf (kysely: AnyKysely): Database['engine'] {
  const { adapter } = kysely.getExecutor()
  if (adapter instanceof PostgresAdapter) return 'postgres'
  if (adapter instanceof SqliteAdapter) return 'sqlite'
  throw misconfigured(
    'sqlStore supports only SQLite and PostgreSQL. ' +
      'The given Kysely or dialect is for another database, or from another copy of the package kysely.'
  )
}

function createDialect (
  source: { readonly sqlite: string } | { readonly connectionString: string }, timeout: number
): Dialect {
  return 'sqlite' in source
    ? createSqliteDialect(source.sqlite, timeout)
    : new PostgresDialect({ pool: createPool(source.connectionString, timeout) })
}

function createPool (connectionString: string, timeout: number): PostgresPool {
  const { Pool } = loadPeer('pg', 'sqlStore({ connectionString })') as typeof pg
  const pool = new Pool({
    connectionString,
    max: 10,
    connectionTimeoutMillis: timeout,
    // The server cancels the statement; if it does not even do that, the client stops waiting.
    statement_timeout: timeout,
    query_timeout: timeout + 250,
    idleTimeoutMillis: 10_000,
    keepAlive: true,
    allowExitOnIdle: true
  })
  // A lost connection fails the next query. Without a listener, the error event of an idle or a busy client would end
  // the process.
  pool.on('error', () => {})
  pool.on('connect', client => { client.on('error', () => {}) })
  return { connect: async () => wrapClient(await pool.connect()), end: () => pool.end() }
}

const clients = new WeakMap<PoolClient, PostgresPoolClient>()

/**
 * Wraps a client so that it is destroyed on release after an error that the server did not send: it may wait for a
 * reply forever. Kysely releases every client as a working one.
 */
function wrapClient (client: PoolClient): PostgresPoolClient {
  const known = clients.get(client)
  if (known !== undefined) return known
  let broken = false
  const query = async (text: string, values: readonly unknown[]): Promise<unknown> => {
    try {
      return await client.query(text, [...values])
    } catch (error) {
      broken = !(isError(error) && 'severity' in error)
      throw error
    }
  }
  // Kysely's interface also has cursors, but only for streaming, which the store does not do.
  const wrapped = { query, release: () => { client.release(broken) } } as unknown as PostgresPoolClient
  clients.set(client, wrapped)
  return wrapped
}

/** Creates a dialect for a SQLite file that `libsql` opens at the first query. */
function createSqliteDialect (file: string, timeout: number): Dialect {
  const library = loadPeer('libsql', 'sqlStore({ sqlite })') as typeof Libsql
  const config = { database: async () => open(library, file, timeout) }
  const dialect = new SqliteDialect(config)
  dialect.createDriver = () => new SharedDriver(config)
  return dialect
}

/**
 * Lets all callers use the one connection at once. Kysely would lend it to one caller at a time and wake all the others
 * whenever it is released. That is not needed here: `libsql` is synchronous, and the store uses no transactions on
 * SQLite.
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
  // With WAL, readers do not wait for writers. With NORMAL, a power failure (but not a crash of the process) may lose
  // the last commits, and never corrupts the file.
  database.exec('pragma journal_mode = wal; pragma synchronous = normal')
  return cacheStatements({ prepare: sql => database.prepare(sql), close: () => { database.close() } })
}

/**
 * Creates a file that only its owner can read and write, if it does not exist. SQLite gives the same mode to the files
 * beside it (`-wal`, `-shm`).
 */
function createPrivate (file: string): void {
  try {
    closeSync(openSync(file, 'ax', 0o600))
  } catch {
    // The file exists, and its mode is the operator's choice; otherwise SQLite reports why it cannot be opened.
  }
}

/** Prepares each statement once: a store has a dozen, all with parameters. */
function cacheStatements ({ prepare, close }: SqliteDatabase): SqliteDatabase {
  const statements = new Map<string, SqliteStatement>()
  return {
    prepare (sql) {
      const known = statements.get(sql)
      if (known !== undefined) return known
      const prepared = prepare(sql)
      statements.set(sql, prepared)
      return prepared
    },
    close () {
      statements.clear()
      close()
    }
  }
}
