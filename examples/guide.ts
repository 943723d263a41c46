import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditRow } from 'fastify-gatehouse'
import { callersOf, rulesOf } from './access.js'
import type { OrderDesk } from './app.js'
import type { Config } from './config.js'
import { ordersToTry } from './data/demo.js'

/** What is printed at the start: where it runs, who may enter, and, in development, how to try it. */
export async function guide (desk: OrderDesk): Promise<string> {
  const { app, config } = desk
  const at = address(desk)
  const sections = [
    [`Order desk   http://${at}   ${config.NODE_ENV}`],
    dataNotice(config),
    ['WHO MAY ENTER', ...routeTable(app.gatehouse.audit())],
    config.production ? [] : ['TRY IT, in this order (in zsh first: setopt interactive_comments)', ...await calls(desk, at)]
  ]
  return `\n${sections.filter(lines => lines.length > 0).map(lines => lines.join('\n')).join('\n\n')}\n\n`
}

/** What a restart finds again, and where it is. */
function dataNotice ({ DATABASE_URL, REDIS_URL, DATA_DIR, kept }: Config): string[] {
  const secrets = join(DATA_DIR, 'secrets.env')
  return [
    'KEPT, so that a restart finds it again; remove it to begin anew',
    `  people, orders, keys, sessions: ${DATABASE_URL === '' ? join(DATA_DIR, 'order-desk.sqlite') : 'PostgreSQL, at DATABASE_URL'}`,
    ...REDIS_URL === '' ? [] : ['  counts of requests: Redis, at REDIS_URL'],
    ...kept.length === 0 ? [] : [`  secrets that nobody set: ${secrets}`, `    ${kept.join(', ')}`, '    In production they must be set; see .env.example.']
  ]
}

function isLocal ({ HOST }: Config): boolean {
  return ['localhost', '127.0.0.1', '0.0.0.0', '::1', '::'].includes(HOST)
}

/** Host and port, as a client on this machine writes them. */
function address ({ app, config }: OrderDesk): string {
  const bound = app.server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : config.PORT
  const host = config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST
  return `${isLocal(config) ? 'localhost' : host}:${port}`
}

function routeTable (rows: readonly AuditRow[]): string[] {
  const width = (texts: readonly string[]) => Math.max(...texts.map(text => text.length))
  const method = width(rows.map(row => row.method))
  const url = width(rows.map(row => row.url))
  const who = (row: AuditRow) => callersOf(row).replaceAll(' or ', '/')
  const callers = width(rows.map(who))
  return rows.map(row => `  ${row.method.padEnd(method)}  ${row.url.padEnd(url)}  ${who(row).padEnd(callers)}  ${rulesOf(row)}`.trimEnd())
}

/** Lines to paste into a shell, each with what it answers. */
async function calls (desk: OrderDesk, at: string): Promise<string[]> {
  const { app, config, people, orders } = desk
  const shop = `curl -H 'x-api-key: ${config.SHOP_KEY}'`
  const warehouse = `curl -H 'x-api-key: ${config.WAREHOUSE_KEY}'`
  const { ofBen, ofShop, toShip } = await ordersToTry(orders)
  const ben = await people.find('ben')
  const token = ben === null ? '' : await app.gatehouse.tokens.issue(ben, { expiresIn: '12h' })
  const bearer = `curl -H 'authorization: Bearer ${token}'`
  return [
    '  # Anyone',
    `  curl ${at}/health  # 200`,
    `  curl ${at}/api/orders  # 401 nothing was sent`,
    '  # Machines, by API key',
    `  ${shop} ${at}/api/me  # 200 the shop`,
    `  ${shop} '${at}/api/orders?status=open'  # 200`,
    `  ${shop} ${at}/api/orders -d 'customer=Acme&item=Lamp'  # 201`,
    `  ${shop} ${at}/api/orders/${toShip.id}/ship -X POST  # 403 not its job`,
    `  ${warehouse} ${at}/api/orders/${toShip.id}/ship -X POST  # 200 its job`,
    `  curl -H 'x-api-key: not-a-key' ${at}/api/orders  # 401`,
    '  # People, by token: this one is Ben\'s, for 12 hours',
    `  curl ${at}/api/token -d 'username=ben&password=${config.PEOPLE_PASSWORD}'  # 200 another one`,
    `  curl ${at}/api/token -d 'username=ben&password=wrong'  # 401`,
    `  ${bearer} ${at}/api/orders/${ofBen.id} -X DELETE  # 204 Ben placed it`,
    `  ${bearer} ${at}/api/orders/${ofShop.id} -X DELETE  # 403 the shop did`,
    ...sessionCalls(config, at),
    '  # Operators, by user name and password',
    `  curl -u ops:${config.OPS_PASSWORD} ${at}/ops/status  # 200`,
    `  curl -u ops:wrong ${at}/ops/status  # 401`,
    `  ${shop} ${at}/ops/status  # 401 a key is no password`
  ]
}

/** Browsers and curl keep a Secure cookie of a plain-HTTP address on localhost only. */
function sessionCalls (config: Config, at: string): string[] {
  if (!isLocal(config) && config.COOKIE_SECURE) return ['  # People, by session: this address needs HTTPS, or COOKIE_SECURE=false']
  const jar = join(tmpdir(), `order-desk-${at.split(':').at(-1)}.jar`)
  return [
    `  # People, by session: http://${at}/login as ada, ben or cleo, with the password ${config.PEOPLE_PASSWORD}`,
    `  curl -i -H 'accept: text/html' ${at}/desk  # 302 a browser is sent to the login page`,
    `  curl -i -c ${jar} ${at}/login -d 'username=ada&password=${config.PEOPLE_PASSWORD}'  # 303`,
    `  curl -b ${jar} ${at}/desk  # 200 a page`,
    `  curl -b ${jar} ${at}/admin  # 200 Ada is an admin`,
    `  curl -b ${jar} ${at}/account/keys --json '{"name":"laptop"}'  # 201 a key`,
    `  curl -b ${jar} ${at}/account/keys  # 200 the keys, never to be read again`,
    `  curl -i -b ${jar} ${at}/desk/orders -d 'customer=Acme&item=Chair'  # 303`,
    `  curl -b ${jar} -H 'origin: https://evil.example' ${at}/logout -X POST  # 403 another site`,
    `  curl -i -b ${jar} ${at}/logout -X POST  # 303`,
    `  curl -b ${jar} ${at}/desk  # 401 the cookie in the jar is worthless now`
  ]
}
