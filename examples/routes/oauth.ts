import fp from 'fastify-plugin'
import { oauthServer, type ConsentPage } from 'fastify-gatehouse/oauth'
import { clientsFor } from '../clients.js'
import type { Config } from '../config.js'
import { consentPage } from '../views/consent.js'
import { sendPage } from './html.js'

/** The authorization server: people allow applications to use the API or `/mcp` on their behalf. */
export const oauth = fp<{ config: Config }>(async (app, { config }) => {
  const clients = clientsFor(config)
  await app.register(oauthServer, { session: 'web', resources: ['client', 'mcp'], clients, consent: sendConsentPage })
})

/** Sends the page, and is called again with the submitted form. */
const sendConsentPage: ConsentPage = async ({ auth }, reply, consent) => {
  if (consent.submitted !== null) {
    if (consent.submitted['decision'] !== 'allow') return await consent.deny()
    return await consent.approve(consent.scopes.map(({ name }) => name), { remember: true })
  }
  if (auth.scheme !== 'web') return reply.challenge()
  return sendPage(reply, consentPage(consent, auth.principal))
}
