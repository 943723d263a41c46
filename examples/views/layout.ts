import type { Person } from '../people.js'
import { html, type Html } from './html.js'

export type Visitor = Pick<Person, 'name' | 'roles'>

/** The pages of the navigation, by their titles. */
const places: Readonly<Record<string, readonly [path: string, label: string]>> = {
  Orders: ['/desk', 'Orders'],
  'API keys': ['/keys', 'Keys'],
  'Connected applications': ['/apps', 'Apps'],
  Sessions: ['/sessions', 'Sessions'],
  Access: ['/admin', 'Access']
}

/** Returns a complete page. Its title marks the current place in the navigation. */
export function page (title: string, visitor: Visitor | null, content: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${title} · Order desk</title>
  <link rel="icon" href="/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/style.css">
</head>
<body>
  <a class="skip" href="#content">Skip to content</a>
  <header class="bar">
    <a class="brand" href="/"><img src="/icon.svg" alt="" width="28" height="28">Order desk</a>
    <nav aria-label="Main">
      ${titlesFor(visitor).map(each => place(each, each === title))}
      <a href="/docs">API</a>
    </nav>
    ${visitor === null ? loginLink(title) : account(visitor)}
  </header>
  <main id="content">
    ${content}
  </main>
</body>
</html>
`.text
}

function titlesFor (visitor: Visitor | null): readonly string[] {
  if (visitor === null) return ['Orders']
  const titles = Object.keys(places)
  return visitor.roles.includes('admin') ? titles : titles.filter(title => title !== 'Access')
}

function place (title: string, isCurrent: boolean): Html {
  const [path = '', label = ''] = places[title] ?? []
  return html`<a href="${path}"${isCurrent ? html` aria-current="page"` : null}>${label}</a>`
}

function loginLink (title: string): Html | null {
  return title === 'Log in' ? null : html`<a class="button quiet small" href="/login">Log in</a>`
}

function account ({ name, roles }: Visitor): Html {
  return html`<form class="account" method="post" action="/logout">
      <span><strong>${name}</strong> <small>${roles.join(', ')}</small></span>
      <button class="quiet">Log out</button>
    </form>`
}

/** Returns an error message that screen readers announce at once. */
export function alert (message: string | null): Html | null {
  return message === null ? null : html`<p class="notice bad" role="alert">${message}</p>`
}
