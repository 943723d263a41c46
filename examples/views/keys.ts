import type { ApiKeyRecord } from 'fastify-gatehouse'
import type { CreatedKey } from '../auth.js'
import type { Person } from '../people.js'
import { headRow, html, timestamp, type Html } from './html.js'
import { page } from './layout.js'

export interface KeysView {
  readonly visitor: Person
  readonly keys: readonly ApiKeyRecord[]
  /** The scopes that the visitor can give to a key. */
  readonly scopes: readonly string[]
  /** The key that was just created. */
  readonly created: CreatedKey | null
  /** The maximum number of keys per person. */
  readonly maxKeys: number
}

export function keysPage ({ visitor, keys, scopes, created, maxKeys }: KeysView): string {
  return page('API keys', visitor, html`
    <h1>API keys</h1>
    <p class="hint">Use keys in your own programs. A key acts on your behalf and never has more rights than you.</p>
    ${created === null ? null : newKey(created)}
    ${keys.filter(key => !isExpired(key)).length >= maxKeys ? tooMany(maxKeys) : keyForm(scopes)}
    <section class="card">
      <h2 id="keys">Your keys</h2>
      ${keys.length === 0 ? html`<p class="hint empty">You have no keys yet.</p>` : keyTable(keys)}
    </section>
    <script src="/copy.js" defer></script>
  `)
}

function tooMany (maxKeys: number): Html {
  return html`<p class="hint">You have ${maxKeys} keys, which is the maximum. Revoke one to create another.</p>`
}

function newKey ({ key, name }: CreatedKey): Html {
  return html`<section class="card made" role="status">
      <h2>Your new key: ${name}</h2>
      <p class="secret"><code id="key">${key}</code>
        <button class="quiet small" type="button" data-copy="key" hidden>Copy</button></p>
      <p class="hint">Copy the key now. Only its hash is stored, so it cannot be shown again.</p>
    </section>`
}

function keyForm (scopes: readonly string[]): Html {
  return html`<section class="card">
      <h2>New key</h2>
      <form method="post" action="/keys" class="row">
        <label>Name
          <input name="name" maxlength="60" pattern=".*\\S.*" title="Enter a name" placeholder="Laptop"
            autocomplete="off" required>
        </label>
        <fieldset>
          <legend>Scopes</legend>
          ${scopes.map(scopeBox)}
        </fieldset>
        <label class="short">Expires in
          <select name="days">
            <option value="7">a week</option>
            <option value="30" selected>30 days</option>
            <option value="90">90 days</option>
            <option value="365">a year</option>
          </select>
        </label>
        <button>Create key</button>
      </form>
    </section>`
}

function scopeBox (scope: string): Html {
  return html`<label class="check">
            <input type="checkbox" name="scopes" value="${scope}" checked> <code>${scope}</code>
          </label>`
}

function keyTable (keys: readonly ApiKeyRecord[]): Html {
  return html`<div class="scroll" role="region" aria-labelledby="keys" tabindex="0">
        <table>
          <thead>${headRow('Name', 'Key', 'Scopes', 'Last used (UTC)', 'Expires (UTC)')}</thead>
          <tbody>${keys.map(keyRow)}</tbody>
        </table>
      </div>`
}

function keyRow (key: ApiKeyRecord): Html {
  const { name, start, scopes, lastUsedAt, replacedBy } = key
  const end = endOf(key)
  return html`
            <tr>
              <th scope="row">${name}</th>
              <td data-label="Key"><code>${start}…</code></td>
              <td data-label="Scopes">${scopes.length === 0 ? 'none' : scopes.join(', ')}</td>
              <td data-label="Last used (UTC)">${lastUsedAt === null ? 'never' : timestamp(lastUsedAt)}</td>
              <td data-label="Expires (UTC)">
                <span>${end === null ? 'never' : timestamp(end)} ${statusOf(key)}</span>
              </td>
              <td class="action">${isExpired(key) || replacedBy !== null ? null : rotation(key)}
                ${revocation(key)}</td>
            </tr>`
}

function statusOf (key: ApiKeyRecord): Html | null {
  if (isExpired(key)) return html`<span class="status cancelled">expired</span>`
  return key.replacedBy === null ? null : html`<span class="status open">replaced</span>`
}

function rotation ({ id, name }: ApiKeyRecord): Html {
  return html`<form method="post" action="/keys/${id}/rotate">
                  <select name="overlap" class="small" aria-label="How long ${name} stays valid">
                    <option value="86400">valid for one more day</option>
                    <option value="604800">valid for one more week</option>
                    <option value="0">leaked: revoke it now</option>
                  </select>
                  <button class="quiet small" aria-label="Rotate ${name}">Rotate</button>
                </form>`
}

function revocation ({ id, name }: ApiKeyRecord): Html {
  return html`<details class="confirm">
                  <summary class="button quiet small" aria-label="Revoke ${name}">Revoke</summary>
                  <form method="post" action="/keys/${id}/revoke">
                    <span>Programs that use it stop working.</span>
                    <button class="danger small" aria-label="Revoke ${name} now">Revoke now</button>
                  </form>
                </details>`
}

function endOf ({ expiresAt, sunsetAt }: ApiKeyRecord): string | null {
  return [expiresAt, sunsetAt].filter(instant => instant !== null).sort()[0] ?? null
}

function isExpired (key: ApiKeyRecord): boolean {
  const end = endOf(key)
  return end !== null && Date.parse(end) <= Date.now()
}
