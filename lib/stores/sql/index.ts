import { randomUUID } from 'node:crypto'
import type { Dialect } from 'kysely'
import type { Duration } from '../../../types/options.js'
import type { JsonObject, Store, StoreEntry, StoreRecord } from '../../../types/store.js'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import { duration, exactlyOne, object, optional } from '../../util/options.js'
import { checkEntry, checkName, checkOwner, createOperations, expiryOf, limitsOf, valueOf } from '../operations.js'
import { connect, type AnyKysely, type SqlSource } from './connect.js'
import {
  createPurge, createQuery, createStatements, type CounterRow, migrate, type NewRow, type Query, type RecordRow,
  type Statements
} from './statements.js'

interface CommonOptions {
  /** The prefix of both table names. Default `gatehouse_`. */
  readonly tablePrefix?: string
  /**
   * The longest time that PostgreSQL may take to connect and to answer a statement, or that SQLite waits for another
   * process to finish writing. Default 2 seconds; 0.5 for SQLite.
   */
  readonly timeout?: Duration
}

interface Sources {
  /** The path of a SQLite file, or `:memory:`. Needs the package `libsql`. */
  readonly sqlite: string
  /** The connection string of a PostgreSQL database, `postgres://…`. Needs the package `pg`. */
  readonly connectionString: string | undefined
  /** A Kysely dialect for SQLite or PostgreSQL. */
  readonly dialect: Dialect
  /** A Kysely of the application, on SQLite or PostgreSQL. It stays open when the store is closed. */
  readonly kysely: AnyKysely
}

type Exactly<K extends keyof Sources> = Pick<Sources, K> & { readonly [Other in Exclude<keyof Sources, K>]?: never }

/** Options of `sqlStore`: exactly one of `sqlite`, `connectionString`, `dialect` and `kysely`. */
export type SqlStoreOptions = CommonOptions & (
  Exactly<'sqlite'> | Exactly<'connectionString'> | Exactly<'dialect'> | Exactly<'kysely'>
)

/**
 * Creates a store in a SQLite file or in PostgreSQL, with Kysely. Call `migrate()` before the first use; the plugin
 * does so at boot.
 *
 * @example
 * const store = sqlStore({ connectionString: process.env.DATABASE_URL })
 * await store.migrate()
 * @example
 * const store = sqlStore({ sqlite: './gatehouse.sqlite' })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for invalid options, or if a required library is not installed.
 */
export function sqlStore (options: SqlStoreOptions): Store {
  const { source, tablePrefix, timeout } = parseOptions(options)
  const database = connect(source, timeout)
  const query = createQuery(database.kysely)
  const statements = createStatements(database.engine, tablePrefix)
  const purge = createPurge(async maxRows => {
    for (const statement of statements.purge(maxRows)) await query(statement)
  })
  const { run, close } = createOperations()
  const parts = { run, query, statements, purge }
  return Object.freeze({
    ...recordCalls(parts),
    ...counterCalls(parts),
    migrate: () => run('migrate', () => migrate(database, tablePrefix)),
    close: () => close(async () => {
      await purge.finish()
      await database.close()
    })
  } satisfies Store)
}

interface ParsedOptions {
  readonly source: SqlSource
  readonly tablePrefix: string
  /** Milliseconds. */
  readonly timeout: number
}

const parse = object({
  sqlite: optional(parseFile, null),
  connectionString: optional(parseConnectionString, null),
  dialect: optional(parseDialect, null),
  kysely: optional(parseKysely, null),
  tablePrefix: optional(parseTablePrefix, 'gatehouse_'),
  timeout: optional(duration({ positive: true, max: 600 }), null)
})

/**
 * Parses the options of `sqlStore`. No message contains the connection string, which may hold a password.
 * @throws {AuthError} `AUTH_MISCONFIGURED`
 */
function parseOptions (options: unknown): ParsedOptions {
  const { sqlite, connectionString, dialect, kysely, tablePrefix, timeout } = parse(options, 'The options of sqlStore')
  const source = exactlyOne<SqlSource>({
    sqlite: sqlite === null ? null : { sqlite },
    connectionString: connectionString === null ? null : { connectionString },
    dialect: dialect === null ? null : { dialect },
    kysely: kysely === null ? null : { kysely }
  }, 'The options of sqlStore')
  return { source, tablePrefix, timeout: Math.ceil((timeout ?? (sqlite === null ? 2 : 0.5)) * 1_000) }
}

function parseFile (path: unknown, option: string): string {
  if (typeof path === 'string' && path !== '' && !isUrl(path)) return path
  throw misconfigured(`${option} must be the path of a file (not a URL), or ':memory:'.`)
}

function parseConnectionString (url: unknown, option: string): string {
  if (typeof url === 'string' && /^postgres(?:ql)?:\/\//.test(url)) return url
  throw misconfigured(`${option} must begin with 'postgres://'. For a SQLite file, use the option sqlite.`)
}

function parseDialect (dialect: unknown, option: string): Dialect {
  if (hasMethod<Dialect>(dialect, 'createDriver')) return dialect
  throw misconfigured(`${option} must be a Kysely dialect. Got ${describeValue(dialect)}.`)
}

function parseKysely (kysely: unknown, option: string): AnyKysely {
  if (hasMethod<AnyKysely>(kysely, 'getExecutor')) return kysely
  throw misconfigured(`${option} must be an instance of Kysely. Got ${describeValue(kysely)}.`)
}

/** Parses a prefix. Refuses long ones, because PostgreSQL truncates the names of tables and indexes to 63 bytes. */
function parseTablePrefix (prefix: unknown, option: string): string {
  if (typeof prefix === 'string' && /^[a-z_][a-z0-9_]{0,39}$/.test(prefix)) return prefix
  throw misconfigured(
    `${option} must be up to 40 lower-case letters, digits and underscores. Got ${describeValue(prefix)}.`
  )
}

/** Returns true if a text begins with the scheme of a URL. A single letter is a Windows drive. */
function isUrl (text: string): boolean {
  return /^[a-z][a-z\d+.-]+:/i.test(text)
}

/** Returns true if a value has a method that identifies its type. */
function hasMethod<T extends object> (value: unknown, method: keyof T & string): value is T {
  return isObject(value) && typeof value[method] === 'function'
}

/** The parts of a store that its calls use. */
interface Parts {
  readonly run: ReturnType<typeof createOperations>['run']
  readonly query: Query
  readonly statements: Statements
  readonly purge: ReturnType<typeof createPurge>
}

function recordCalls ({ run, query, statements, purge }: Parts) {
  const done = async (statement: Parameters<Query>[0]): Promise<boolean> => (await query(statement)).length > 0
  return {
    add: entry => run('add', () => {
      purge.noteWrite()
      return done(statements.add(rowOf(entry)))
    }),
    get: (kind, id) => run('get', async () => {
      checkName(kind, id)
      return first(await query(statements.get(kind, id)))
    }),
    swap: record => run('swap', () => {
      purge.noteWrite()
      return done(statements.swap(rowOf(record), record.version))
    }),
    take: (kind, id) => run('take', async () => {
      checkName(kind, id)
      return first(await query(statements.take(kind, id)))
    }),
    find: (kind, owner) => run('find', async () => {
      checkOwner(kind, owner)
      return (await query(statements.find(kind, owner))).map(recordOf)
    }),
    takeAll: (kind, owner, except) => run('takeAll', () => {
      checkOwner(kind, owner)
      if (except !== undefined) checkName(kind, except)
      return takeAllOf({ query, statements }, [kind, owner, except ?? ''])
    })
  } satisfies Partial<Store>
}

function counterCalls ({ run, query, statements, purge }: Parts) {
  return {
    increment: (kind, id, options) => run('increment', async () => {
      checkName(kind, id)
      purge.noteWrite()
      const [counted] = await query(statements.increment(kind, id, limitsOf(kind, options)))
      return countOf(counted ?? (await query(statements.count(kind, id)))[0], counted !== undefined)
    }),
    decrement: (kind, id, expiresAt) => run('decrement', async () => {
      checkName(kind, id)
      await query(statements.decrement(kind, id, expiresAt.getTime()))
    })
  } satisfies Partial<Store>
}

/**
 * Takes the records of an owner until a query finds none. A statement of PostgreSQL sees only the rows that existed
 * when it began, however long it then waits for a lock: if a session is renewed in the meantime, the statement finds
 * the old record gone and misses the new one.
 */
async function takeAllOf (
  { query, statements }: Pick<Parts, 'query' | 'statements'>, args: Parameters<Statements['takeAll']>
): Promise<readonly StoreRecord[]> {
  const taken: RecordRow[] = []
  do taken.push(...await query(statements.takeAll(...args)))
  while ((await query(statements.isOwning(...args))).length > 0)
  return taken.map(recordOf)
}

function rowOf (entry: StoreEntry): NewRow {
  checkEntry(entry)
  const { kind, id, owner, value, expiresAt } = entry
  return {
    kind,
    id,
    realm: owner?.realm ?? null,
    owner: owner?.id ?? null,
    value: valueOf(kind, value).json,
    version: randomUUID(),
    expires_at: expiryOf(expiresAt, kind)
  }
}

function recordOf (row: RecordRow): StoreRecord {
  return {
    kind: row.kind,
    id: row.id,
    owner: row.realm === null || row.owner === null ? null : { realm: row.realm, id: row.owner },
    value: JSON.parse(row.value) as JsonObject,
    expiresAt: row.expires_at === null ? null : new Date(Number(row.expires_at)),
    version: row.version
  }
}

function first ([row]: readonly RecordRow[]): StoreRecord | null {
  return row === undefined ? null : recordOf(row)
}

function countOf (row: CounterRow | undefined, counted: boolean) {
  return {
    counted, count: Number(row?.count ?? 0), expiresAt: row === undefined ? null : new Date(Number(row.expires_at))
  }
}
