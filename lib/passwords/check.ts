import { randomBytes, timingSafeEqual } from 'node:crypto'
import { makeCosts } from './costs.js'
import type { Derive } from './derive.js'
import type { PasswordSettings } from './options.js'
import { isWeaker } from './recipe.js'
import type { Recipe } from './recipe.js'
import { digestBytes, saltBytes } from './stored.js'
import type { Stored } from './stored.js'
import { longestForBcrypt } from './text.js'

/** What `verify` found. */
export interface PasswordCheck {
  readonly valid: boolean
  /** It is valid, and its hash should be made anew while the password is at hand: by another algorithm, weaker parameters or another pepper than those of today. */
  readonly needsRehash: boolean
}

export const no: PasswordCheck = Object.freeze({ valid: false, needsRehash: false })

/** Compares what is hashed with a stored hash; `null` for an unknown user. Its failures cost the same, whoever they are for. */
export function makeCheck ({ current, keyId, inUse }: Pick<PasswordSettings, 'current' | 'keyId' | 'inUse'>, derive: Derive) {
  const costs = makeCosts(inUse)
  const dummy = { password: Buffer.from(randomBytes(32).toString('base64url')), salt: randomBytes(saltBytes), length: digestBytes }

  /** Whatever a failure did not cost yet, so that its time tells neither whether there is such a user nor how their hash was made. */
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
    return no
  }
}

async function matches ({ recipe, salt, digest }: Stored, password: Buffer, derive: Derive): Promise<boolean> {
  return timingSafeEqual(await derive({ recipe, password, salt, length: digest.length }), digest)
}

/** bcrypt ends at 72 bytes: what is longer is refused, because what is cut off would count for nothing. */
export function fits (input: Buffer, recipe: Recipe): boolean {
  return recipe.algorithm !== 'bcrypt' || input.length <= longestForBcrypt
}
