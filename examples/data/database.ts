import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { FastifyBaseLogger } from 'fastify'
import { Kysely, PostgresDialect, SqliteDialect } from 'kysely'
import Libsql from 'libsql'
import pg from 'pg'
import { codeOf, makeFolder } from './folder.js'
import { createTables, type Tables } from './tables.js'

export interface Places {
  /** Of PostgreSQL; '' for a SQLite file. */
  readonly DATABASE_URL: string
  /** The folder of the SQLite file. */
  readonly DATA_DIR: string
}

/**
 * The database, with its tables: a file, or PostgreSQL for several instances. Whoever opened it destroys it.
 * @throws {Error} a sentence without the address, which may hold a password.
 */
export async function openDatabase ({ DATABASE_URL, DATA_DIR }: Places, log: FastifyBaseLogger): Promise<Kysely<Tables>> {
  const isFile = DATABASE_URL === ''
  const file = join(DATA_DIR, 'order-desk.sqlite')
  if (isFile) {
    await makeFolder(DATA_DIR)
    await keepFromOthers(file)
  }
  const database = new Kysely<Tables>({ dialect: isFile ? sqlite(file) : postgres(DATABASE_URL, log) })
  try {
    await createTables(database, isFile ? 'sqlite' : 'postgres')
    return database
  } catch (error) {
    await database.destroy()
    throw new Error(isFile ? `The file ${file} cannot be used as a database (${codeOf(error)}).` : `DATABASE_URL: PostgreSQL cannot be used there (${codeOf(error)}).`, { cause: error })
  }
}

/** There are hashes of passwords in it, and the folder may be one that others look into. What SQLite writes beside the file has its mode. */
async function keepFromOthers (file: string): Promise<void> {
  try {
    await (await open(file, 'a', 0o600)).close()
  } catch (error) {
    throw new Error(`The file ${file} cannot be used as a database (${codeOf(error)}).`, { cause: error })
  }
}

/** Opened by the first query. */
function sqlite (file: string): SqliteDialect {
  return new SqliteDialect({
    database: async () => {
      // Milliseconds that a writer waits for one of another process, and everything of this process with it.
      const database = new Libsql(file, { timeout: 1_000 })
      // Readers wait for no writer. A process that is killed loses nothing, a power failure the last commits.
      database.exec('pragma journal_mode = wal; pragma synchronous = normal')
      return database
    }
  })
}

function postgres (connectionString: string, log: FastifyBaseLogger): PostgresDialect {
  const pool = new pg.Pool({ connectionString, connectionTimeoutMillis: 2_000, statement_timeout: 5_000, keepAlive: true })
  const lost = (error: Error) => { log.warn({ code: codeOf(error) }, 'a connection to PostgreSQL was lost') }
  // An error event that nobody hears ends the process: of idle connections, and of busy ones, whose query fails as well.
  pool.on('error', lost)
  pool.on('connect', client => { client.on('error', lost) })
  return new PostgresDialect({ pool })
}
