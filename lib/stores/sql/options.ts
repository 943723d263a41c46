import type { Dialect, QueryExecutorProvider } from 'kysely'
import type { Duration } from '../../../types/options.js'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { isObject } from '../../util/objects.js'
import { duration, object, optional } from '../../util/options.js'

/** The methods of `Kysely` that the store calls, whatever the type of its tables. */
export interface AnyKysely extends QueryExecutorProvider {
  transaction (): { execute<T> (callback: (transaction: QueryExecutorProvider) => Promise<T>): Promise<T> }
}

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

/** The option that names the database, parsed. */
export type Source =
  | { readonly sqlite: string }
  | { readonly connectionString: string }
  | { readonly dialect: Dialect }
  | { readonly kysely: AnyKysely }

export interface ParsedOptions {
  readonly source: Source
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
export function parseOptions (options: unknown): ParsedOptions {
  const { sqlite, connectionString, dialect, kysely, tablePrefix, timeout } = parse(options, 'The options of sqlStore')
  const sources: readonly Source[] = [
    ...sqlite === null ? [] : [{ sqlite }],
    ...connectionString === null ? [] : [{ connectionString }],
    ...dialect === null ? [] : [{ dialect }],
    ...kysely === null ? [] : [{ kysely }]
  ]
  const [source, ...others] = sources
  if (source === undefined || others.length > 0) {
    throw misconfigured(
      'The options of sqlStore must have exactly one of sqlite, connectionString, dialect and kysely.'
    )
  }
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
