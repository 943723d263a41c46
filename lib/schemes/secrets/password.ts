import { shortestSecret } from '../../shape.js'
import { countUnpredictable } from './predictable.js'

/**
 * A limit of guesses lets some 500 a day through for an account: six characters that nothing foretells outlast years of
 * them.
 */
const leastUnpredictable = 6

/**
 * Why a password that stands in an option can be guessed, as the end of a sentence about it; `null` when nothing tells.
 * People choose passwords, and guesses are counted, so that less is asked than of a secret: long enough, and neither
 * repetition, nor the name, nor what lists of passwords begin with.
 *
 * @param name whose password it is; `''` where nobody's is known.
 */
export function passwordWeakness (password: string, name: string): string | null {
  const bytes = Buffer.byteLength(password)
  if (bytes < shortestSecret) return `is too short: it has ${bytes} bytes and needs at least ${shortestSecret}`
  if (new Set(password).size < 5) return 'repeats few characters'
  if (countUnpredictable(password) < leastUnpredictable) {
    return 'is made of what attackers try first: rows of the keyboard, common words'
  }
  const rest = name.length > 2 ? withoutName(password, name) : password
  return countUnpredictable(rest) < leastUnpredictable ? "is little more than the user's name" : null
}

function withoutName (password: string, name: string): string {
  return password.toLowerCase().replaceAll(name.toLowerCase(), '')
}
