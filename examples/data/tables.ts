import { sql, type Kysely } from 'kysely'

export interface PersonRow {
  readonly id: string
  readonly name: string
  /** Role names, separated by spaces. */
  readonly roles: string
  /** The password's hash, from `fastify-gatehouse/passwords`. */
  readonly hash: string
}

export interface OrderRow {
  readonly id: number
  readonly customer: string
  readonly item: string
  readonly quantity: number
  readonly status: 'open' | 'shipped' | 'cancelled'
  /** An ISO 8601 timestamp. */
  readonly placed_at: string
  /** The principal who placed the order. Ids are only unique within a realm. */
  readonly owner_realm: string
  readonly owner_id: string
}

/** The application's own tables. The plugin creates two more, whose names begin with `gatehouse_`. */
export interface Tables {
  readonly people: PersonRow
  readonly orders: OrderRow
}

/** The id of the advisory lock that one instance holds while it creates the tables. */
const lock = 1001

/** Creates missing tables. If instances start at the same time, one waits for the other. */
export async function createTables (database: Kysely<Tables>, engine: 'sqlite' | 'postgres'): Promise<void> {
  if (engine === 'sqlite') return await create(database)
  await database.transaction().execute(async transaction => {
    await sql`select pg_advisory_xact_lock(${lock})`.execute(transaction)
    await create(transaction)
  })
}

async function create (database: Kysely<Tables>): Promise<void> {
  await database.schema.createTable('people').ifNotExists()
    .addColumn('id', 'text', column => column.primaryKey())
    .addColumn('name', 'text', column => column.notNull())
    .addColumn('roles', 'text', column => column.notNull())
    .addColumn('hash', 'text', column => column.notNull())
    .execute()
  await database.schema.createTable('orders').ifNotExists()
    .addColumn('id', 'integer', column => column.primaryKey())
    .addColumn('customer', 'text', column => column.notNull())
    .addColumn('item', 'text', column => column.notNull())
    .addColumn('quantity', 'integer', column => column.notNull())
    .addColumn('status', 'text', column => column.notNull())
    .addColumn('placed_at', 'text', column => column.notNull())
    .addColumn('owner_realm', 'text', column => column.notNull())
    .addColumn('owner_id', 'text', column => column.notNull())
    .execute()
}
