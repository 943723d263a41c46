import { randomUUID } from 'node:crypto'
import type { JsonObject, Store, StoreEntry, StoreRecord } from '../../../types/store.js'
import { operations } from '../errors.js'
import { checkEntry, checkName, checkOwner, milliseconds, valueOf, windowOf } from '../limits.js'
import { connect } from './connect.js'
import { migrate, purge } from './migrate.js'
import { parseOptions, type SqlStoreOptions } from './options.js'
import { asker, statements, type CounterRow, type NewRow, type RecordRow } from './statements.js'

export type { SqlStoreOptions } from './options.js'

/** More than is ever counted. */
const unlimited = Number.MAX_SAFE_INTEGER

/**
 * A store in a SQLite file or in PostgreSQL, by Kysely. Call `migrate()` before the first use; the documentation has
 * the schema.
 *
 * @example
 * const store = sqlStore({ connectionString: process.env.DATABASE_URL })
 * await store.migrate()
 * @example
 * const store = sqlStore({ sqlite: './gatehouse.sqlite' })
 * @throws {AuthError} `AUTH_MISCONFIGURED` for options that are none, and for a library that is not installed.
 */
export function sqlStore (options: SqlStoreOptions): Store {
  const parsed = parseOptions(options)
  const database = connect(parsed)
  const ask = asker(database.kysely)
  const say = statements(database.engine, parsed.tablePrefix)
  const { wrote, settled } = purge(async most => { for (const statement of say.purge(most)) await ask(statement) })
  const { run, close } = operations()
  const done = async (statement: Parameters<typeof ask>[0]): Promise<boolean> => (await ask(statement)).length > 0

  return Object.freeze({
    add: entry => run('add', () => {
      wrote()
      return done(say.add(rowOf(entry)))
    }),
    get: (kind, id) => run('get', async () => {
      checkName(kind, id)
      return first(await ask(say.get(kind, id)))
    }),
    swap: record => run('swap', () => {
      wrote()
      return done(say.swap(rowOf(record), record.version))
    }),
    take: (kind, id) => run('take', async () => {
      checkName(kind, id)
      return first(await ask(say.take(kind, id)))
    }),
    find: (kind, owner) => run('find', async () => {
      checkOwner(kind, owner)
      return (await ask(say.find(kind, owner.realm, owner.id))).map(recordOf)
    }),
    takeAll: (kind, owner, except) => run('takeAll', () => {
      checkOwner(kind, owner)
      if (except !== undefined) checkName(kind, except)
      return takeAllOf(ask, say, [kind, owner.realm, owner.id, except ?? ''])
    }),
    increment: (kind, id, options) => run('increment', async () => {
      checkName(kind, id)
      wrote()
      const [counted] = await ask(say.increment(kind, id, windowOf(kind, options), options.ceiling ?? unlimited))
      return countOf(counted ?? (await ask(say.count(kind, id)))[0], counted !== undefined)
    }),
    decrement: (kind, id, expiresAt) => run('decrement', async () => {
      checkName(kind, id)
      await ask(say.decrement(kind, id, expiresAt.getTime()))
    }),
    migrate: () => run('migrate', () => migrate(database, parsed.tablePrefix)),
    close: () => close(async () => {
      await settled()
      await database.close()
    })
  } satisfies Store)
}

/**
 * Takes the records of an owner until a look at all of them finds none. A statement of PostgreSQL sees only what was
 * there when it began, however long it then waits for a lock: if a session is renewed in the meantime, the statement
 * finds the old record gone and misses the new one.
 */
async function takeAllOf (
  ask: ReturnType<typeof asker>,
  say: ReturnType<typeof statements>,
  which: readonly [kind: string, realm: string, owner: string, except: string]
): Promise<readonly StoreRecord[]> {
  const taken: RecordRow[] = []
  do taken.push(...await ask(say.takeAll(...which)))
  while ((await ask(say.isOwning(...which))).length > 0)
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
