import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import gatehouse, { session, type GatehouseOptions, type SessionOptions } from '../../lib/index.js'
import { oidcLogin, type OidcLoginOptions, type OpenIdLoginOptions } from '../../lib/oidc/index.js'
import { secretOf } from '../fixtures/tokens.js'
import { clientId, clientSecret } from './provider.js'

export const origin = 'https://app.example.com'
export const sessionSecret = secretOf()

/** Options of a login, any of which may have a wrong type. */
export type Options = { readonly [K in keyof OpenIdLoginOptions]?: unknown } | Partial<OidcLoginOptions>

interface AppOptions {
  readonly session?: Partial<SessionOptions>
  readonly plugin?: Partial<GatehouseOptions>
  readonly fastify?: FastifyServerOptions
  readonly before?: (app: FastifyInstance) => Promise<unknown>
}

/** Returns the options of a login at the provider with this issuer. */
export function optionsFor (issuer: string, options: Options = {}): OidcLoginOptions {
  return {
    redirectUri: `${origin}/login/idp/callback`,
    issuer,
    clientId,
    clientSecret,
    session: 'web',
    person: ({ claims }: { claims: { sub: string } }) => ({ id: claims.sub }),
    ...options
  } as OidcLoginOptions
}

/** Creates an application whose people log in at these providers. */
export async function loginApp (
  t: Test, logins: readonly OidcLoginOptions[], options: AppOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify(options.fastify)
  t.teardown(() => app.close())
  await options.before?.(app)
  await app.register(gatehouse, {
    schemes: { web: session({ secret: sessionSecret, loginPath: '/login/idp', ...options.session }) },
    default: 'web',
    requireReason: true,
    ...options.plugin
  } as GatehouseOptions)
  for (const login of logins) await app.register(oidcLogin, login)
  const open = { config: { auth: { public: 'for tests' } } }
  app.get('/', open, async () => 'home')
  app.get('/me', async ({ auth }) => ({
    id: auth.principal?.id, realm: auth.principal?.realm, authenticatedAt: auth.authenticatedAt
  }))
  app.post('/password', open, async (_request, reply) => {
    await reply.login({ id: 'ann' })
    return 'home'
  })
  app.post('/renew', async (_request, reply) => {
    await reply.login({ id: 'ann' }, { renew: true })
    return 'home'
  })
  app.get('/danger', { config: { auth: { maxAge: '5m' } } }, async () => 'done')
  return app
}

interface Sent {
  readonly method?: 'GET' | 'POST'
  readonly form?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
}

export interface Page {
  readonly url: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: string
  readonly location: string | null
}

/**
 * A browser that keeps cookies, and follows redirects between applications in this process and providers on sockets.
 */
export class Browser {
  readonly #apps: Readonly<Record<string, FastifyInstance>>
  readonly #cookies = new Map<string, Map<string, string>>()
  #at: string | null = null

  constructor (app: FastifyInstance, apps: Readonly<Record<string, FastifyInstance>> = {}) {
    this.#apps = { [origin]: app, ...apps }
  }

  /** Sends one request, and follows no redirect. */
  async send (target: string, { method = 'GET', form, headers = {} }: Sent = {}): Promise<Page> {
    const url = new URL(target, origin)
    const site = this.#at === null ? 'none' : this.#at === url.origin ? 'same-origin' : 'cross-site'
    const sent = {
      accept: 'text/html',
      'sec-fetch-site': site,
      'sec-fetch-mode': 'navigate',
      ...form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' },
      cookie: this.cookies(url.origin),
      ...headers
    }
    const payload = form === undefined ? undefined : new URLSearchParams(form).toString()
    const app = this.#apps[url.origin]
    const answer = app === undefined
      ? await fetchPage(url, { method, headers: sent, body: payload ?? null })
      : await injectPage(app, url, { method, headers: sent, payload })
    this.#keep(url.origin, answer.setCookies)
    return { url: url.href, ...answer }
  }

  /** Visits a page, and follows its redirects and refreshes. */
  async visit (target: string, sent: Sent = {}): Promise<Page> {
    let page = await this.send(target, sent)
    for (let hop = 0; hop < 20; hop++) {
      const onward = page.location ?? refreshOf(page.body)
      if (onward === null) break
      const { origin: here } = new URL(page.url)
      const next = new URL(onward, page.url)
      // a redirect chain that has crossed another site remains cross-site; a page starts a new chain
      if (page.location === null || here !== next.origin) this.#at = here
      page = await this.send(next.href)
    }
    this.#at = null
    return page
  }

  /** Returns the `Cookie` header for an origin. */
  cookies (of = origin): string {
    return [...this.#cookies.get(of) ?? []].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  /** Returns the names of the cookies of the application. */
  names (): readonly string[] {
    return [...this.#cookies.get(origin)?.keys() ?? []]
  }

  /** Copies the cookies of the application from another browser. */
  take (other: Browser): void {
    this.#keep(origin, other.cookies().split('; ').map(pair => `${pair}; Path=/; Secure`))
  }

  #keep (of: string, setCookies: readonly string[]): void {
    const jar = this.#cookies.get(of) ?? new Map<string, string>()
    this.#cookies.set(of, jar)
    for (const line of setCookies) {
      const [pair = '', ...attributes] = line.split(/;\s*/)
      const [name = '', value = ''] = pair.split(/=(.*)/s)
      const lower = attributes.map(each => each.toLowerCase())
      const isHost = lower.includes('secure') && lower.includes('path=/') && !lower.some(each => /^domain/.test(each))
      if (name.startsWith('__Host-') && !isHost) continue
      const isOver = lower.includes('max-age=0') || lower.some(each => /^expires=thu, 01 jan 1970/.test(each))
      if (isOver || pair.length > 4096) jar.delete(name)
      else jar.set(name, value)
    }
  }
}

async function injectPage (app: FastifyInstance, url: URL, request: object) {
  const { statusCode: status, headers, body } = await app.inject({ url: `${url.pathname}${url.search}`, ...request })
  const location = headers.location === undefined ? null : String(headers.location)
  return { status, headers, body, location, setCookies: [headers['set-cookie'] ?? []].flat() }
}

async function fetchPage (url: URL, request: RequestInit) {
  const answer = await fetch(url, { ...request, redirect: 'manual' })
  const location = answer.headers.get('location')
  const setCookies = answer.headers.getSetCookie()
  return { status: answer.status, headers: {}, body: await answer.text(), location, setCookies }
}

/** Returns the URL of a refresh in a page; `null` if there is none. */
function refreshOf (body: string): string | null {
  const [, url] = /http-equiv="refresh" content="0;url=([^"]*)"/.exec(body) ?? []
  return url === undefined ? null : url.replaceAll('&#38;', '&')
}
