import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import type { Store } from '../../../types/store.js'
import { forkProgram } from '../../support/programs.js'
import type { Course, Order, Stretch, Wins } from './racer.js'

/** Fifty callers in four processes. */
const teams = [13, 13, 12, 12]

/** Four processes that race on one store after the other. */
export interface Racers {
  /** Lets them race, and checks how many winners each round has, over all of them. */
  race (t: Test, store: Store, where: Pick<Course, 'redis' | 'sql'>, rounds: number): Promise<void>
  end (): void
}

/** Starts the processes. */
export function racers (): Racers {
  const children = teams.map(() => forkProgram('test/stores/support/racer.ts'))
  /** Tells each process something, and waits for what all answer. */
  const tell = async (order: (team: number) => Order): Promise<unknown[]> => await Promise.all(children.map(async (child, team) => {
    const answered = answer(child)
    child.send(order(team))
    return await answered
  }))
  return {
    end: () => { for (const child of children) child.kill('SIGKILL') },
    async race (t, store, where, rounds) {
      const names = Array.from({ length: rounds }, () => randomUUID())
      await Promise.all(names.map(id => store.add({ kind: 'race', id, owner: null, value: {}, expiresAt: new Date(Date.now() + 600_000) })))
      await tell(team => ({ ...where, names, callers: teams[team] ?? 0 }))
      for (const [what, winners, length] of [['count', 5, Math.ceil(rounds / 10)], ['swap', 1, rounds], ['take', 1, rounds]] as const) {
        const sums: number[] = []
        const won = teams.map(() => 0)
        for (let from = 0; from < length; from += 20) {
          const stretch: Stretch = { what, from, to: Math.min(from + 20, length) }
          const wins = await tell(() => stretch) as Wins[]
          for (let n = 0; n < stretch.to - from; n++) sums.push(wins.reduce((sum, each) => sum + (each[n] ?? 0), 0))
          for (const [team, each] of wins.entries()) won[team] = each.reduce((sum, n) => sum + n, won[team] ?? 0)
        }
        t.equal(sums.length, length, `${what}: every round was run`)
        t.same(sums.filter(sum => sum !== winners), [], `${what}: exactly ${winners} in each of ${length} rounds`)
        t.comment(`${what}: the four processes won ${won.join(', ')}`)
      }
      await tell(() => 'leave')
    }
  }
}

/** Waits for the next message of a process, unless it ends before. */
function answer (child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = (code: number | null): void => { reject(new Error(`a racing process ended with ${String(code)}`)) }
    child.once('exit', ended)
    child.once('message', message => {
      child.off('exit', ended)
      resolve(message)
    })
  })
}
