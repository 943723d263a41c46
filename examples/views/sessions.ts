import type { SessionRecord } from 'fastify-gatehouse'
import type { Person } from '../people.js'
import { html, type Html } from './html.js'
import { page } from './layout.js'

export interface SessionsView {
  readonly visitor: Person
  readonly sessions: readonly SessionRecord[]
  /** The id of the one that asks. */
  readonly current: string
}

export function sessionsPage ({ visitor, sessions, current }: SessionsView): string {
  return page('Sessions', visitor, html`
    <h1>Where you are logged in</h1>
    <section class="card">
      <h2 id="sessions">Your sessions</h2>
      <div class="scroll" role="region" aria-labelledby="sessions" tabindex="0">
        <table>
          <thead><tr><th scope="col">Browser</th><th scope="col">Address</th><th scope="col">Since (UTC)</th><th scope="col">Last seen (UTC)</th><th scope="col"><span class="hidden">Action</span></th></tr></thead>
          <tbody>${sessions.map(session => sessionRow(session, session.id === current))}</tbody>
        </table>
      </div>
    </section>
    ${sessions.length < 2 ? null : html`<form method="post" action="/sessions/end-others"><button>Log out everywhere else</button></form>`}
    <script src="/live.js" defer></script>
  `)
}

function sessionRow ({ id, userAgent, address, createdAt, lastSeenAt }: SessionRecord, isCurrent: boolean): Html {
  const name = browserOf(userAgent)
  return html`
            <tr>
              <th scope="row"><span title="${userAgent}">${name}</span> ${isCurrent ? html`<span class="status shipped">this one</span>` : null}</th>
              <td data-label="Address">${address}</td>
              <td data-label="Since (UTC)">${instant(createdAt)}</td>
              <td data-label="Last seen (UTC)">${instant(lastSeenAt)}</td>
              <td class="action">${isCurrent ? null : html`<form method="post" action="/sessions/${id}/end"><button class="quiet small" aria-label="End the session of ${name}">End</button></form>`}</td>
            </tr>`
}

/** What people call it: good enough to tell their own apart. */
function browserOf (userAgent: string): string {
  const known = /(Edg|OPR|Firefox|Chrome|HeadlessChrome|Safari|curl)\/(\d+)/.exec(userAgent)
  return known === null ? userAgent.slice(0, 40) || 'unknown' : `${known[1]} ${known[2]}`
}

function instant (at: string): Html {
  return html`<time datetime="${at}">${at.slice(0, 16).replace('T', ' ')}</time>`
}
