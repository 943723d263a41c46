/** What not every database keeps as it is: NUL (PostgreSQL has none in text), lone surrogates (UTF-8 has none), and the sign that escapes them. */
const special = /[\\\0]|\p{Cs}/u
const escaped = /\\(\\|0|d[89a-f][0-9a-f]{2})/g

/** Any string as text that every database keeps and compares faithfully: two strings never become one. At most twice as long. */
export function toText (string: string): string {
  return special.test(string) ? string.replace(/[\\\0]|\p{Cs}/gu, escape) : string
}

function escape (character: string): string {
  if (character === '\\') return '\\\\'
  return character === '\0' ? '\\0' : `\\${character.charCodeAt(0).toString(16)}`
}

/** The string that {@link toText} was given. */
export function fromText (text: string): string {
  if (!text.includes('\\')) return text
  return text.replace(escaped, (_, code: string) => code === '\\' ? '\\' : String.fromCharCode(code === '0' ? 0 : parseInt(code, 16)))
}
