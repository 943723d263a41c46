import { html, Html } from './html.js'

/** An order, as the API describes it. */
export interface ClientOrder {
  readonly id: number
  readonly customer: string
  readonly quantity: number
  readonly status: string
}

/** Returns the page of the application in `client.ts`: a button, or the orders. */
export function clientPage (orders: readonly ClientOrder[] | null, message: string | null): string {
  return html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Sales dashboard</title>
  <link rel="icon" href="data:,">
  <style>${style}</style>
</head>
<body>
  <h1>Sales dashboard</h1>
  ${message === null ? null : html`<p role="alert">${message}</p>`}
  ${orders === null ? invitation : orderList(orders)}
</body>
</html>
`.text
}

const invitation = html`<p>All orders of your order desk, and how many pieces they are.</p>
  <p><a class="button" href="/connect">Connect the order desk</a></p>`

function orderList (orders: readonly ClientOrder[]): Html {
  const items = orders.reduce((sum, { quantity }) => sum + quantity, 0)
  return html`<p>${orders.length} orders, ${items} pieces</p>
  <table>
    <thead><tr><th>Order</th><th>Customer</th><th>Quantity</th><th>Status</th></tr></thead>
    <tbody>${orders.map(orderRow)}</tbody>
  </table>`
}

function orderRow ({ id, customer, quantity, status }: ClientOrder): Html {
  return html`<tr><td>${id}</td><td>${customer}</td><td>${quantity}</td><td>${status}</td></tr>`
}

const style = new Html(`
    :root { color-scheme: light dark; font: 16px/1.5 Georgia, serif; }
    body { max-width: 40rem; margin: 3rem auto; padding: 0 1.25rem; }
    .button { display: inline-block; padding: .6rem 1.2rem; border-radius: .3rem; background: #7c2d12; }
    .button { color: #fff; text-decoration: none; }
    table { width: 100%; border-collapse: collapse; }
    th, td { padding: .4rem .5rem; border-bottom: 1px solid #8886; text-align: start; overflow-wrap: anywhere; }
  `)
