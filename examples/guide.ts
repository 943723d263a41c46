import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AuditRow } from 'fastify-gatehouse'
import { callersOf, rulesOf } from './access.js'
import type { Example } from './app.js'
import type { Config } from './config.js'
import { ordersToTry } from './data/demo.js'

const tryIt = 'TRY IT, in this order (in zsh, run this first: setopt interactive_comments)'

/** Returns the text to print at the start: the address, the routes and, in development, commands to try. */
export async function guide (example: Example): Promise<string> {
  const { app, config } = example
  const at = address(example)
  const sections = [
    [`Order desk   http://${at}   ${config.NODE_ENV}`],
    dataNotice(config),
    ['ROUTES, and who may call them', ...routeTable(app.gatehouse.audit())],
    config.production ? [] : [tryIt, ...await calls(example, at)]
  ]
  return `\n${sections.filter(lines => lines.length > 0).map(lines => lines.join('\n')).join('\n\n')}\n\n`
}

/** Describes where data is kept. */
function dataNotice ({ DATABASE_URL, REDIS_URL, DATA_DIR, generated }: Config): string[] {
  const database = DATABASE_URL === '' ? join(DATA_DIR, 'order-desk.sqlite') : 'PostgreSQL, at DATABASE_URL'
  const secrets = [
    `  generated secrets: ${join(DATA_DIR, 'secrets.env')}`,
    `    ${generated.join(', ').replace(/(.{60}\S*) /, '$1\n    ')}`,
    '    In production you have to set them: see .env.example.'
  ]
  return [
    DATABASE_URL === '' ? `DATA is kept in ${DATA_DIR}; delete the folder to start over` : 'DATA',
    `  people, orders, keys, sessions: ${database}`,
    ...REDIS_URL === '' ? [] : ['  counts of requests: Redis, at REDIS_URL'],
    ...generated.length === 0 ? [] : secrets
  ]
}

function isLocal ({ HOST }: Config): boolean {
  return ['localhost', '127.0.0.1', '0.0.0.0', '::1', '::'].includes(HOST)
}

/** Returns host and port for a client on this machine. */
function address ({ app, config }: Example): string {
  const bound = app.server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : config.PORT
  const host = config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST
  return `${isLocal(config) ? 'localhost' : host}:${port}`
}

/** Returns the routes in columns. Rules that do not fit beside a long path are on the next line. */
function routeTable (rows: readonly AuditRow[]): string[] {
  const who = (row: AuditRow) => callersOf(row).replaceAll(' or ', '/')
  const callers = Math.max(...rows.map(row => who(row).length))
  return rows.map(row => {
    const cells = [row.method.padEnd(7), row.url.padEnd(30), who(row).padEnd(callers)]
    const line = `  ${cells.join('  ')}  ${rulesOf(row)}`.trimEnd()
    return line.length <= 120 ? line : `  ${cells.join('  ').trimEnd()}\n           ${rulesOf(row)}`
  })
}

/** Returns commands for a shell, each with the expected status in a comment. */
async function calls (example: Example, at: string): Promise<string[]> {
  const { app, config, people, orders } = example
  const shop = `curl -H 'x-api-key: ${config.SHOP_KEY}'`
  const warehouse = `curl -H 'x-api-key: ${config.WAREHOUSE_KEY}'`
  const { ofBen, ofShop, toShip } = await ordersToTry(orders)
  const ben = await people.find('ben')
  const token = ben === null ? '' : await app.gatehouse.tokens.issue(ben, { scheme: 'user', expiresIn: '12h' })
  const bearer = `curl -H 'authorization: Bearer ${token}'`
  return [
    '  # Anyone',
    `  curl ${at}/health  # 200`,
    `  curl ${at}/api/orders  # 401 no credential`,
    '  # Machines, with an API key',
    `  ${shop} ${at}/api/me  # 200 the shop`,
    `  ${shop} '${at}/api/orders?status=open'  # 200`,
    `  ${shop} ${at}/api/orders -d 'customer=Acme&item=Lamp'  # 201`,
    `  ${shop} ${at}/api/orders/${toShip.id}/ship -X POST  # 403 not allowed`,
    `  ${warehouse} ${at}/api/orders/${toShip.id}/ship -X POST  # 200 allowed`,
    `  curl -H 'x-api-key: not-a-key' ${at}/api/orders  # 401`,
    '  # People, with a token: this one belongs to Ben and is valid for 12 hours',
    `  curl ${at}/api/token -d 'username=ben&password=${config.PEOPLE_PASSWORD}'  # 200 an access and a refresh token`,
    `  curl ${at}/api/token -d 'username=ben&password=wrong'  # 401`,
    `  curl ${at}/api/token/refresh -d "refresh_token=$(${refreshToken(config, at)})"  # 200 the next tokens`,
    `  ${bearer} ${at}/api/orders/${ofBen.id} -X DELETE  # 204 Ben placed it`,
    `  ${bearer} ${at}/api/orders/${ofShop.id} -X DELETE  # 403 the shop placed it`,
    ...sessionCalls(config, at),
    ...clientCalls(config, at),
    '  # Operators, with a user name and password',
    `  curl -u ops:${config.OPS_PASSWORD} ${at}/ops/status  # 200`,
    `  curl -u ops:wrong ${at}/ops/status  # 401`,
    `  ${shop} ${at}/ops/status  # 401 needs a password`
  ]
}

/** Returns commands that use a session. Over plain HTTP, browsers and curl only keep a Secure cookie on localhost. */
function sessionCalls (config: Config, at: string): string[] {
  if (!isLocal(config) && config.COOKIE_SECURE) {
    return ['  # People, with a session: this address needs HTTPS, or COOKIE_SECURE=false']
  }
  const jar = join(tmpdir(), `order-desk-${at.split(':').at(-1)}.jar`)
  return [
    `  # People, with a session: http://${at}/login as ada, ben or cleo, password ${config.PEOPLE_PASSWORD}`,
    `  curl -i -H 'accept: text/html' ${at}/desk  # 302 browsers are redirected to the login page`,
    `  curl -i -c ${jar} ${at}/login -d 'username=ada&password=${config.PEOPLE_PASSWORD}'  # 303`,
    `  curl -b ${jar} ${at}/desk  # 200 the orders page`,
    `  curl -b ${jar} ${at}/admin  # 200 Ada is an admin`,
    `  curl -b ${jar} ${at}/account/keys --json '{"name":"laptop"}'  # 201 a new key`,
    `  curl -b ${jar} ${at}/account/keys  # 200 the list, without the keys themselves`,
    `  curl -i -b ${jar} ${at}/desk/orders -d 'customer=Acme&item=Chair'  # 303`,
    `  curl -b ${jar} ${at}/apps  # 200 the applications that act for Ada`,
    `  curl -b ${jar} -H 'origin: https://evil.example' ${at}/logout -X POST  # 403 another site`,
    `  curl -i -b ${jar} ${at}/logout -X POST  # 303`,
    `  curl -b ${jar} ${at}/desk  # 401 the session has ended`
  ]
}

/** Returns commands for OAuth 2.0. */
function clientCalls (config: Config, at: string): string[] {
  const { PUBLIC_URL, PARTNER_SECRET } = config
  const bearer = (fields: string) =>
    `curl -H "authorization: Bearer $(${partnerToken(config, at, fields)} | ${member('access_token')})"`
  const mcp = "-H 'accept: application/json, text/event-stream'"
  return [
    "  # A partner's server, with client credentials",
    `  curl ${at}/.well-known/oauth-authorization-server  # 200 where to get tokens`,
    `  curl -u partner:${PARTNER_SECRET} ${at}/oauth/token -d grant_type=client_credentials  # 200 a token`,
    `  curl -u partner:wrong ${at}/oauth/token -d grant_type=client_credentials  # 401`,
    `  ${bearer('scope=orders:read')} ${at}/api/orders  # 200`,
    `  ${bearer('scope=orders:read')} ${at}/api/orders -d 'customer=Acme&item=Desk'  # 403 only reads`,
    `  # MCP clients: their server is ${PUBLIC_URL}/mcp, and their client ID is agent`,
    `  curl -i ${at}/mcp -X POST  # 401 says where to get a token`,
    `  curl ${at}/.well-known/oauth-protected-resource/mcp  # 200`,
    `  ${bearer(`resource=${PUBLIC_URL}/mcp`)} ${mcp} ${at}/mcp --json '${toolsList}'  # 200`,
    `  ${bearer('scope=orders:read')} ${mcp} ${at}/mcp --json '${toolsList}'  # 401 a token for the API`,
    '  # An application of somebody else: npm run client, then http://127.0.0.1:4000'
  ]
}

const toolsList = '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'

/** Returns a command that gets a token for the partner. */
function partnerToken ({ PARTNER_SECRET }: Config, at: string, fields: string): string {
  return `curl -s -u partner:${PARTNER_SECRET} ${at}/oauth/token -d 'grant_type=client_credentials&${fields}'`
}

/** Returns a command that gets a refresh token for Ben. */
function refreshToken ({ PEOPLE_PASSWORD }: Config, at: string): string {
  return `curl -s ${at}/api/token -d 'username=ben&password=${PEOPLE_PASSWORD}' | ${member('refresh_token')}`
}

/** Returns a command that picks a member of JSON. */
function member (name: string): string {
  return `sed 's/.*"${name}":"//; s/".*//'`
}
