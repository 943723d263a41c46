/** A piece of HTML. What is put into one is escaped, unless it is such a piece itself. */
export class Html {
  constructor (readonly text: string) {}
}

type Value = string | number | null | Html | readonly Value[]

/** `` html`<p>${text}</p>` `` */
export function html (strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(String.raw({ raw: strings }, ...values.map(write)))
}

function write (value: Value): string {
  if (value === null) return ''
  if (value instanceof Html) return value.text
  if (Array.isArray(value)) return value.map(write).join('')
  return String(value).replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
