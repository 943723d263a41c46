import { closeSync, openSync } from 'node:fs'
import { SqliteDialect, SqliteDriver, type DatabaseConnection, type Dialect, type SqliteDatabase, type SqliteStatement } from 'kysely'
import type Libsql from 'libsql'
import { peer } from '../peer.js'

/** A SQLite file by `libsql`, opened by the first query. */
export function libsqlDialect (file: string, timeout: number): Dialect {
  const library = peer('libsql', 'sqlStore({ sqlite })') as typeof Libsql
  const config = { database: async () => open(library, file, timeout) }
  const dialect = new SqliteDialect(config)
  dialect.createDriver = () => new SharedDriver(config)
  return dialect
}

/**
 * Kysely lends its one connection to one caller at a time, and wakes all others whenever it comes back. Here nobody waits for it: `libsql` has answered when it
 * returns, and nobody of this store begins a transaction on SQLite.
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
  // A reader does not wait for a writer. NORMAL loses the last commits when the power fails (not when the process does), and corrupts nothing.
  database.exec('pragma journal_mode = wal; pragma synchronous = normal')
  return compiledOnce({ prepare: sql => database.prepare(sql), close: () => { database.close() } })
}

/** Creates a file that only its owner reads and writes, where there is none. What SQLite puts beside it (`-wal`, `-shm`) has the mode of the file. */
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
