import { hash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

const style = `
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 28rem; margin: 3rem auto; padding: 0 1rem }
main { overflow-wrap: anywhere }
h1 { font-size: 1.4rem }
ul { padding-left: 1.2rem }
form { display: flex; gap: .75rem; margin-top: 1.5rem }
button { font: inherit; padding: .5rem 1.25rem; border: 1px solid; border-radius: .4rem; cursor: pointer }
button[value=allow] { background: #1a56c4; border-color: #1a56c4; color: #fff }
`

const styleHash = hash('sha256', style, 'base64')

/** The policy of pages without scripts. The style is allowed by its hash. */
const policy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; frame-ancestors 'none'`

/** Escapes a text for HTML, in content and in quoted attributes. */
export function escapeHtml (text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}

/** A page without scripts. */
export interface Page {
  readonly title: string
  /** HTML, whose values are escaped. */
  readonly body: string
  /** Further elements of the head. */
  readonly head?: string
  /** `true` for a page with a form. */
  readonly hasForm?: boolean
}

/** Sends a page that is neither cached, nor framed, nor named to the sites that it links to. */
export function sendPage (reply: FastifyReply, { title, body, head = '', hasForm = false }: Page): FastifyReply {
  return (hasForm ? prepareForm(reply) : forbidReuse(reply))
    .header('content-security-policy', `${policy}; form-action ${hasForm ? "'self'" : "'none'"}`)
    .header('x-content-type-options', 'nosniff')
    .type('text/html; charset=utf-8')
    .send(`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${escapeHtml(title)}</title>` +
      `<meta name="viewport" content="width=device-width, initial-scale=1">${head}<style>${style}</style></head>` +
      `<body><main><h1>${escapeHtml(title)}</h1>${body}</main></body></html>`)
}

/** Keeps a response whose URL or body has a code out of caches, and its URL out of the header `Referer`. */
export function forbidReuse (reply: FastifyReply): FastifyReply {
  return reply.header('cache-control', 'no-store').header('referrer-policy', 'no-referrer')
}

/**
 * Sets the headers of a page with a form, which no other site may frame. Without any Referer, browsers would send
 * `Origin: null` with the form, which a cross-site request has too.
 */
export function prepareForm (reply: FastifyReply): FastifyReply {
  return reply.header('cache-control', 'no-store').header('referrer-policy', 'same-origin')
    .header('x-frame-options', 'DENY')
}

/**
 * Sends a browser to another place with a page. After a form, browsers apply the `form-action` of the page with the
 * form to redirects too, so that a redirect would be blocked and what its URL carries be lost.
 */
export function sendOnwardPage (reply: FastifyReply, url: string): FastifyReply {
  const target = escapeHtml(url)
  const head = `<meta http-equiv="refresh" content="0;url=${target}">`
  const body = `<p><a href="${target}">Continue</a></p>`
  return sendPage(reply, { title: 'Continue', head, body })
}

/**
 * Sends a document of a protocol as JSON. It is sent as text, so that `preSerialization` hooks and serializers of the
 * application, which may wrap all responses in an envelope, do not change the form that clients expect.
 */
export function sendJson (reply: FastifyReply, document: object): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(JSON.stringify(document))
}

/**
 * Lets scripts of every origin call a route, without cookies, as an `onSend` hook. Where `@fastify/cors` has answered
 * already, its origin and credentials are replaced.
 */
export async function allowEveryOrigin (request: FastifyRequest, reply: FastifyReply): Promise<void> {
  reply.removeHeader('access-control-allow-credentials')
  reply.header('access-control-allow-origin', '*')
  if (request.method === 'OPTIONS') answerPreflight(request, reply)
  else reply.header('access-control-expose-headers', 'WWW-Authenticate, Retry-After')
}

function answerPreflight ({ headers }: FastifyRequest, reply: FastifyReply): void {
  const names = headers['access-control-request-headers']
  reply.header('access-control-allow-methods', 'GET, POST')
  reply.header('access-control-max-age', '86400')
  reply.header('vary', 'Access-Control-Request-Headers')
  if (typeof names === 'string' && names !== '') reply.header('access-control-allow-headers', names)
}

/** Declares the answer to the preflight of a route that {@link allowEveryOrigin} opens. */
export function declarePreflight (context: FastifyInstance, url: string): void {
  const options = {
    config: { auth: { public: 'answers CORS preflights, which have no credentials' } },
    schema: { hide: true } as object,
    onSend: allowEveryOrigin
  }
  context.options(url, options, async (_request, reply) => reply.code(204).send())
}
