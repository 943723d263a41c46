import { Type, type Static } from '@fastify/type-provider-typebox'
import { sql, type Kysely } from 'kysely'
import type { OrderRow, Tables } from './data/tables.js'

/** The principal who placed an order. Ids are only unique within a realm. */
interface Owner { readonly realm: string, readonly id: string }

export const status = Type.Union([Type.Literal('open'), Type.Literal('shipped'), Type.Literal('cancelled')])

/** Text that is not blank, without NUL, which PostgreSQL cannot store. */
const words = { minLength: 1, maxLength: 60, pattern: '^[^\\0]*[^\\s\\0][^\\0]*$' }

export const newOrder = Type.Object({
  customer: Type.String(words),
  item: Type.String(words),
  quantity: Type.Integer({ minimum: 1, maximum: 999, default: 1 })
})

export const order = Type.Object({
  id: Type.Integer(),
  ...newOrder.properties,
  status,
  placedAt: Type.String({ format: 'date-time' }),
  owner: Type.Object({ realm: Type.String(), id: Type.String() })
})

/** Up to the maximum of an integer column. */
export const orderId = Type.Object({ id: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }) })

export type NewOrder = Static<typeof newOrder>
export type Order = Readonly<Static<typeof order>>
type Status = Order['status']

/** Thrown if an order does not exist (404) or its status does not permit the change (409). */
export class OrderError extends Error {
  constructor (readonly statusCode: 404 | 409, message: string) {
    super(message)
  }
}

/**
 * Reads and changes orders. Each change is one statement with a condition on the current status, so that only one of
 * two conflicting requests succeeds, on any instance.
 */
export class Orders {
  readonly #database: Kysely<Tables>

  constructor (database: Kysely<Tables>) {
    this.#database = database
  }

  /** Returns up to 200 orders, newest first. */
  async list (status?: Status): Promise<readonly Order[]> {
    const all = this.#database.selectFrom('orders').selectAll().orderBy('id', 'desc').limit(200)
    const rows = await (status === undefined ? all : all.where('status', '=', status)).execute()
    return rows.map(orderOf)
  }

  async count (): Promise<number> {
    const { count } = await this.#database.selectFrom('orders')
      .select(({ fn }) => fn.countAll().as('count')).executeTakeFirstOrThrow()
    return Number(count)
  }

  async get (id: number): Promise<Order> {
    const row = await this.#database.selectFrom('orders').selectAll().where('id', '=', id).executeTakeFirst()
    if (row === undefined) throw new OrderError(404, `Order ${id} does not exist`)
    return orderOf(row)
  }

  /** Places an order. Numbers start at 1001 and have no gaps: if another instance takes the next one first, retries. */
  async place ({ customer, item, quantity }: NewOrder, { realm, id }: Owner): Promise<Order> {
    const next = this.#database.selectFrom('orders')
      .select(({ fn }) => sql<number>`coalesce(${fn.max('id')}, 1000) + 1`.as('next'))
    const placed = { status: 'open', placed_at: new Date().toISOString() } as const
    const values = { customer, item, quantity, ...placed, owner_realm: realm, owner_id: id }
    for (;;) {
      const row = await this.#database.insertInto('orders').values({ id: next, ...values })
        .onConflict(taken => taken.column('id').doNothing()).returningAll().executeTakeFirst()
      if (row !== undefined) return orderOf(row)
    }
  }

  async ship (id: number): Promise<Order> {
    return await this.#change(id, 'shipped', { unless: 'cancelled' }) ?? this.#refuse(id, 'was cancelled')
  }

  async cancel (id: number): Promise<Order> {
    return await this.#change(id, 'cancelled', { unless: 'shipped' }) ?? this.#refuse(id, 'has already been shipped')
  }

  async #change (id: number, status: Status, { unless }: { readonly unless: Status }): Promise<Order | null> {
    const row = await this.#database.updateTable('orders').set({ status })
      .where('id', '=', id).where('status', '!=', unless).returningAll().executeTakeFirst()
    return row === undefined ? null : orderOf(row)
  }

  async #refuse (id: number, reason: string): Promise<never> {
    await this.get(id)
    throw new OrderError(409, `Order ${id} ${reason}`)
  }
}

function orderOf ({ placed_at: placedAt, owner_realm: realm, owner_id: owner, ...order }: OrderRow): Order {
  return { ...order, placedAt, owner: { realm, id: owner } }
}

/** Returns true if the caller placed the order. */
export function owns (caller: Owner, { owner }: Order): boolean {
  return caller.realm === owner.realm && caller.id === owner.id
}
