import type { ConsentRequest } from 'fastify-gatehouse/oauth'
import { html, type Html } from './html.js'
import { page, type Visitor } from './layout.js'

/** Returns the page that asks a person what an application may do. The name of the application is its own choice. */
export function consentPage ({ client, scopes, redirectUri, form }: ConsentRequest, visitor: Visitor): string {
  return page(`Allow ${client.name}?`, visitor, html`
    <section class="card narrow">
      <h1>Allow ${client.name}?</h1>
      <p>${visitor.name}, this application asks to do this on your behalf:</p>
      <ul class="scopes">${scopes.map(({ name, description }) => html`<li>${description ?? name}</li>`)}</ul>
      ${client.isPublic ? unverified(client.name) : null}
      <p class="hint">You return to <code>${new URL(redirectUri).host}</code>.
        You can disconnect it at any time under <a href="/apps">Apps</a>.</p>
      <form method="post" action="${form.action}" class="choice">
        ${Object.entries(form.fields).map(hiddenField)}
        <button name="decision" value="allow">Allow</button>
        <button class="quiet" name="decision" value="deny">Deny</button>
      </form>
    </section>
  `)
}

function hiddenField ([name, value]: readonly [string, string]): Html {
  return html`<input type="hidden" name="${name}" value="${value}">`
}

function unverified (name: string): Html {
  return html`<p class="notice open">Any program on this computer can claim to be ${name}.
        Allow it only if you have just started it yourself.</p>`
}
