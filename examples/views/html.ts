/** A fragment of HTML. Values in it are escaped, unless they are fragments themselves. */
export class Html {
  constructor (readonly text: string) {}
}

type Value = string | number | null | Html | readonly Value[]

/** Returns a fragment: `` html`<p>${text}</p>` ``. */
export function html (strings: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(String.raw({ raw: strings }, ...values.map(write)))
}

/** Returns the row of a table's head. The last column, for buttons, has a title for screen readers only. */
export function headRow (...columns: readonly string[]): Html {
  const cells = columns.map(column => html`<th scope="col">${column}</th>`)
  return html`<tr>${cells}<th scope="col"><span class="hidden">Actions</span></th></tr>`
}

/** Returns a `time` element for an ISO 8601 timestamp, to the minute. */
export function timestamp (at: string): Html {
  return html`<time datetime="${at}">${at.slice(0, 16).replace('T', ' ')}</time>`
}

function write (value: Value): string {
  if (value === null) return ''
  if (value instanceof Html) return value.text
  if (Array.isArray(value)) return value.map(write).join('')
  return String(value).replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
