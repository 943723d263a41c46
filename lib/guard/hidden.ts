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
  return rewriteLines(log, line => withoutValues(line, names))
}

/** The name alone: what begins within the value of a parameter that may be read is looked at too, as '#' and ';' begin a query in one application and none in another. */
const parameter = /[?&#;]([^?&#;=\s"\\]+)=/g
const value = /(?=[^&\s"])[^&\s"\\]*(?:\\.[^&\s"\\]*)*/y

function withoutValues (line: string, names: ReadonlySet<string>): string {
  let shown = ''
  let end = 0
  for (const { 0: whole, 1: name = '', index } of line.matchAll(parameter)) {
    value.lastIndex = index + whole.length
    if (index < end || !names.has(decoded(name)) || !value.test(line)) continue
    shown += line.slice(end, index + whole.length) + mark
    end = value.lastIndex
  }
  return shown + line.slice(end)
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
  rewriteLines(request.log, line => line.replace(/"[^"\\]*(?:\\.[^"\\]*)*"(:?)/g, (quoted, colon: string) => colon === '' ? JSON.stringify(masked(JSON.parse(quoted) as string, pieces)) : quoted))
}

function rewriteLines (log: FastifyBaseLogger & Pino, rewrite: Rewrite): boolean {
  const before = log[hooks]
  if (before === undefined) return false
  const streamWrite: Rewrite = line => {
    const shown = rewritten(line, rewrite)
    return before.streamWrite?.(shown) ?? shown
  }
  // never the object itself, which loggers share
  Object.assign(log, { [hooks]: { ...before, streamWrite } })
  return true
}

/** A line that cannot be read (not JSON, or with a text of many megabytes) is left out: what throws in a logger ends the process, and the line may hold the secret. */
function rewritten (line: string, rewrite: Rewrite): string {
  try {
    return rewrite(line)
  } catch {
    return `${JSON.stringify({ level: 40, time: Date.now(), msg: 'fastify-gatehouse: a line is left out, as what it must not show could not be taken out of it' })}\n`
  }
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
