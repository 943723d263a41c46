import type { SessionRecord } from 'fastify-gatehouse'
import type { Person } from '../people.js'
import { headRow, html, timestamp, type Html } from './html.js'
import { page } from './layout.js'

export interface SessionsView {
  readonly visitor: Person
  readonly sessions: readonly SessionRecord[]
  /** The id of the session that sent the request. */
  readonly current: string
}

export function sessionsPage ({ visitor, sessions, current }: SessionsView): string {
  return page('Sessions', visitor, html`
    <h1>Where you are logged in</h1>
    <section class="card">
      <h2 id="sessions">Your sessions</h2>
      <div class="scroll" role="region" aria-labelledby="sessions" tabindex="0">
        <table>
          <thead>${headRow('Browser', 'Address', 'Logged in (UTC)', 'Last seen (UTC)')}</thead>
          <tbody>${sessions.map(session => sessionRow(session, session.id === current))}</tbody>
        </table>
      </div>
    </section>
    ${sessions.length < 2 ? null : endOthers()}
    <script src="/live.js" defer></script>
  `)
}

const currentLabel = html`<span class="status shipped">this browser</span>`

function endOthers (): Html {
  return html`<form method="post" action="/sessions/end-others"><button>Log out everywhere else</button></form>`
}

function endForm (id: string, name: string): Html {
  return html`<form method="post" action="/sessions/${id}/end">
                <button class="quiet small" aria-label="End the session of ${name}">End</button>
              </form>`
}

function sessionRow ({ id, userAgent, address, createdAt, lastSeenAt }: SessionRecord, isCurrent: boolean): Html {
  const name = browserOf(userAgent)
  return html`
            <tr>
              <th scope="row"><span title="${userAgent}">${name}</span> ${isCurrent ? currentLabel : null}</th>
              <td data-label="Address">${address}</td>
              <td data-label="Logged in (UTC)">${timestamp(createdAt)}</td>
              <td data-label="Last seen (UTC)">${timestamp(lastSeenAt)}</td>
              <td class="action">${isCurrent ? null : endForm(id, name)}</td>
            </tr>`
}

/** Returns a short name of the browser, so that people can tell their sessions apart. */
function browserOf (userAgent: string): string {
  const known = /(Edg|OPR|Firefox|Chrome|HeadlessChrome|Safari|curl)\/(\d+)/.exec(userAgent)
  return known === null ? userAgent.slice(0, 40) || 'unknown' : `${known[1]} ${known[2]}`
}
