import { hashPassword, verifyPassword } from 'fastify-gatehouse/passwords'
import type { Kysely } from 'kysely'
import { owns, type Order, type Orders } from '../orders.js'
import { realm, type Person } from '../people.js'
import type { OrderRow, Tables } from './tables.js'

/** The people of the demonstration, all with one password. Yours choose their own. */
export const staff: readonly Person[] = [
  { realm, id: 'ada', name: 'Ada Moreau', roles: ['admin'] },
  { realm, id: 'ben', name: 'Ben Okafor', roles: ['clerk'] },
  { realm, id: 'cleo', name: 'Cleo Lindqvist', roles: ['viewer'] }
]

/** Puts people and orders into tables that are empty. Every row has its id: of instances that start at once, the first adds it. */
export async function addDemo (database: Kysely<Tables>, password: string): Promise<void> {
  if (await isEmpty(database, 'people')) {
    const rows = await Promise.all(staff.map(async ({ id, name, roles }) => ({ id, name, roles: roles.join(' '), hash: await hashPassword(password) })))
    await database.insertInto('people').values(rows).onConflict(there => there.column('id').doNothing()).execute()
  }
  if (await isEmpty(database, 'orders')) {
    await database.insertInto('orders').values(demoOrders()).onConflict(there => there.column('id').doNothing()).execute()
  }
}

/** Gives the people of the demonstration, and nobody else, the password that is set now. */
export async function followPassword (database: Kysely<Tables>, password: string): Promise<void> {
  for (const { id } of staff) {
    const row = await database.selectFrom('people').select('hash').where('id', '=', id).executeTakeFirst()
    if (row === undefined || (await verifyPassword(password, row.hash)).valid) continue
    await database.updateTable('people').set({ hash: await hashPassword(password) }).where('id', '=', id).where('hash', '=', row.hash).execute()
  }
}

/** Orders for the lines that the start prints. Those that the last start left are taken before new ones are placed. */
export async function ordersToTry (orders: Orders): Promise<{ readonly ofBen: Order, readonly ofShop: Order, readonly toShip: Order }> {
  const open = [...await orders.list('open')].reverse()
  const ben = { realm, id: 'ben' }
  const shop = { realm: 'service', id: 'shop' }
  const ofBen = open.find(order => owns(ben, order)) ?? await orders.place({ customer: 'Ferry & Sons', item: 'Desk mat, felt', quantity: 40 }, ben)
  const ofShop = open.find(order => owns(shop, order)) ?? await orders.place({ customer: 'Café Lumen', item: 'Bar stool, black', quantity: 8 }, shop)
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
  const placed = (hoursAgo: number) => ({ placed_at: new Date(Date.now() - hoursAgo * 3_600_000).toISOString() })
  return [
    { id: 1001, customer: 'Hotel Miramar', item: 'Reading lamp, brass', quantity: 24, status: 'shipped', ...placed(52), ...shop },
    { id: 1002, customer: 'Studio Nord', item: 'Standing desk, oak', quantity: 4, status: 'open', ...placed(30), ...ada },
    { id: 1003, customer: 'Kestrel Books', item: 'Shelf, 180 cm', quantity: 12, status: 'cancelled', ...placed(26), ...ben },
    { id: 1004, customer: 'Café Lumen', item: 'Bar stool, black', quantity: 8, status: 'open', ...placed(7), ...shop },
    { id: 1005, customer: 'Ferry & Sons', item: 'Desk mat, felt', quantity: 40, status: 'open', ...placed(3), ...ben },
    { id: 1006, customer: 'Atelier 9', item: 'Drawing table', quantity: 2, status: 'open', ...placed(1), ...ada }
  ]
}
