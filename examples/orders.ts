import { Type, type Static } from '@fastify/type-provider-typebox'
import { sql, type Kysely } from 'kysely'
import type { OrderRow, Tables } from './data/tables.js'

/** Who placed an order: the realm too, because the shop's key `ada` would not be the person ada. */
interface Owner { readonly realm: string, readonly id: string }

export const status = Type.Union([Type.Literal('open'), Type.Literal('shipped'), Type.Literal('cancelled')])

/** Something to read, without NUL, which PostgreSQL keeps in no text. */
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

/** Up to what a column of integers holds. */
export const orderId = Type.Object({ id: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }) })

export type NewOrder = Static<typeof newOrder>
export type Order = Readonly<Static<typeof order>>

/** Something that cannot be done with an order, with the status to answer. */
export class OrderError extends Error {
  constructor (readonly statusCode: 404 | 409, message: string) {
    super(message)
  }
}

/** The orders. What changes one is a single statement that says from which status, so that of two requests at once, of any instances, one wins. */
export class Orders {
  readonly #database: Kysely<Tables>

  constructor (database: Kysely<Tables>) {
    this.#database = database
  }

  /** The newest first, 200 at most. */
  async list (status?: Order['status']): Promise<readonly Order[]> {
    const all = this.#database.selectFrom('orders').selectAll().orderBy('id', 'desc').limit(200)
    const rows = await (status === undefined ? all : all.where('status', '=', status)).execute()
    return rows.map(orderOf)
  }

  async count (): Promise<number> {
    const { count } = await this.#database.selectFrom('orders').select(({ fn }) => fn.countAll().as('count')).executeTakeFirstOrThrow()
    return Number(count)
  }

  async get (id: number): Promise<Order> {
    const row = await this.#database.selectFrom('orders').selectAll().where('id', '=', id).executeTakeFirst()
    if (row === undefined) throw new OrderError(404, `There is no order ${id}`)
    return orderOf(row)
  }

  /** Numbers begin with 1001 and have no gaps: each is one more than the last, and whoever finds it taken by another instance asks again. */
  async place ({ customer, item, quantity }: NewOrder, { realm, id }: Owner): Promise<Order> {
    const next = this.#database.selectFrom('orders').select(({ fn }) => sql<number>`coalesce(${fn.max('id')}, 1000) + 1`.as('next'))
    const values = { customer, item, quantity, status: 'open', placed_at: new Date().toISOString(), owner_realm: realm, owner_id: id } as const
    for (;;) {
      const row = await this.#database.insertInto('orders').values({ id: next, ...values }).onConflict(taken => taken.column('id').doNothing()).returningAll().executeTakeFirst()
      if (row !== undefined) return orderOf(row)
    }
  }

  async ship (id: number): Promise<Order> {
    return await this.#change(id, 'shipped', { unless: 'cancelled' }) ?? this.#refuse(id, 'was cancelled')
  }

  async cancel (id: number): Promise<Order> {
    return await this.#change(id, 'cancelled', { unless: 'shipped' }) ?? this.#refuse(id, 'is on its way already')
  }

  async #change (id: number, status: Order['status'], { unless }: { readonly unless: Order['status'] }): Promise<Order | null> {
    const row = await this.#database.updateTable('orders').set({ status }).where('id', '=', id).where('status', '!=', unless).returningAll().executeTakeFirst()
    return row === undefined ? null : orderOf(row)
  }

  async #refuse (id: number, reason: string): Promise<never> {
    await this.get(id)
    throw new OrderError(409, `Order ${id} ${reason}`)
  }
}

function orderOf ({ id, customer, item, quantity, status, placed_at: placedAt, owner_realm: realm, owner_id: owner }: OrderRow): Order {
  return { id, customer, item, quantity, status, placedAt, owner: { realm, id: owner } }
}

/** Whether this is whoever placed the order. */
export function owns (caller: Owner, { owner }: Order): boolean {
  return caller.realm === owner.realm && caller.id === owner.id
}
