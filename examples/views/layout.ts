import type { Person } from '../people.js'
import { html, type Html } from './html.js'

type Visitor = Pick<Person, 'name' | 'roles'>

/** Returns a complete page. */
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
      <a href="/desk">Orders</a>
      ${visitor === null ? null : html`<a href="/keys">Keys</a> <a href="/sessions">Sessions</a>`}
      ${visitor?.roles.includes('admin') ? html`<a href="/admin">Access</a>` : null}
      <a href="/docs">API</a>
    </nav>
    ${visitor === null ? null : account(visitor)}
  </header>
  <main id="content">
    ${content}
  </main>
</body>
</html>
`.text
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
