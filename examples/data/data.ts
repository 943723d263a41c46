import type { FastifyInstance } from 'fastify'
import type { Store } from 'fastify-gatehouse'
import { sqlStore } from 'fastify-gatehouse/stores/sql'
import type { Redis } from 'ioredis'
import type { Config } from '../config.js'
import { Orders } from '../orders.js'
import { People } from '../people.js'
import { openDatabase } from './database.js'
import { addDemo, updateDemoPasswords } from './demo.js'
import { openRedis } from './redis.js'

/** The data of the application and of the plugin. */
export interface Data {
  readonly people: People
  readonly orders: Orders
  /** The plugin's store, in the same database. */
  readonly store: Store
  readonly redis: Redis | null
}

/** Opens the database and Redis. They are closed after the plugin, which writes to its store while it closes. */
export async function openData (app: FastifyInstance, config: Config): Promise<Data> {
  const database = await openDatabase(config, app.log)
  const store = sqlStore({ kysely: database })
  app.addHook('onClose', async () => {
    await store.close()
    await database.destroy()
  })
  await addDemo(database, config.PEOPLE_PASSWORD)
  if (!config.production) await updateDemoPasswords(database, config.PEOPLE_PASSWORD)

  const redis = config.REDIS_URL === '' ? null : await openRedis(config.REDIS_URL, app.log)
  app.addHook('onClose', async () => { redis?.disconnect() })
  return { people: new People(database), orders: new Orders(database), store, redis }
}
