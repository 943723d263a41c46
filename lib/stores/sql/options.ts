import type { Dialect, QueryExecutorProvider } from 'kysely'
import type { Duration } from '../../../types/duration.js'
import { misconfigured } from '../../errors.js'
import { parseDuration } from '../../util/duration.js'
import { readOptions } from '../../util/options.js'

/** What is asked of a Kysely instance, whatever its tables. */
export interface AnyKysely extends QueryExecutorProvider {
  transaction (): { execute<T> (callback: (transaction: QueryExecutorProvider) => Promise<T>): Promise<T> }
}

interface CommonOptions {
  /** Before the names of both tables. Default `gatehouse_`. */
  readonly tablePrefix?: string
  /** How long PostgreSQL may take to connect and to answer a statement, and how long SQLite waits for another process to finish writing. Default 2 seconds; SQLite 0.5. */
  readonly timeout?: Duration
}

interface Sources {
  /** The path of a SQLite file, or `:memory:`. Needs the package `libsql`. */
  readonly sqlite: string
  /** Of PostgreSQL: `postgres://…`. Needs the package `pg`. */
  readonly connectionString: string | undefined
  /** A Kysely dialect for SQLite or PostgreSQL. */
  readonly dialect: Dialect
  /** The application's own Kysely, on SQLite or PostgreSQL. It stays open when the store is closed. */
  readonly kysely: AnyKysely
}

type Exactly<K extends keyof Sources> = Pick<Sources, K> & { readonly [Other in Exclude<keyof Sources, K>]?: never }

/** Options of `sqlStore`: exactly one of the places where the state can be. */
export type SqlStoreOptions = CommonOptions & (Exactly<'sqlite'> | Exactly<'connectionString'> | Exactly<'dialect'> | Exactly<'kysely'>)

/** Where the state is, parsed. */
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

const sources = ['sqlite', 'connectionString', 'dialect', 'kysely'] as const

/** @throws {AuthError} `AUTH_MISCONFIGURED`. No message holds a connection string. */
export function parseOptions (options: unknown): ParsedOptions {
  const given = readOptions(options, [...sources, 'tablePrefix', 'timeout'], 'sqlStore')
  const [name, ...others] = sources.filter(each => given[each] !== undefined)
  if (name === undefined || others.length > 0) throw misconfigured('sqlStore takes exactly one of sqlite, connectionString, dialect and kysely.')
  const { tablePrefix = 'gatehouse_', timeout = name === 'sqlite' ? 0.5 : 2 } = given
  // with the longest name behind it, below the 63 bytes that PostgreSQL keeps of a name
  if (typeof tablePrefix !== 'string' || !/^[a-z_][a-z0-9_]{0,39}$/.test(tablePrefix)) throw misconfigured('The option tablePrefix of sqlStore must be up to 40 lower-case letters, digits and underscores.')
  const limit = Math.ceil(parseDuration(timeout, 'The option timeout of sqlStore') * 1_000)
  if (limit < 1 || limit > 600_000) throw misconfigured('The option timeout of sqlStore must be more than 0 and at most 10 minutes.')
  return { source: sourceOf(name, given[name]), tablePrefix, timeout: limit }
}

function sourceOf (name: typeof sources[number], value: unknown): Source {
  switch (name) {
    case 'sqlite':
      if (typeof value !== 'string' || value === '' || isUrl(value)) {
        throw misconfigured("The option sqlite of sqlStore must be the path of a file (not a URL), or ':memory:'.")
      }
      return { sqlite: value }
    case 'connectionString':
      if (typeof value !== 'string' || !/^postgres(?:ql)?:\/\//.test(value)) throw misconfigured("The option connectionString of sqlStore must begin with 'postgres://'. For a SQLite file, use the option sqlite.")
      return { connectionString: value }
    case 'dialect':
      if (!has<Dialect>(value, 'createDriver')) throw misconfigured('The option dialect of sqlStore must be a Kysely dialect.')
      return { dialect: value }
    case 'kysely':
      if (!has<AnyKysely>(value, 'getExecutor')) throw misconfigured('The option kysely of sqlStore must be an instance of Kysely.')
      return { kysely: value }
  }
}

/** Whether a text begins with the scheme of a URL. A single letter is a drive of Windows. */
function isUrl (text: string): boolean {
  return /^[a-z][a-z\d+.-]+:/i.test(text)
}

/** Whether a value has the method by which its kind is known. */
function has<T extends object> (value: unknown, method: keyof T & string): value is T {
  return typeof value === 'object' && value !== null && typeof (value as Partial<Record<string, unknown>>)[method] === 'function'
}
