import { sql, type Kysely } from 'kysely'

export interface PersonRow {
  readonly id: string
  readonly name: string
  /** Separated by spaces. */
  readonly roles: string
  /** Of the password, as `fastify-gatehouse/passwords` writes it. */
  readonly hash: string
}

export interface OrderRow {
  readonly id: number
  readonly customer: string
  readonly item: string
  readonly quantity: number
  readonly status: 'open' | 'shipped' | 'cancelled'
  /** ISO 8601. */
  readonly placed_at: string
  /** Who placed it: the realm too, because the shop's key `ada` would not be the person ada. */
  readonly owner_realm: string
  readonly owner_id: string
}

/** The application's own tables. The plugin makes and keeps its own, whose names begin with `gatehouse_`. */
export interface Tables {
  readonly people: PersonRow
  readonly orders: OrderRow
}

/** Any constant: whoever creates tables waits for who else does. */
const lock = 1001

/** Creates what is missing. Instances may start at once: SQLite lets one write at a time, and PostgreSQL is asked to. */
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
