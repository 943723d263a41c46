import type { ApiKeyRecord, NewApiKey } from 'fastify-gatehouse'
import type { Person } from '../people.js'
import { html, type Html } from './html.js'
import { page } from './layout.js'

export interface KeysView {
  readonly visitor: Person
  readonly keys: readonly ApiKeyRecord[]
  /** What the visitor may give to a key. */
  readonly scopes: readonly string[]
  /** The one that was just made. */
  readonly made: NewApiKey | null
  /** Keys of one person. */
  readonly most: number
}

export function keysPage ({ visitor, keys, scopes, made, most }: KeysView): string {
  return page('API keys', visitor, html`
    <h1>API keys</h1>
    <p class="hint">For your own programs. A key acts as you, and never does more than you may.</p>
    ${made === null ? null : newKey(made)}
    ${keys.filter(key => !isOver(key)).length >= most ? html`<p class="hint">There are ${most} keys: revoke one to make another.</p>` : keyForm(scopes)}
    <section class="card">
      <h2 id="keys">Your keys</h2>
      ${keys.length === 0 ? html`<p class="hint">There are none yet.</p>` : keyTable(keys)}
    </section>
  `)
}

function newKey ({ key, record }: NewApiKey): Html {
  return html`<section class="card made" role="status">
      <h2>${record.name}: the key</h2>
      <p><code class="secret">${key}</code></p>
      <p class="hint">Copy it now. Only its digest is kept, so it cannot be shown again.</p>
    </section>`
}

function keyForm (scopes: readonly string[]): Html {
  return html`<section class="card">
      <h2>New key</h2>
      <form method="post" action="/keys" class="row">
        <label>Name <input name="name" maxlength="60" pattern=".*\\S.*" title="A name" placeholder="Laptop" autocomplete="off" required></label>
        <fieldset>
          <legend>May</legend>
          ${scopes.map(scope => html`<label class="check"><input type="checkbox" name="scopes" value="${scope}" checked> <code>${scope}</code></label>`)}
        </fieldset>
        <label class="short">Ends in
          <select name="days"><option value="7">a week</option><option value="30" selected>30 days</option><option value="90">90 days</option><option value="365">a year</option></select>
        </label>
        <button>Make a key</button>
      </form>
    </section>`
}

function keyTable (keys: readonly ApiKeyRecord[]): Html {
  return html`<div class="scroll" role="region" aria-labelledby="keys" tabindex="0">
        <table>
          <thead><tr><th scope="col">Name</th><th scope="col">Key</th><th scope="col">May</th><th scope="col">Last used (UTC)</th><th scope="col">Ends (UTC)</th><th scope="col"><span class="hidden">Actions</span></th></tr></thead>
          <tbody>${keys.map(keyRow)}</tbody>
        </table>
      </div>`
}

function keyRow (key: ApiKeyRecord): Html {
  const { id, name, start, scopes, lastUsedAt, replacedBy } = key
  const end = endOf(key)
  return html`
            <tr>
              <th scope="row">${name}</th>
              <td data-label="Key"><code>${start}…</code></td>
              <td data-label="May">${scopes.length === 0 ? 'nothing' : scopes.join(', ')}</td>
              <td data-label="Last used (UTC)">${lastUsedAt === null ? 'never' : instant(lastUsedAt)}</td>
              <td data-label="Ends (UTC)"><span>${end === null ? 'never' : instant(end)} ${isOver(key) ? html`<span class="status cancelled">over</span>` : replacedBy === null ? null : html`<span class="status open">replaced</span>`}</span></td>
              <td class="action">${isOver(key) || replacedBy !== null ? null : rotation(key)}
                <form method="post" action="/keys/${id}/revoke"><button class="quiet small" aria-label="Revoke ${name}">Revoke</button></form></td>
            </tr>`
}

function rotation ({ id, name }: ApiKeyRecord): Html {
  return html`<form method="post" action="/keys/${id}/rotate">
                  <select name="overlap" class="small" aria-label="How long ${name} stays good"><option value="86400">good for a day more</option><option value="604800">for a week more</option><option value="0">it leaked: end it now</option></select>
                  <button class="quiet small" aria-label="Rotate ${name}">Rotate</button>
                </form>`
}

function endOf ({ expiresAt, sunsetAt }: ApiKeyRecord): string | null {
  return [expiresAt, sunsetAt].filter(instant => instant !== null).sort()[0] ?? null
}

function isOver (key: ApiKeyRecord): boolean {
  const end = endOf(key)
  return end !== null && Date.parse(end) <= Date.now()
}

function instant (at: string): Html {
  return html`<time datetime="${at}">${at.slice(0, 16).replace('T', ' ')}</time>`
}
