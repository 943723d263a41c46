/** Bytes of the shortest secret that any option takes: a password. */
export const minSecretBytes = 12

/**
 * Describes a wrong value for messages. A text that could be a secret in the wrong place, and a value that could be
 * long, are described only by their kind. Never throws.
 */
export function describeValue (value: unknown): string {
  switch (typeof value) {
    case 'string': return describeText(value)
    case 'object': return value === null ? 'null' : Array.isArray(value) ? 'a list' : 'an object'
    case 'number':
    case 'boolean':
    case 'undefined': return String(value)
    default: return `a ${typeof value}`
  }
}

function describeText (text: string): string {
  if (Buffer.byteLength(text) >= minSecretBytes) return `a text of ${text.length} characters`
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"')}'`
}

/** Joins names as `a, b or c`. */
export function joinNames (names: readonly string[], last = 'or'): string {
  if (names.length < 2) return names.join('')
  return `${names.slice(0, -1).join(', ')} ${last} ${names[names.length - 1]}`
}

/** Returns " Did you mean 'scopes'?" with the nearest known name that is at most two edits away, or an empty text. */
export function didYouMean (name: string, known: readonly string[]): string {
  const [nearest] = known
    .map(other => ({ other, edits: editDistance(name.toLowerCase(), other.toLowerCase()) }))
    .filter(({ edits }) => edits <= 2)
    .sort((a, b) => a.edits - b.edits)
  return nearest === undefined ? '' : ` Did you mean '${nearest.other}'?`
}

/** Returns the Levenshtein distance. Names are short. */
function editDistance (a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  let edits = b.length
  a.split('').forEach((letter, i) => {
    let diagonal = i
    edits = i + 1
    const next = [edits]
    row.slice(1).forEach((above, j) => {
      edits = Math.min(edits + 1, above + 1, diagonal + (letter === b[j] ? 0 : 1))
      diagonal = above
      next.push(edits)
    })
    row = next
  })
  return edits
}
