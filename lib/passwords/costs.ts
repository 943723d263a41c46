import { nameOf, workOf } from './recipe.js'
import type { Recipe } from './recipe.js'

/** The recipes that a failed check has to have cost, whoever it was for. */
export interface Costs {
  /** Of a hash that was met. */
  learn (recipe: Recipe): void
  /** All but the one that was evaluated already. */
  besides (evaluated: Recipe | null): readonly Recipe[]
}

/** A database in the midst of a migration has two, rarely three. Of more, the slowest count. */
const most = 4

/** Keeps recipes, each once, a bounded number of them. */
export function makeCosts (inUse: readonly Recipe[]): Costs {
  let kept: ReadonlyMap<string, Recipe> = new Map()
  const learn = (recipe: Recipe): void => {
    const name = nameOf(recipe)
    if (kept.has(name)) return
    kept = new Map([...kept, [name, recipe] as const].sort(([, a], [, b]) => workOf(b) - workOf(a)).slice(0, most))
  }
  inUse.forEach(learn)
  return {
    learn,
    besides (evaluated) {
      const done = evaluated === null ? null : nameOf(evaluated)
      return [...kept].filter(([name]) => name !== done).map(([, recipe]) => recipe)
    }
  }
}
