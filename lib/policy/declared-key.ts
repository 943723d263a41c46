/** Deeper than the grammar of declarations goes. */
const maxDepth = 8

/**
 * Returns a function that writes a declaration, as the application declared it, as a cache key. Declarations with one
 * key have the same rules, whatever objects they are. Functions are equal only to themselves.
 *
 * The function returns `null` for a value that has no key, because it consists of more than plain objects, lists
 * without holes, strings, numbers, booleans and functions. Nearly every such value stops the boot when it is parsed.
 */
export function createDeclaredKeys (): (declared: unknown) => string | null {
  const functions = new Map<unknown, number>()
  const identify = (fn: unknown): number => {
    const id = functions.get(fn) ?? functions.size
    functions.set(fn, id)
    return id
  }
  const writeList = (list: readonly unknown[], depth: number): string | null => {
    let key = '['
    // an index loop visits holes, which are undefined and have no key
    for (let i = 0; i < list.length; i++) {
      const item = write(list[i], depth)
      if (item === null) return null
      key += `${item},`
    }
    return `${key}]`
  }
  const writeFields = (fields: Readonly<Record<string, unknown>>, depth: number): string | null => {
    let key = '{'
    for (const name of Object.keys(fields)) {
      const field = write(fields[name], depth)
      if (field === null) return null
      key += `${writeString(name)}:${field},`
    }
    return `${key}}`
  }
  const write = (value: unknown, depth: number): string | null => {
    if (typeof value === 'string') return writeString(value)
    if (typeof value === 'boolean' || typeof value === 'number') return String(value)
    if (typeof value === 'function') return `f${identify(value)}`
    if (typeof value !== 'object' || value === null || depth === maxDepth) return null
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Array.prototype) return writeList(value as unknown[], depth + 1)
    return prototype === Object.prototype ? writeFields(value as Record<string, unknown>, depth + 1) : null
  }
  return declared => write(declared, 0)
}

/** Writes the length before the text, so that no text can be read as the end of its string. */
function writeString (text: string): string {
  return `"${text.length} ${text}`
}
