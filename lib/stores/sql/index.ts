import { randomUUID } from 'node:crypto'
import type { JsonObject, Store, StoreEntry, StoreRecord } from '../../../types/store.js'
import { createOperations } from '../errors.js'
import { checkEntry, checkName, checkOwner, milliseconds, valueOf, windowOf } from '../limits.js'
import { connect } from './connect.js'
import { createPurge, migrate } from './migrate.js'
import { parseOptions, type SqlStoreOptions } from './options.js'
import {
  createQuery, createStatements, type CounterRow, type NewRow, type Query, type RecordRow, type Statements
} from './statements.js'

export type { SqlStoreOptions } from './options.js'

/** The ceiling of a counter without one: more than is ever counted. */
const unlimited = Number.MAX_SAFE_INTEGER

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
  const parsed = parseOptions(options)
  const database = connect(parsed)
  const query = createQuery(database.kysely)
  const statements = createStatements(database.engine, parsed.tablePrefix)
  const purge = createPurge(async maxRows => {
    for (const statement of statements.purge(maxRows)) await query(statement)
  })
  const { run, close } = createOperations()
  const parts = { run, query, statements, purge }
  return Object.freeze({
    ...recordCalls(parts),
    ...counterCalls(parts),
    migrate: () => run('migrate', () => migrate(database, parsed.tablePrefix)),
    close: () => close(async () => {
      await purge.finish()
      await database.close()
    })
  } satisfies Store)
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
      return (await query(statements.find(kind, owner.realm, owner.id))).map(recordOf)
    }),
    takeAll: (kind, owner, except) => run('takeAll', () => {
      checkOwner(kind, owner)
      if (except !== undefined) checkName(kind, except)
      return takeAllOf(query, statements, [kind, owner.realm, owner.id, except ?? ''])
    })
  } satisfies Partial<Store>
}

function counterCalls ({ run, query, statements, purge }: Parts) {
  return {
    increment: (kind, id, options) => run('increment', async () => {
      checkName(kind, id)
      purge.noteWrite()
      const [counted] = await query(
        statements.increment(kind, id, windowOf(kind, options), options.ceiling ?? unlimited)
      )
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
  query: Query,
  statements: Statements,
  args: readonly [kind: string, realm: string, owner: string, except: string]
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
    expires_at: milliseconds(expiresAt, kind)
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
