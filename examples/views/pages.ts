import type { AuditRow } from 'fastify-gatehouse'
import { callersOf, rulesOf } from '../access.js'
import type { Order } from '../orders.js'
import type { Person } from '../people.js'
import { html, timestamp, type Html } from './html.js'
import { alert, page, type Visitor } from './layout.js'

export function homePage (visitor: Person | null): string {
  return page('Welcome', visitor, html`
    <section class="hero">
      <h1>Orders in, orders out.</h1>
      <p>One desk for the people who take orders, the shop that sends them and the warehouse that ships them.</p>
      <p><a class="button" href="/desk">${visitor === null ? 'Log in' : `Continue as ${visitor.name}`}</a>
      <a class="button quiet" href="/docs">Read the API</a></p>
    </section>
  `)
}

export interface LoginForm {
  readonly username: string
  readonly keep: boolean
  readonly error: string | null
  /** The link to the login at the provider, or `null` if there is none. */
  readonly provider: { readonly host: string, readonly href: string } | null
  /** The demo accounts to show with the form, or `null` in production. */
  readonly demo: { readonly people: readonly Person[], readonly password: string } | null
}

/** The form has no action, so it is posted to the URL of the page, which contains the address to return to. */
export function loginPage ({ username, keep, error, provider, demo }: LoginForm): string {
  return page('Log in', null, html`
    <section class="card narrow">
      <h1>Log in</h1>
      ${alert(error)}
      <form method="post" class="stack">
        <label>User name
          <input name="username" value="${username}" autocomplete="username" autocapitalize="none" spellcheck="false"
            maxlength="200" required autofocus>
        </label>
        <label>Password
          <input name="password" type="password" autocomplete="current-password" maxlength="200" required>
        </label>
        <label class="check">
          <input type="checkbox" name="keep" value="true"${keep ? html` checked` : null}>
          Keep me logged in on this device
        </label>
        <button>Log in</button>
      </form>
      ${provider === null
        ? null
        : html`<p><a class="button quiet" href="${provider.href}">Log in with ${provider.host}</a></p>`}
    </section>
    ${demo === null ? null : demoAccounts(demo.people, demo.password)}
  `)
}

function demoAccounts (people: readonly Person[], password: string): Html {
  return html`<aside class="card narrow demo" aria-labelledby="demo">
      <h2 id="demo">Demo accounts</h2>
      <p>Shown in development only. All accounts have the password <code>${password}</code></p>
      <ul>${people.map(({ id, name, roles }) => html`<li><code>${id}</code> ${name}, ${roles.join(', ')}</li>`)}</ul>
    </aside>`
}

export interface OrdersView {
  readonly visitor: Person
  readonly orders: readonly Order[]
  readonly mayWrite: boolean
  readonly mayCancel: (order: Order) => boolean
  readonly notice: string | null
}

export function ordersPage ({ visitor, orders, mayWrite, mayCancel, notice }: OrdersView): string {
  const count = (status: Order['status']) => orders.filter(order => order.status === status).length
  return page('Orders', visitor, html`
    <h1>Orders</h1>
    ${notice === null ? null : html`<p class="notice good" role="status">${notice}</p>`}
    <dl class="tiles">
      <div><dt>Open</dt><dd>${count('open')}</dd></div>
      <div><dt>Shipped</dt><dd>${count('shipped')}</dd></div>
      <div><dt>Cancelled</dt><dd>${count('cancelled')}</dd></div>
    </dl>
    ${mayWrite ? orderForm() : html`<p class="hint">You can view orders, but you cannot place or cancel them.</p>`}
    <section class="card">
      <h2 id="orders">Latest orders</h2>
      <div class="scroll" role="region" aria-labelledby="orders" tabindex="0">
        <table>
          <thead><tr>
            <th scope="col">Order</th><th scope="col">Customer</th><th scope="col">Item</th>
            <th scope="col" class="number">Quantity</th><th scope="col">Placed (UTC)</th><th scope="col">By</th>
            <th scope="col">Status</th><th scope="col"><span class="hidden">Actions</span></th>
          </tr></thead>
          <tbody>${orders.map(order => orderRow(order, mayCancel(order)))}</tbody>
        </table>
      </div>
      ${orders.length === 0 ? html`<p class="hint empty">There are no orders yet.</p>` : null}
    </section>
  `)
}

function orderForm (): Html {
  return html`<section class="card">
      <h2>New order</h2>
      <form method="post" action="/desk/orders" class="row">
        <label>Customer ${nameInput('customer')}</label>
        <label>Item ${nameInput('item')}</label>
        <label class="short">Quantity <input name="quantity" type="number" value="1" min="1" max="999" required></label>
        <button>Place order</button>
      </form>
    </section>`
}

function nameInput (name: string): Html {
  return html`<input name="${name}" maxlength="60" pattern=".*\\S.*" title="Enter a name" autocomplete="off" required>`
}

function orderRow ({ id, customer, item, quantity, placedAt, owner, status }: Order, mayCancel: boolean): Html {
  return html`
            <tr>
              <th scope="row">${id}</th>
              <td data-label="Customer">${customer}</td>
              <td data-label="Item">${item}</td>
              <td data-label="Quantity" class="number">${quantity}</td>
              <td data-label="Placed (UTC)">${timestamp(placedAt)}</td>
              <td data-label="By">${owner.id}</td>
              <td data-label="Status"><span class="status ${status}">${status}</span></td>
              <td class="action">${mayCancel && status === 'open' ? cancelForm(id) : null}</td>
            </tr>`
}

function cancelForm (id: number): Html {
  return html`<form method="post" action="/desk/orders/${id}/cancel">
                <button class="quiet small" aria-label="Cancel order ${id}">Cancel</button>
              </form>`
}

export function adminPage (visitor: Person, people: readonly Person[], routes: readonly AuditRow[]): string {
  const groups = [...new Set(routes.map(groupOf))]
  return page('Access', visitor, html`
    <h1>Access</h1>
    <section class="card">
      <h2>People</h2>
      <ul class="plain">${people.map(personItem)}</ul>
    </section>
    <section class="card">
      <h2 id="routes">Routes and who may call them</h2>
      <div class="scroll" role="region" aria-labelledby="routes" tabindex="0">
        <table class="routes">
          <thead><tr><th scope="col">Route</th><th scope="col">Who</th><th scope="col">Rules</th></tr></thead>
          ${groups.map(group => routeGroup(group, routes.filter(row => groupOf(row) === group)))}
        </table>
      </div>
    </section>
  `)
}

/** Returns the first part of a path, by which routes are grouped; files at the top are with the start page. */
function groupOf ({ url }: AuditRow): string {
  const part = url.split('/')[1] ?? ''
  return part.includes('.') ? '/' : `/${part.replace('*', '')}`
}

function routeGroup (group: string, routes: readonly AuditRow[]): Html {
  return html`<tbody>
            <tr class="group"><th scope="rowgroup" colspan="3">${group}</th></tr>${routes.map(routeRow)}
          </tbody>`
}

function personItem ({ id, name, roles }: Person): Html {
  return html`<li><strong>${name}</strong> <code>${id}</code> <small>${roles.join(', ')}</small></li>`
}

function routeRow (row: AuditRow): Html {
  return html`
            <tr>
              <th scope="row"><code>${row.method} ${row.url}</code></th>
              <td data-label="Who">${callersOf(row)}</td>
              <td data-label="Rules">${rulesOf(row)}</td>
            </tr>`
}

export function errorPage (status: number, message: string, visitor: Visitor | null): string {
  return page(String(status), visitor, html`
    <section class="card narrow">
      <p class="hint">${status}</p>
      <h1>${message}</h1>
      <p><a href="/">Back to the start page</a></p>
    </section>
  `)
}
