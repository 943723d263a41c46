import type { StoreRecord } from '../../../types/store.js'
import { redisStore } from '../../../lib/stores/redis.js'
import { sqlStore } from '../../../lib/stores/sql.js'

/** What a racing process is told at its start. */
export interface Course {
  readonly redis?: { readonly url: string, readonly prefix: string }
  readonly sql?: { readonly connectionString: string, readonly tablePrefix: string } | { readonly sqlite: string, readonly timeout: number }
  readonly names: readonly string[]
  readonly callers: number
}

/** A stretch of the course: all callers start for all of its names at once. `end` ends the race. */
export type Stretch = { readonly what: 'swap' | 'take' | 'count', readonly from: number, readonly to: number } | 'end'

/** What it answers: how many of its callers won, for each name of the stretch. */
export type Wins = readonly number[]

/** One of several processes that race for the same names. */
async function race ({ redis, sql, names, callers }: Course): Promise<void> {
  const store = redis === undefined ? sqlStore(sql ?? { sqlite: '' }) : redisStore(redis)
  await store.migrate()
  const records = await Promise.all(names.map(async id => {
    const record = await store.get('race', id)
    if (record === null) throw new Error('a name is missing')
    return record
  }))
  const call = {
    swap: (record: StoreRecord) => store.swap(record),
    take: async ({ id }: StoreRecord) => await store.take('race', id) !== null,
    count: async ({ id }: StoreRecord) => (await store.increment('race', id, { window: 60, ceiling: 5 })).counted
  }
  process.on('message', async (stretch: Stretch) => {
    if (stretch === 'end') {
      await store.close()
      process.disconnect()
      return
    }
    const answers = await Promise.all(records.slice(stretch.from, stretch.to).map(record => Promise.all(Array.from({ length: callers }, () => call[stretch.what](record)))))
    process.send?.(answers.map(each => each.filter(Boolean).length) satisfies Wins)
  })
  process.send?.('ready')
}

process.once('message', (course: Course) => {
  race(course).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
