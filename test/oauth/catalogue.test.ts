import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { secretOf } from '../fixtures/tokens.js'
import { authorizePath, basic, challenge, login, post, serverApp, verifier, visit } from './app.js'

/**
 * Runs the attacks of test/attacks/catalogue-open.json on an authorization server. Names such as {code} in their
 * requests stand for values that the server returned before.
 */

interface Request {
  readonly method: string
  readonly path: string
  readonly form?: Readonly<Record<string, string>>
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly bearer?: string
  readonly repeat?: number
}

interface Entry {
  readonly id: string
  readonly title: string
  readonly requests: readonly Request[]
  readonly expect: { readonly status: number | readonly number[] | string }
}

const catalogue = JSON.parse(
  readFileSync(new URL('../attacks/catalogue-open.json', import.meta.url), 'utf8')
) as readonly Entry[]
const entries = catalogue.filter(({ id }) => id.startsWith('O-OAU-'))

/** The statuses of consecutive requests, for entries that describe them in words. */
const sequences: Readonly<Record<string, readonly number[]>> = {
  'O-OAU-004': [200, 400, 400], 'O-OAU-006': [200, 400, 401]
}

type Answer = Awaited<ReturnType<typeof post>>

/** Further checks of the responses, by entry. */
const invariants: Readonly<Record<string, (answers: readonly Answer[]) => boolean>> = {
  'O-OAU-001': ([first]) => first?.body.error === 'invalid_client' && /^Basic/.test(header(first, 'www-authenticate')),
  'O-OAU-002': ([first]) => ['invalid_request', 'invalid_client'].includes(first?.body.error),
  'O-OAU-003': ([first]) => first?.body.error === 'invalid_scope',
  'O-OAU-007': answers => answers.every(({ body }) => ['invalid_grant', 'invalid_request'].includes(body.error)),
  'O-OAU-008': ([first]) => /[?]error=invalid_request&(?!.*code=)/.test(header(first, 'location')),
  'O-OAU-009': ([first]) => header(first, 'location') === '',
  'O-OAU-010': ([first]) => header(first, 'cache-control') === 'no-store',
  'O-OAU-011': ([first]) => first?.body.error === 'invalid_grant',
  'O-OAU-014': ([first]) => first?.body.error === 'invalid_request'
}

function header (answer: Answer | undefined, name: string): string {
  return String(answer?.headers[name] ?? '')
}

const secret = secretOf()
const clientUri = 'https://client.test/cb'
const spaUri = 'https://spa.test/cb'
const code = { redirectUris: [clientUri], scopes: ['orders:read'] } as const

/** Creates an application with the clients of the catalogue. */
async function createTarget (t: Test): Promise<FastifyInstance> {
  const app = await serverApp(t, {
    oauth: {
      clients: {
        web1: { ...code, secrets: [secret] },
        evil1: { ...code, secrets: [secret] },
        svc1: { secrets: [secret], scopes: ['orders:read'], grants: ['client_credentials'] },
        spa1: { redirectUris: [spaUri], scopes: ['orders:read'] }
      },
      consent: false
    }
  })
  app.get('/private', { config: { auth: { schemes: 'api', scopes: 'orders:read' } } }, async () => ({}))
  return app
}

/** Returns the value for a name in the requests. */
async function valueOf (app: FastifyInstance, name: string): Promise<string> {
  if (name === 'cv') return verifier
  const vector = /^code for challenge (\S+)$/.exec(name)?.[1]
  const client = vector === undefined ? ['web1', clientUri] as const : ['spa1', spaUri] as const
  const { cookie } = await login(app)
  const [id, uri] = client
  const request = { client_id: id, redirect_uri: uri, code_challenge: vector ?? challenge }
  const { params } = await visit(app, authorizePath(request), cookie)
  if (name.startsWith('code')) return String(params['code'])
  const fields = { grant_type: 'authorization_code', code: params['code'], code_verifier: verifier }
  return (await post(app, '/oauth/token', fields, basic('web1', secret))).body.refresh_token
}

/** Sends the requests of an entry, with the values for the names in them. */
async function run (app: FastifyInstance, requests: readonly Request[], values = new Map<string, string>()) {
  const fill = async (text: string): Promise<string> => {
    let filled = text.replaceAll('<secret>', secret)
    for (const [whole, name = ''] of text.matchAll(/\{([^{}]+)\}/g)) {
      const value = values.get(name) ?? await valueOf(app, name)
      values.set(name, value)
      filled = filled.replaceAll(whole, value)
    }
    const base64 = (_: string, pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
    return filled.replace(/^Basic base64\((.*)\)$/, base64)
  }
  const answers: Answer[] = []
  for (const { method, path, form, body, headers = {}, bearer, repeat = 1 } of requests) {
    const sent: Record<string, string> = {}
    for (const [name, value] of Object.entries(headers)) sent[name] = await fill(value)
    if (bearer !== undefined) sent['authorization'] = `Bearer ${await fill(bearer)}`
    const { save, ...fields } = form ?? {}
    const filled: Array<[string, string]> = []
    for (const [name, value] of Object.entries(fields)) filled.push([name, await fill(value)])
    const text = body === undefined ? String(new URLSearchParams(filled)) : await fill(body)
    const send = async (): Promise<Answer> => {
      if (method === 'POST') return await post(app, path, text, sent)
      const { statusCode: status, headers, body } = await app.inject({ url: path, headers: sent })
      return { status, headers, body }
    }
    const all = await Promise.all(Array.from({ length: repeat }, send))
    const [first] = all
    const { access_token: access, refresh_token: refresh } = first?.body ?? {}
    if (save !== undefined) values.set(save, save.startsWith('rt') ? refresh : access)
    answers.push(...all)
  }
  return answers
}

t.test('the catalogue has attacks on authorization servers', async t => {
  t.ok(entries.length >= 14)
})

for (const { id, title, requests, expect: { status } } of entries) {
  t.test(`${id} ${title}`, async t => {
    const app = await createTarget(t)
    if (id === 'O-OAU-012') return await disabledClient(t, app)
    const answers = await run(app, requests)
    const statuses = answers.map(answer => answer.status)
    if (id === 'O-OAU-005') {
      t.equal(statuses.filter(each => each === 200).length, 1)
      t.equal(statuses.filter(each => each === 400).length, 49)
    } else if (typeof status === 'string') t.same(statuses, sequences[id])
    else for (const each of statuses) t.ok([status].flat().includes(each), String(each))
    t.ok(invariants[id]?.(answers) ?? true, 'the responses are as expected')
  })
}

/** O-OAU-012: checks that disabling a client ends its tokens. */
async function disabledClient (t: Test, app: FastifyInstance): Promise<void> {
  const clients = app.gatehouse.oauth.clients.of({ realm: 'web', id: 'ann' })
  const { client, secret: own } = await clients.create({
    name: 'svc1', scopes: ['orders:read'], grants: ['client_credentials']
  })
  const ask = async () => await post(
    app, '/oauth/token', { grant_type: 'client_credentials' }, basic(client.id, String(own))
  )
  const { body } = await ask()
  const visitPrivate = async () => (await app.inject({
    url: '/private', headers: { authorization: `Bearer ${String(body.access_token)}` }
  })).statusCode
  t.equal(await visitPrivate(), 200)
  await clients.remove(client.id)
  t.same([await visitPrivate(), (await ask()).status], [401, 401])
}

t.test('O-CTL-005 code and PKCE, a chain of ten refreshes, and client credentials', async t => {
  const app = await createTarget(t)
  let token = await valueOf(app, 'rt1')
  for (let i = 0; i < 10; i++) {
    const { status, body } = await post(
      app, '/oauth/token', { grant_type: 'refresh_token', refresh_token: token }, basic('web1', secret)
    )
    t.equal(status, 200)
    token = body.refresh_token
  }
  t.equal((await post(app, '/oauth/token', { grant_type: 'client_credentials' }, basic('svc1', secret))).status, 200)
})
