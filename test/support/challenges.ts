/** One challenge, read: names in lower case, values without their quotes. */
export interface ReadChallenge {
  readonly scheme: string
  readonly params: Readonly<Record<string, string>>
}

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const quoted = /"((?:[^"\\]|\\.)*)"/ys
const space = /(?:[ \t]|\r?\n[ \t])+/y
const commas = /[ \t,]*/y

/**
 * Reads `WWW-Authenticate` by RFC 9110, 11.6.1, as strictly as the cases of `http-auth/challenges.json` ask: a realm is a quoted string, a name stands once.
 * @throws {SyntaxError}
 */
export function readChallenges (header: string): readonly ReadChallenge[] {
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(header)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  const wrong = (what: string): SyntaxError => new SyntaxError(`${what} at ${at} of ${header}`)
  const valueOf = (name: string): string => {
    const text = take(quoted)?.[1]
    if (text !== undefined) return text.replace(/\\(.)/gs, '$1')
    const bare = name === 'realm' ? undefined : take(token)?.[0]
    if (bare === undefined) throw wrong(`no value of ${name}`)
    return bare
  }

  const found: { scheme: string, params: Record<string, string> }[] = []
  let params: Record<string, string> | null = null
  for (take(commas); at < header.length; take(commas)) {
    const name = take(token)?.[0].toLowerCase()
    if (name === undefined) throw wrong('no name')
    if (header[at] === '=') {
      at++
      if (params === null || Object.hasOwn(params, name)) throw wrong(`the parameter ${name}`)
      params[name] = valueOf(name)
      if (at < header.length && !/^[ \t]*(?:,|$)/.test(header.slice(at))) throw wrong('no comma')
    } else {
      const made: Record<string, string> = {}
      found.push({ scheme: name, params: made })
      // parameters follow behind a space, and nowhere else
      params = take(space) === null ? null : made
      if (params === null && at < header.length && header[at] !== ',') throw wrong('no comma')
    }
  }
  if (found.length === 0 || found.some(({ scheme, params }) => scheme === 'basic' && params['realm'] === undefined)) throw wrong('no challenge, or Basic without a realm')
  return found
}
