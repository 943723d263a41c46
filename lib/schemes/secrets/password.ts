import { shortestSecret } from '../../shape.js'
import { estimateBits } from './estimate.js'

/** A limit of guesses lets some 500 a day through for an account: a year of them is 18 bits. */
const leastBits = 24

/**
 * Why a password that stands in an option can be guessed, as the end of a sentence about it; `null` when nothing tells. People choose passwords, and guesses are counted,
 * so that less is asked than of a secret: long enough, and neither repetition, nor the name, nor what lists of passwords begin with.
 *
 * @param name whose password it is; `''` where nobody's is known.
 */
export function passwordWeakness (password: string, name: string): string | null {
  const bytes = Buffer.byteLength(password)
  if (bytes < shortestSecret) return `is too short: it has ${bytes} bytes and needs at least ${shortestSecret}`
  if (new Set(password).size < 5) return 'repeats few characters'
  if (estimateBits(password) < leastBits) return 'is made of what attackers try first: rows of the keyboard, common words'
  return name.length > 2 && estimateBits(withoutName(password, name)) < leastBits ? "is little more than the user's name" : null
}

function withoutName (password: string, name: string): string {
  return password.toLowerCase().replaceAll(name.toLowerCase(), '')
}
