import { fork, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Store } from '../../../types/store.js'
import { cleanEnvironment } from '../../house/run.js'
import type { Course, Stretch, Wins } from './racer.js'

const racer = fileURLToPath(new URL('racer.ts', import.meta.url))
/** Fifty callers in four processes. */
const teams = [13, 13, 12, 12]

/** The next message of a process, unless it ends before. */
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

/** Lets four processes race, and checks how many winners each round has, over all of them. */
export async function race (t: Test, store: Store, where: Pick<Course, 'redis' | 'sql'>, rounds: number): Promise<void> {
  const names = Array.from({ length: rounds }, () => randomUUID())
  await Promise.all(names.map(id => store.add({ kind: 'race', id, owner: null, value: {}, expiresAt: new Date(Date.now() + 120_000) })))
  const children = teams.map(callers => {
    const child = fork(racer, { execArgv: ['--import=tsx'], env: cleanEnvironment() })
    child.send({ ...where, names, callers } satisfies Course)
    return child
  })
  t.teardown(() => { for (const child of children) child.kill('SIGKILL') })
  await Promise.all(children.map(answer))
  for (const [what, winners, length] of [['count', 5, rounds / 10], ['swap', 1, rounds], ['take', 1, rounds]] as const) {
    const sums: number[] = []
    const won = teams.map(() => 0)
    for (let from = 0; from < length; from += 20) {
      const answers = children.map(answer)
      const stretch: Stretch = { what, from, to: Math.min(from + 20, length) }
      for (const child of children) child.send(stretch)
      const wins = await Promise.all(answers) as Wins[]
      for (let n = 0; n < stretch.to - from; n++) sums.push(wins.reduce((sum, each) => sum + (each[n] ?? 0), 0))
      for (const [team, each] of wins.entries()) won[team] = each.reduce((sum, n) => sum + n, won[team] ?? 0)
    }
    t.equal(sums.length, length, `${what}: every round was run`)
    t.same(sums.filter(sum => sum !== winners), [], `${what}: exactly ${winners} in each of ${length} rounds`)
    t.comment(`${what}: the four processes won ${won.join(', ')}`)
  }
  for (const child of children) child.send('end')
  await Promise.all(children.map(child => once(child, 'exit')))
}
