import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyBaseLogger } from 'fastify'
import { Kysely, PostgresDialect, SqliteDialect } from 'kysely'
import Libsql from 'libsql'
import pg from 'pg'
import { codeOf, createFolder } from './folder.js'
import { createTables, type Tables } from './tables.js'

export interface DatabaseConfig {
  /** The URL of PostgreSQL, or an empty string for a SQLite file. */
  readonly DATABASE_URL: string
  /** The folder of the SQLite file. */
  readonly DATA_DIR: string
}

/**
 * Opens the database and creates its tables: a SQLite file, or PostgreSQL for several instances. The caller closes it.
 * @throws {Error} The message leaves out the URL, which may contain a password.
 */
export async function openDatabase (config: DatabaseConfig, log: FastifyBaseLogger): Promise<Kysely<Tables>> {
  const { DATABASE_URL, DATA_DIR } = config
  const isFile = DATABASE_URL === ''
  const file = join(DATA_DIR, 'order-desk.sqlite')
  if (isFile) {
    await createFolder(DATA_DIR)
    await createPrivately(file)
  }
  const database = new Kysely<Tables>({ dialect: isFile ? sqlite(file) : postgres(DATABASE_URL, log) })
  try {
    await createTables(database, isFile ? 'sqlite' : 'postgres')
    return database
  } catch (error) {
    await database.destroy()
    const what = isFile ? `The file ${file} cannot be used as a database` : 'DATABASE_URL: PostgreSQL cannot be used'
    throw new Error(`${what} (${codeOf(error)}).`, { cause: error })
  }
}

/**
 * Creates the file for its owner only, because it contains password hashes and the folder may be readable by others.
 * SQLite gives its other files the same mode.
 */
async function createPrivately (file: string): Promise<void> {
  try {
    await (await open(file, 'a', 0o600)).close()
  } catch (error) {
    throw new Error(`The file ${file} cannot be used as a database (${codeOf(error)}).`, { cause: error })
  }
}

/** Returns a dialect that opens the file with the first query. */
function sqlite (file: string): SqliteDialect {
  return new SqliteDialect({
    database: async () => {
      // Milliseconds for which a write waits for another process. It blocks this process meanwhile.
      const database = new Libsql(file, { timeout: 1_000 })
      // Readers never wait for writers. A killed process loses nothing; a power failure may lose the last commits.
      database.exec('pragma journal_mode = wal; pragma synchronous = normal')
      return database
    }
  })
}

function postgres (connectionString: string, log: FastifyBaseLogger): PostgresDialect {
  const limits = { connectionTimeoutMillis: 2_000, statement_timeout: 5_000 }
  const pool = new pg.Pool({ connectionString, ...limits, keepAlive: true })
  const lost = (error: Error) => { log.warn({ code: codeOf(error) }, 'lost a connection to PostgreSQL') }
  // An error event without a listener ends the process. The pool emits it for idle connections, a client for its own.
  pool.on('error', lost)
  pool.on('connect', client => { client.on('error', lost) })
  return new PostgresDialect({ pool })
}
