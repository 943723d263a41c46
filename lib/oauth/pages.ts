import type { FastifyReply } from 'fastify'
import type { ConsentRequest } from '../../types/oauth.js'
import { escapeHtml, sendPage } from '../util/page.js'

/** Sends the page for a request that cannot be sent back to a client (RFC 6749, 4.1.2.1). */
export function sendErrorPage (reply: FastifyReply, status: number, description: string): FastifyReply {
  const body = `<p>${escapeHtml(description)}.</p><p>Go back to the application that sent you here, and try again.</p>`
  return sendPage(reply.code(status), { title: 'This request cannot be answered', body })
}

/** Sends the plain consent page. */
export function sendConsentPage (reply: FastifyReply, asked: ConsentRequest): FastifyReply {
  const { client, person, redirectUri, scopes, form } = asked
  const { host, protocol } = new URL(redirectUri)
  // whoever has a private-use scheme writes any host behind it
  const target = /^https?:$/.test(protocol) ? host : protocol
  const name = escapeHtml(client.name)
  const fields = Object.entries(form.fields)
    .map(([key, value]) => `<input type="hidden" name="${escapeHtml(key)}" value="${escapeHtml(value)}">`).join('')
  const list = scopes.map(scope => `<li>${escapeHtml(scope.description ?? scope.name)}</li>`).join('')
  const wishes = list === ''
    ? `<p><b>${name}</b> wants to know who you are.</p>`
    : `<p><b>${name}</b> wants to:</p><ul>${list}</ul>`
  const title = `Allow ${client.name}?`
  return sendPage(reply, {
    title,
    hasForm: true,
    body: `<p>You are logged in as <b>${escapeHtml(person.id)}</b>.</p>${wishes}` +
      `<p>You will be sent to <b>${escapeHtml(target)}</b>.</p>` +
      `<form method="post" action="${escapeHtml(form.action)}">${fields}` +
      '<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button></form>'
  })
}
