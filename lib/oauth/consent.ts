import { hash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ScopeName } from '../../types/names.js'
import type { ConsentRequest, OwnerConsents } from '../../types/oauth.js'
import type { StoreOwner } from '../../types/store.js'
import { callFunction, internalError } from '../errors.js'
import { publish } from '../events/events.js'
import { changeRecord, recordParser } from '../stores/records.js'
import { escapeHtml, prepareForm, sendPage } from '../util/endpoints.js'
import { deepFreeze } from '../util/objects.js'
import { atRunTime, listOf, object, oneOf, optional, string } from '../util/options.js'
import { expectSend, watchSend } from '../util/response.js'
import {
  answerRequest, checkRequest, type PersonalRequest, refuseConsent, sendCode, sendRefusal, stampedAt,
  stampOf, withPerson
} from './authorize-request.js'
import { oauthError } from './errors.js'
import { formOf, noScopeLeft, type Parameters } from './parameters.js'
import type { Server } from './server.js'

/** The kind of the store's records of remembered consents. */
const kind = 'oauth-consent'

/** The time for which a consent is remembered: a year. */
const rememberedMs = 365 * 86_400_000

const parseConsent = recordParser({ client: string, scopes: listOf(string), issuer: string, givenAt: string })

/**
 * Returns true if the person does not have to be asked. A public client with a redirect URI that other programs can
 * receive is always asked for, because nothing proves that the program is the client (RFC 8252, 8.6).
 */
export async function isAllowed (server: Server, request: PersonalRequest): Promise<boolean> {
  const { client, person, scopes, isUnverified } = request
  if (isUnverified) return false
  const rule = client.consent ?? server.consent
  if (rule === false) return true
  if (rule === 'ask' && server.consentPage === null) return false
  const record = await server.store.get(kind, idOf(server, person, client.id))
  const remembered = record === null ? null : parseConsent(record)
  return remembered !== null && scopes.every(scope => remembered.scopes.includes(scope))
}

interface Question {
  readonly request: PersonalRequest
  /** The fields of the submitted form, or `null`. */
  readonly submitted: Readonly<Record<string, string>> | null
}

/** Sends the consent page of the application, or a plain one. */
export async function askForConsent (
  server: Server, reply: FastifyReply, { request, submitted }: Question
): Promise<FastifyReply> {
  const answers: Array<Promise<FastifyReply>> = []
  const consentRequest = createConsentRequest(server, reply, { request, submitted, answers })
  const { consentPage: page } = server
  if (page === null) return sendConsentPage(reply, consentRequest)
  const name = 'the function of the option oauthServer.consent'
  const watch = watchSend(reply)
  const cancel = expectSend(reply, watch, () => {
    sendRefusal(server, { reply, destination: request, error: internalError(`${name} sent no page for 10 s`) })
  })
  let sent: unknown
  try {
    sent = await callFunction(name, () => page(reply.request, prepareForm(reply), consentRequest))
    // a page may call approve() without awaiting it: its errors are handled here
    if (sent === undefined && !watch.isSent()) await Promise.all(answers)
  } catch (error) {
    cancel()
    throw error
  }
  if (sent === undefined) return reply
  cancel()
  return reply.send(sent)
}

interface ConsentParts extends Question {
  /** Receives the responses that the calls of the page have sent. */
  readonly answers: Array<Promise<FastifyReply>>
}

function createConsentRequest (
  server: Server, reply: FastifyReply, { request, submitted, answers }: ConsentParts
): ConsentRequest {
  const { client, redirectUri, person, service, scopes, text } = request
  const offer = scopes.join(' ')
  return Object.freeze({
    client: Object.freeze({ id: client.id, name: client.name, isPublic: !client.isConfidential }),
    redirectUri,
    person,
    resource: service.resource,
    scopes: deepFreeze(scopes.map(name => {
      return { name: name as ScopeName, description: server.scopeDescriptions[name] || null }
    })),
    form: deepFreeze({
      action: `${server.prefix}/consent`,
      fields: { request: text, offer, stamp: stampOf(server, 'consent', stampedText({ ...request, offer })) }
    }),
    submitted,
    approve: (allowed: readonly string[], options: unknown = {}) => startAnswer(answers, async () => {
      const { remember } = atRunTime(() => parseApproval(options, 'The options of consent.approve()'))
      return await approve(server, reply, { allowed: { ...request, scopes: checkAllowed(allowed, scopes) }, remember })
    }),
    deny: () => startAnswer(answers, async () => refuseConsent(server, reply, request))
  })
}

const parseApproval = object({ remember: optional(oneOf<boolean>(true, false), false) })

/** Begins an answer. If the page does not wait for it, an error must not end the process. */
function startAnswer (
  answers: Array<Promise<FastifyReply>>, begin: () => Promise<FastifyReply>
): Promise<FastifyReply> {
  const answer = begin()
  answer.catch(() => {})
  answers.push(answer)
  return answer
}

/** Sends the plain consent page. */
function sendConsentPage (
  reply: FastifyReply, { client, person, redirectUri, scopes, form }: ConsentRequest
): FastifyReply {
  const { host, protocol } = new URL(redirectUri)
  // An application with a private-use scheme can write any host after it.
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

interface Form {
  /** The query of the request. */
  readonly text: string
  /** The scopes that the page showed, separated by spaces. */
  readonly offer: string
}

/** The form belongs to one session, one request, and the scopes that the page showed. */
function stampedText ({ sessionId, text, offer }: Form & { readonly sessionId: string }): string {
  return JSON.stringify([sessionId, text, offer])
}

function checkAllowed (allowed: readonly string[], requested: readonly string[]): readonly string[] {
  if (Array.isArray(allowed) && (allowed.length > 0 || requested.length === 0) &&
    allowed.every(scope => requested.includes(scope))) return [...new Set(allowed)]
  throw internalError('consent.approve() needs one or more of the requested scopes. To refuse, call consent.deny()')
}

/** Answers the submitted form of a consent page. */
export async function consent (server: Server, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const form = formOf(request)
  const { text, offer } = openForm(server, request, form)
  return await answerRequest(server, { reply, text }, async (destination, query) => {
    const checked = checkRequest(server, destination, query)
    // The client or the person may have got further scopes since the page was shown.
    const scopes = checked.scopes.filter(scope => offer.split(' ').includes(scope))
    if (scopes.length === 0 && checked.scopes.length > 0) throw noScopeLeft()
    const personal = withPerson(server, request, { ...checked, scopes, text })
    if (server.consentPage !== null) {
      return await askForConsent(server, reply, { request: personal, submitted: form.fields() })
    }
    if (form.get('decision') !== 'allow') return refuseConsent(server, reply, personal)
    const remember = (personal.client.consent ?? server.consent) === 'remember'
    return await approve(server, reply, { allowed: personal, remember })
  })
}

/** Returns a form that was sent to this session. @throws {OAuthError} */
function openForm (server: Server, { auth }: FastifyRequest, form: Parameters): Form {
  const [text, offer] = [form.get('request') ?? '', form.get('offer') ?? '']
  const stamp = form.get('stamp') ?? ''
  const { id: sessionId } = auth.credential as { readonly id: string }
  const isOwn = stampedAt(server, 'consent', { text: stampedText({ sessionId, text, offer }), stamp }) !== null
  if (isOwn) return { text, offer }
  throw oauthError('invalid_request', 'The form is not of this session, or is too old')
}

interface Approval {
  readonly allowed: PersonalRequest
  readonly remember: boolean
}

async function approve (
  server: Server, reply: FastifyReply, { allowed, remember }: Approval
): Promise<FastifyReply> {
  const { person: { realm, id }, client, scopes, isUnverified } = allowed
  const remembered = remember && !isUnverified
  if (remembered) await rememberConsent(server, allowed)
  publish('consent-given', { realm, id, client: client.id, scopes, remembered })
  return await sendCode(server, reply, allowed)
}

/** Adds the scopes to the remembered ones. */
async function rememberConsent (server: Server, { person, client, scopes }: PersonalRequest): Promise<void> {
  const { store, issuer } = server
  const [id, owner] = [idOf(server, person, client.id), { realm: person.realm, id: person.id }]
  await changeRecord('a consent', async () => {
    const known = await store.get(kind, id)
    const all = [...new Set([...known === null ? [] : parseConsent(known).scopes, ...scopes])]
    const value = { client: client.id, scopes: all, issuer, givenAt: new Date(Date.now()).toISOString() }
    const expiresAt = new Date(Date.now() + rememberedMs)
    const isWritten = known === null
      ? await store.add({ kind, id, owner, value, expiresAt })
      : await store.swap({ ...known, value, expiresAt })
    return isWritten || undefined
  })
}

/** Returns the remembered consents of a person: `app.gatehouse.oauth.consents.of`. */
export function consentsOf (server: Server, owner: StoreOwner): OwnerConsents {
  const { store, issuer } = server
  return Object.freeze({
    list: async () => (await store.find(kind, owner)).map(parseConsent)
      .filter(each => each.issuer === issuer)
      .map(({ client, scopes, givenAt }) => deepFreeze({ client, scopes, givenAt }))
      .sort((a, b) => b.givenAt.localeCompare(a.givenAt)),
    remove: async (client: string) =>
      typeof client === 'string' && await store.take(kind, idOf(server, owner, client)) !== null
  })
}

function idOf ({ issuer }: Server, { realm, id }: StoreOwner, client: string): string {
  return hash('sha256', JSON.stringify([issuer, realm, id, client]), 'base64url')
}
