import { nameOf, workOf } from './recipe.js'
import type { Recipe } from './recipe.js'

/** The recipes that every failed check evaluates, whether the user exists or not. */
export interface Costs {
  /** Adds the recipe of a stored hash that was read. */
  learn (recipe: Recipe): void
  /** Returns all recipes except the one that was already evaluated. */
  besides (evaluated: Recipe | null): readonly Recipe[]
}

/** A database during a migration has two, rarely three. If there are more, the slowest are kept. */
const maxRecipes = 4

export function createCosts (inUse: readonly Recipe[]): Costs {
  let kept: ReadonlyMap<string, Recipe> = new Map()
  const learn = (recipe: Recipe): void => {
    const name = nameOf(recipe)
    if (kept.has(name)) return
    kept = new Map([...kept, [name, recipe] as const].sort(([, a], [, b]) => workOf(b) - workOf(a)).slice(0, maxRecipes))
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
