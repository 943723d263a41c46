import { Type, type Static } from '@fastify/type-provider-typebox'

/** Who placed an order: the realm too, because the shop's key `ada` would not be the person ada. */
interface Owner { readonly realm: string, readonly id: string }

export const status = Type.Union([Type.Literal('open'), Type.Literal('shipped'), Type.Literal('cancelled')])

export const newOrder = Type.Object({
  customer: Type.String({ minLength: 1, maxLength: 60, pattern: '\\S' }),
  item: Type.String({ minLength: 1, maxLength: 60, pattern: '\\S' }),
  quantity: Type.Integer({ minimum: 1, maximum: 999, default: 1 })
})

export const order = Type.Object({
  id: Type.Integer(),
  ...newOrder.properties,
  status,
  placedAt: Type.String({ format: 'date-time' }),
  owner: Type.Object({ realm: Type.String(), id: Type.String() })
})

export const orderId = Type.Object({ id: Type.Integer({ minimum: 1 }) })

export type NewOrder = Static<typeof newOrder>
export type Order = Readonly<Static<typeof order>>

/** Something that cannot be done with an order, with the status to answer. */
export class OrderError extends Error {
  constructor (readonly statusCode: 404 | 409, message: string) {
    super(message)
  }
}

/** The orders, kept in memory: they are gone when the process ends. */
export class Orders {
  readonly #orders = new Map<number, Order>()

  /** The newest first. */
  list (status?: Order['status']): readonly Order[] {
    return [...this.#orders.values()].filter(order => status === undefined || order.status === status).reverse()
  }

  get (id: number): Order {
    const order = this.#orders.get(id)
    if (order === undefined) throw new OrderError(404, `There is no order ${id}`)
    return order
  }

  place ({ customer, item, quantity }: NewOrder, { realm, id }: Owner, placedAt = new Date()): Order {
    const number = 1001 + this.#orders.size
    return this.#keep({ id: number, customer, item, quantity, status: 'open', placedAt: placedAt.toISOString(), owner: { realm, id } })
  }

  ship (id: number): Order {
    const order = this.get(id)
    if (order.status === 'cancelled') throw new OrderError(409, `Order ${id} was cancelled`)
    return this.#keep({ ...order, status: 'shipped' })
  }

  cancel (id: number): Order {
    const order = this.get(id)
    if (order.status === 'shipped') throw new OrderError(409, `Order ${id} is on its way already`)
    return this.#keep({ ...order, status: 'cancelled' })
  }

  #keep (order: Order): Order {
    this.#orders.set(order.id, order)
    return order
  }
}

/** Whether this is whoever placed the order. */
export function owns (caller: Owner, { owner }: Order): boolean {
  return caller.realm === owner.realm && caller.id === owner.id
}

/** A desk that does not begin empty. */
export function demoOrders (people: string): Orders {
  const orders = new Orders()
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000)
  const ada = { realm: people, id: 'ada' }
  const ben = { realm: people, id: 'ben' }
  const shop = { realm: 'service', id: 'shop' }
  orders.place({ customer: 'Hotel Miramar', item: 'Reading lamp, brass', quantity: 24 }, shop, hoursAgo(52))
  orders.place({ customer: 'Studio Nord', item: 'Standing desk, oak', quantity: 4 }, ada, hoursAgo(30))
  orders.place({ customer: 'Kestrel Books', item: 'Shelf, 180 cm', quantity: 12 }, ben, hoursAgo(26))
  orders.place({ customer: 'Café Lumen', item: 'Bar stool, black', quantity: 8 }, shop, hoursAgo(7))
  orders.place({ customer: 'Ferry & Sons', item: 'Desk mat, felt', quantity: 40 }, ben, hoursAgo(3))
  orders.place({ customer: 'Atelier 9', item: 'Drawing table', quantity: 2 }, ada, hoursAgo(1))
  orders.ship(1001)
  orders.cancel(1003)
  return orders
}
