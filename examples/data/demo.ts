import { hashPassword, verifyPassword } from 'fastify-gatehouse/passwords'
import type { Kysely } from 'kysely'
import { owns, type Order, type Orders } from '../orders.js'
import { realm, type Person } from '../people.js'
import type { OrderRow, Tables } from './tables.js'

/** The demo accounts. All of them have the same password. */
export const demoPeople: readonly Person[] = [
  { realm, id: 'ada', name: 'Ada Moreau', roles: ['admin'] },
  { realm, id: 'ben', name: 'Ben Okafor', roles: ['clerk'] },
  { realm, id: 'cleo', name: 'Cleo Lindqvist', roles: ['viewer'] }
]

/** Adds demo accounts and orders to empty tables. Ids are fixed, so parallel starts add each row once. */
export async function addDemo (database: Kysely<Tables>, password: string): Promise<void> {
  if (await isEmpty(database, 'people')) {
    const rows = await Promise.all(demoPeople.map(async ({ id, name, roles }) => {
      return { id, name, roles: roles.join(' '), hash: await hashPassword(password) }
    }))
    await database.insertInto('people').values(rows).onConflict(taken => taken.column('id').doNothing()).execute()
  }
  if (await isEmpty(database, 'orders')) {
    await database.insertInto('orders').values(demoOrders())
      .onConflict(taken => taken.column('id').doNothing()).execute()
  }
}

/** Sets the password of the demo accounts, and of nobody else, to the given one. */
export async function updateDemoPasswords (database: Kysely<Tables>, password: string): Promise<void> {
  for (const { id } of demoPeople) {
    const row = await database.selectFrom('people').select('hash').where('id', '=', id).executeTakeFirst()
    if (row === undefined || (await verifyPassword(password, row.hash)).valid) continue
    await database.updateTable('people').set({ hash: await hashPassword(password) })
      .where('id', '=', id).where('hash', '=', row.hash).execute()
  }
}

export interface OrdersToTry {
  readonly ofBen: Order
  readonly ofShop: Order
  readonly toShip: Order
}

/** Returns open orders for the printed commands. Reuses existing orders, and places new ones if there are none. */
export async function ordersToTry (orders: Orders): Promise<OrdersToTry> {
  const open = [...await orders.list('open')].reverse()
  const ben = { realm, id: 'ben' }
  const shop = { realm: 'service', id: 'shop' }
  const ofBen = open.find(order => owns(ben, order)) ??
    await orders.place({ customer: 'Ferry & Sons', item: 'Desk mat, felt', quantity: 40 }, ben)
  const ofShop = open.find(order => owns(shop, order)) ??
    await orders.place({ customer: 'Café Lumen', item: 'Bar stool, black', quantity: 8 }, shop)
  const toShip = open.find(order => order !== ofBen && order !== ofShop) ?? ofShop
  return { ofBen, ofShop, toShip }
}

async function isEmpty (database: Kysely<Tables>, table: 'people' | 'orders'): Promise<boolean> {
  return await database.selectFrom(table).select('id').limit(1).executeTakeFirst() === undefined
}

function demoOrders (): OrderRow[] {
  const ada = { owner_realm: realm, owner_id: 'ada' }
  const ben = { owner_realm: realm, owner_id: 'ben' }
  const shop = { owner_realm: 'service', owner_id: 'shop' }
  const placed = (hoursAgo: number, status: OrderRow['status']) => {
    return { status, placed_at: new Date(Date.now() - hoursAgo * 3_600_000).toISOString() }
  }
  return [
    { id: 1001, customer: 'Hotel Miramar', item: 'Brass lamp', quantity: 24, ...shop, ...placed(52, 'shipped') },
    { id: 1002, customer: 'Studio Nord', item: 'Standing desk, oak', quantity: 4, ...ada, ...placed(30, 'open') },
    { id: 1003, customer: 'Kestrel Books', item: 'Shelf, 180 cm', quantity: 12, ...ben, ...placed(26, 'cancelled') },
    { id: 1004, customer: 'Café Lumen', item: 'Bar stool, black', quantity: 8, ...shop, ...placed(7, 'open') },
    { id: 1005, customer: 'Ferry & Sons', item: 'Desk mat, felt', quantity: 40, ...ben, ...placed(3, 'open') },
    { id: 1006, customer: 'Atelier 9', item: 'Drawing table', quantity: 2, ...ada, ...placed(1, 'open') }
  ]
}
