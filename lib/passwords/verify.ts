import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Derive } from './derive.js'
import type { PasswordSettings } from './options.js'
import { isWeaker, nameOf, workOf } from './recipe.js'
import type { Recipe } from './recipe.js'
import { digestBytes, saltBytes } from './stored.js'
import type { Stored } from './stored.js'
import { longestForBcrypt } from './text.js'

/** The result of comparing a password with a stored hash. */
export interface PasswordCheck {
  readonly valid: boolean
  /**
   * The password is valid, but its hash uses another algorithm, weaker parameters or another pepper than new hashes do.
   * Hash it again now, while the password is known.
   */
  readonly needsRehash: boolean
}

export const noMatch: PasswordCheck = Object.freeze({ valid: false, needsRehash: false })

/**
 * Creates the function that compares a password with a stored hash, `null` standing for an unknown user.
 * Every failure takes the same time, so that it does not reveal whether the user exists.
 */
export function createPasswordCheck ({ current, keyId, inUse }: Pick<PasswordSettings, 'current' | 'keyId' | 'inUse'>, derive: Derive) {
  const costs = createCosts(inUse)
  const dummy = { password: Buffer.from(randomBytes(32).toString('base64url')), salt: randomBytes(saltBytes), length: digestBytes }

  /** Spends the time that a failure has not taken yet, so that its duration reveals neither the user nor the algorithm. */
  async function makeUp (evaluated: Recipe | null): Promise<void> {
    for (const recipe of costs.besides(evaluated)) await derive({ recipe, ...dummy })
  }

  function isOld ({ recipe, salt, keyId: id }: Stored): boolean {
    return id !== keyId || salt.length < saltBytes || isWeaker(recipe, current)
  }

  return async (found: Stored | null, input: Buffer): Promise<PasswordCheck> => {
    if (found !== null) costs.learn(found.recipe)
    const evaluable = found !== null && fits(input, found.recipe) ? found : null
    if (evaluable !== null && await matches(evaluable, input, derive)) return { valid: true, needsRehash: isOld(evaluable) }
    await makeUp(evaluable?.recipe ?? null)
    return noMatch
  }
}

async function matches ({ recipe, salt, digest }: Stored, password: Buffer, derive: Derive): Promise<boolean> {
  return timingSafeEqual(await derive({ recipe, password, salt, length: digest.length }), digest)
}

/** Returns whether an algorithm uses every byte of the input: bcrypt ignores all but the first 72. */
export function fits (input: Buffer, recipe: Recipe): boolean {
  return recipe.algorithm !== 'bcrypt' || input.length <= longestForBcrypt
}

/** The recipes that every failed check evaluates, whether the user exists or not. */
interface Costs {
  /** Adds the recipe of a stored hash that was read. */
  learn (recipe: Recipe): void
  /** Returns all recipes except the one that was already evaluated. */
  besides (evaluated: Recipe | null): readonly Recipe[]
}

/** A database during a migration has two, rarely three. If there are more, the slowest are kept. */
const maxRecipes = 4

function createCosts (inUse: readonly Recipe[]): Costs {
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
