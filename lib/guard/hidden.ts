import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Scheme } from '../../types/scheme.js'

/** What stands in a line of the log for what must not. */
const mark = '[hidden]'
/** Characters of a secret that may not be read together: fewer say nothing. */
const shortest = 8

type Rewrite = (line: string) => string

/** Pino's own name for it, the same in every copy of pino. */
const hooks = Symbol.for('pino.hooks')

interface Pino {
  readonly [hooks]?: { readonly streamWrite?: Rewrite }
}

/**
 * Keeps the values of query parameters out of every line that this logger and its children write, wherever a line quotes a URL: Fastify logs that of each request
 * before any hook could run, and quotes it whole where there is no such route.
 * @returns `false` for a logger that is not pino: nothing is hidden there.
 */
export function hideParameters (log: FastifyBaseLogger, names: ReadonlySet<string>): boolean {
  // the router takes '#' and ';' for the beginning of a query too
  const pair = /([?&#;])([^?&#;=\s"\\]+)=((?:[^&\s"\\]|\\.)+)/g
  return rewriteLines(log, line => line.replace(pair, (whole, before: string, name: string) => names.has(decoded(name)) ? `${before}${name}=${mark}` : whole))
}

/**
 * Keeps what a request sent as credentials out of what is logged of it from now on. What an application's function or a library throws may quote it: in the message, or
 * in fields beside it, such as the arguments of a command to a database.
 */
export function hideSent (request: FastifyRequest, schemes: Iterable<Scheme>): void {
  const pieces = new Set<string>()
  for (const text of sent(request, schemes)) {
    for (let i = 0; i + shortest <= text.length; i++) pieces.add(text.slice(i, i + shortest))
  }
  // a logger that all requests share would hide it for ever
  if (pieces.size === 0 || request.log === request.server.log) return
  // a line is JSON: names stay as they are, and so do numbers
  rewriteLines(request.log, line => line.replace(/"(?:[^"\\]|\\.)*"(:?)/g, (quoted, colon: string) => colon === '' ? JSON.stringify(masked(JSON.parse(quoted) as string, pieces)) : quoted))
}

function rewriteLines (log: FastifyBaseLogger & Pino, rewrite: Rewrite): boolean {
  const before = log[hooks]
  if (before === undefined) return false
  // never the object itself, which loggers share
  Object.assign(log, { [hooks]: { ...before, streamWrite: (line: string) => before.streamWrite?.(rewrite(line)) ?? rewrite(line) } })
  return true
}

function * sent ({ raw: { headers }, query }: FastifyRequest, schemes: Iterable<Scheme>): Generator<string> {
  const [kind = '', ...credential] = (headers.authorization ?? '').split(' ')
  yield credential.join(' ')
  if (kind.toLowerCase() === 'basic') yield Buffer.from(credential.join(' '), 'base64').toString().replace(/^[^:]*:/, '')
  for (const pair of (headers.cookie ?? '').split(';')) yield pair.slice(pair.indexOf('=') + 1).trim()
  for (const place of [...schemes].flatMap(placesOf)) {
    const [where, name = ''] = place.split(':')
    const found = where === 'query' ? (query as Readonly<Record<string, unknown>> | null)?.[name] : where === 'header' ? headers[name.toLowerCase()] : undefined
    for (const text of [found].flat()) if (typeof text === 'string') yield text
  }
}

/** Where a scheme's credentials travel, as far as it says. */
function placesOf ({ places, openapi }: Scheme): readonly string[] {
  return places ?? (openapi.type === 'apiKey' ? [`${openapi.in}:${openapi.name}`] : [])
}

/** The parameters of a URL in which credentials of these schemes travel. */
export function parametersOf (schemes: Iterable<Scheme>): ReadonlySet<string> {
  return new Set([...schemes].flatMap(placesOf).filter(place => place.startsWith('query:')).map(place => place.slice('query:'.length)))
}

function masked (text: string, pieces: ReadonlySet<string>): string {
  let shown = ''
  let end = 0
  for (let i = 0; i + shortest <= text.length; i++) {
    if (!pieces.has(text.slice(i, i + shortest))) continue
    if (i > end || end === 0) shown += text.slice(end, i) + mark
    end = i + shortest
  }
  return shown + text.slice(end)
}

function decoded (name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '))
  } catch {
    return name
  }
}
