import type { GrantRecord } from 'fastify-gatehouse'
import { nameOf } from '../clients.js'
import type { Person } from '../people.js'
import { headRow, html, timestamp, type Html } from './html.js'
import { page } from './layout.js'

/** The scopes for which an application does not ask again. */
interface Consent { readonly client: string, readonly scopes: readonly string[] }

export interface AppsView {
  readonly visitor: Person
  /** The grants, the last used first. */
  readonly grants: readonly GrantRecord[]
  readonly consents: readonly Consent[]
}

export function appsPage ({ visitor, grants, consents }: AppsView): string {
  const clients = [...new Set([...grants, ...consents].flatMap(({ client }) => client ?? []))]
  const connections = clients.map(client => connectionOf(client, grants, consents))
  const programs = grants.filter(({ client }) => client === null)
  return page('Connected applications', visitor, html`
    <h1>Connected applications</h1>
    <p class="hint">These applications act on your behalf, within the scopes that you allowed.</p>
    <section class="card">
      <h2 id="applications">Applications</h2>
      ${table({
        title: 'applications',
        columns: ['Application', 'Scopes', 'Last used (UTC)'],
        rows: connections.map(connectionRow),
        empty: 'You have not connected an application.'
      })}
    </section>
    <section class="card">
      <h2 id="programs">Your own programs</h2>
      ${table({
        title: 'programs',
        columns: ['Started (UTC)', 'Last used (UTC)', 'Expires (UTC)'],
        rows: programs.map(programRow),
        empty: 'None of your programs has tokens.'
      })}
    </section>
  `)
}

/** An application that acts for a person, with all of its grants and consents. */
interface Connection {
  readonly client: string
  readonly scopes: readonly string[]
  /** `null` without tokens. */
  readonly lastUsedAt: string | null
}

function connectionOf (
  client: string, grants: readonly GrantRecord[], consents: readonly Consent[]
): Connection {
  const mine = grants.filter(grant => grant.client === client)
  const allowed = consents.filter(consent => consent.client === client)
  const scopes = [...new Set([...mine, ...allowed].flatMap(({ scopes }) => scopes))]
  return { client, scopes, lastUsedAt: mine[0]?.lastUsedAt ?? null }
}

interface TableView {
  /** The id of the heading. */
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly Html[]
  /** The text to show if there are no rows. */
  readonly empty: string
}

function table ({ title, columns, rows, empty }: TableView): Html {
  if (rows.length === 0) return html`<p class="hint empty">${empty}</p>`
  return html`<div class="scroll" role="region" aria-labelledby="${title}" tabindex="0">
        <table>
          <thead>${headRow(...columns)}</thead>
          <tbody>${rows}</tbody>
        </table>
      </div>`
}

function connectionRow ({ client, scopes, lastUsedAt }: Connection): Html {
  const name = nameOf(client)
  return html`
            <tr>
              <th scope="row">${name}</th>
              <td data-label="Scopes">${scopes.join(', ')}</td>
              <td data-label="Last used (UTC)">${lastUsedAt === null ? 'not connected now' : timestamp(lastUsedAt)}</td>
              <td class="action"><form method="post" action="/apps/${client}/disconnect">
                <button class="quiet small" aria-label="Disconnect ${name}">Disconnect</button>
              </form></td>
            </tr>`
}

function programRow ({ id, createdAt, lastUsedAt, expiresAt }: GrantRecord): Html {
  return html`
            <tr>
              <th scope="row">${timestamp(createdAt)}</th>
              <td data-label="Last used (UTC)">${timestamp(lastUsedAt)}</td>
              <td data-label="Expires (UTC)">${timestamp(expiresAt)}</td>
              <td class="action"><form method="post" action="/apps/tokens/${id}/end">
                <button class="quiet small" aria-label="End the tokens of ${createdAt.slice(0, 16)}">End</button>
              </form></td>
            </tr>`
}
