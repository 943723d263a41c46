import { createHash } from 'node:crypto'
import type { Derive } from '../../lib/passwords/compute.js'
import { passwordSettings } from '../../lib/passwords/options.js'
import { createPasswords, type Passwords } from '../../lib/passwords/passwords.js'
import type { Recipe } from '../../lib/passwords/recipe.js'

/** Passwords with an engine that costs nothing, and records the recipes of its computations. */
export interface Counted extends Passwords {
  /** Returns the hashes that were computed since the last call, sorted. */
  evaluated (): readonly string[]
}

export function counted (options: object = {}): Counted {
  let calls: string[] = []
  const derive: Derive = async ({ recipe, password, salt, length }) => {
    calls.push(nameOf(recipe))
    const digest = createHash('sha512').update(
      JSON.stringify([nameOf(recipe), password.toString('hex'), salt.toString('hex')])
    ).digest()
    return digest.subarray(0, recipe.algorithm === 'bcrypt' ? 23 : length)
  }
  return {
    ...createPasswords(passwordSettings(options, 'passwords'), derive),
    evaluated () {
      const done = calls.sort()
      calls = []
      return done
    }
  }
}

/** Names a recipe by its parameters. */
export function nameOf (recipe: Recipe): string {
  return Object.entries(recipe).sort(([a], [b]) => a < b ? -1 : 1).map(([, value]) => value).join(' ')
}
