import type { Store, StoreRecord } from '../../../types/store.js'
import { redisStore } from '../../../lib/stores/redis/index.js'
import { sqlStore } from '../../../lib/stores/sql/index.js'

/** A store, and the names to race for. */
export interface Course {
  readonly redis?: { readonly url: string, readonly prefix: string }
  readonly sql?: { readonly connectionString: string, readonly tablePrefix: string } | { readonly sqlite: string, readonly timeout: number }
  readonly names: readonly string[]
  readonly callers: number
}

/** A stretch of the course: all callers start for all of its names at once. */
export interface Stretch {
  readonly what: 'swap' | 'take' | 'count'
  readonly from: number
  readonly to: number
}

/** What a racing process is told: to enter a course, to run a stretch, to leave the course. It answers each. */
export type Order = Course | Stretch | 'leave'

/** The answer to a stretch: how many callers of this process won, for each name. */
export type Wins = readonly number[]

let store: Store | null = null
let records: readonly StoreRecord[] = []
let callers = 0

async function enter ({ redis, sql, names, callers: count }: Course): Promise<void> {
  const entered = redis === undefined ? sqlStore(sql ?? { sqlite: '' }) : redisStore(redis)
  await entered.migrate()
  records = await Promise.all(names.map(async id => {
    const record = await entered.get('race', id)
    if (record === null) throw new Error('a name is missing')
    return record
  }))
  store = entered
  callers = count
}

async function run ({ what, from, to }: Stretch): Promise<Wins> {
  const each = (record: StoreRecord) => Promise.all(Array.from({ length: callers }, () => call(what, record)))
  const answers = await Promise.all(records.slice(from, to).map(each))
  return answers.map(wins => wins.filter(Boolean).length)
}

async function call (what: Stretch['what'], record: StoreRecord): Promise<boolean | undefined> {
  switch (what) {
    case 'swap': return await store?.swap(record)
    case 'take': return await store?.take('race', record.id) !== null
    case 'count': return (await store?.increment('race', record.id, { window: 600, ceiling: 5 }))?.counted
  }
}

async function obey (order: Order): Promise<unknown> {
  if (order === 'leave') return await store?.close()
  return 'names' in order ? await enter(order) : await run(order)
}

process.on('message', (order: Order) => {
  obey(order).then(answer => process.send?.(answer ?? 'done'), (error: unknown) => {
    console.error(error)
    process.exit(1)
  })
})
// a test that is cut off leaves no process behind
process.once('disconnect', () => { process.exit(0) })
