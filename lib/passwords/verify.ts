import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Derive } from './derive.js'
import type { PasswordSettings } from './options.js'
import { maxBcryptBytes } from './input.js'
import { isWeaker, workOf } from './recipe.js'
import type { Recipe } from './recipe.js'
import { digestBytes, saltBytes } from './stored.js'
import type { Stored } from './stored.js'

/** The result of comparing a password with a stored hash. */
export interface PasswordCheck {
  readonly valid: boolean
  /**
   * The password is valid, but its hash uses another algorithm, weaker parameters or another pepper than new hashes do.
   * Hash it again now, while the password is known.
   */
  readonly needsRehash: boolean
}

type CheckSettings = Pick<PasswordSettings, 'current' | 'keyId' | 'inUse'>
type PasswordVerifier = (found: Stored | null, input: Buffer) => Promise<PasswordCheck>

export const noMatch: PasswordCheck = Object.freeze({ valid: false, needsRehash: false })

/**
 * Creates the function that compares a password with a stored hash, `null` standing for an unknown user.
 * Every failure takes at least as long as the slowest hash in use, so that it does not reveal whether the user exists.
 */
export function createPasswordCheck ({ current, keyId, inUse }: CheckSettings, derive: Derive): PasswordVerifier {
  let slowest = inUse.reduce(slower)
  const dummy = {
    password: Buffer.from(randomBytes(32).toString('base64url')), salt: randomBytes(saltBytes), length: digestBytes
  }

  function isOld ({ recipe, salt, keyId: id }: Stored): boolean {
    return id !== keyId || salt.length < saltBytes || isWeaker(recipe, current)
  }

  return async (found, input) => {
    if (found !== null) slowest = slower(slowest, found.recipe)
    const evaluable = found !== null && fits(input, found.recipe) ? found : null
    if (evaluable !== null && await matches(evaluable, input, derive)) {
      return { valid: true, needsRehash: isOld(evaluable) }
    }
    if (evaluable === null || workOf(evaluable.recipe) < workOf(slowest)) await derive({ recipe: slowest, ...dummy })
    return noMatch
  }
}

function slower (a: Recipe, b: Recipe): Recipe {
  return workOf(b) > workOf(a) ? b : a
}

async function matches ({ recipe, salt, digest }: Stored, password: Buffer, derive: Derive): Promise<boolean> {
  return timingSafeEqual(await derive({ recipe, password, salt, length: digest.length }), digest)
}

/** Returns whether an algorithm uses every byte of the input: bcrypt ignores all but the first 72. */
export function fits (input: Buffer, recipe: Recipe): boolean {
  return recipe.algorithm !== 'bcrypt' || input.length <= maxBcryptBytes
}
