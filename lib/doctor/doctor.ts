import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { AuditConditions, AuditPolicy, AuditRequirements, AuditRow } from '../../types/audit.js'
import type { DoctorOptions, Finding, FindingId } from '../../types/doctor.js'
import type { Store } from '../../types/store.js'
import type { TokenService } from '../../types/tokens.js'
import { auditRows, reasonlessPaths, reasonlessRoutes } from '../audit/rows.js'
import { misconfigured } from '../errors.js'
import { isTestKitLoaded } from '../guard/test-seam.js'
import { sourcesOf } from '../kit/sources.js'
import type { BoundScheme, Policy } from '../policy/policy.js'
import type { PublicPath } from '../policy/public-paths.js'
import type { Permissions } from '../policy/requirements.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { policyData } from '../policy/words.js'
import type { Stage } from '../routes/hooks.js'
import { takeSharedSecrets } from '../secrets/secret-uses.js'
import { describeValue } from '../util/describe.js'
import { trustProxyOf } from '../util/fastify.js'
import { deepFreeze } from '../util/objects.js'
import { object, optional, readOptions, type Parser } from '../util/options.js'
import { backingOf, type InfoClient, reportsOf } from '../util/reports.js'
import { descriptions, findingIds, sentenceOf } from './findings.js'

/** The reasons of ignored findings. */
export type Ignored = ReadonlyMap<FindingId, string>

const parse = object({
  ignore: optional(parseIgnored, new Map() as Ignored)
} satisfies Record<keyof DoctorOptions, Parser<unknown>>)

/** Parses the option `doctor`. @throws {AuthError} `AUTH_MISCONFIGURED` for an unknown id, or one without a reason. */
export function parseDoctor (value: unknown = {}): Ignored {
  return parse(value, 'The option doctor').ignore
}

function parseIgnored (value: unknown, option: string): Ignored {
  const reasons = Object.entries(readOptions(value, findingIds, option))
  return new Map(reasons.map(([id, reason]) => {
    if (typeof reason === 'string' && reason.trim() !== '') return [id as FindingId, reason]
    throw misconfigured(`${option}['${id}'] must be the reason why this is accepted. Got ${describeValue(reason)}.`)
  }))
}

/** The places where an application has a weakness. */
type Found = readonly [id: FindingId, where: readonly string[]]

/** The parts of an application that the doctor examines. */
interface Subject {
  readonly app: FastifyInstance
  readonly schemes: ReadonlyMap<string, BoundScheme>
  readonly permissions: Permissions
  readonly publicPaths: readonly PublicPath[]
  /** `null` if none is configured. */
  readonly store: Store | null
  /** The client of the option `limits.redis`. */
  readonly redis: object | null
  /** The policies of `app.gatehouse.guard()`. */
  readonly guards: ReadonlySet<Policy>
  /** The routes so far. */
  readonly routes: readonly RoutePolicy[]
  /** The stage in which the guard runs, for the audit. */
  readonly stage: Stage
  /** Returns the issuer of the authorization server; `null` if there is none. */
  oauthIssuer (): string | null
}

/** Finds the weaknesses in the set-up of one application. */
export class Doctor {
  readonly #subject: Subject
  readonly #ignored: Ignored
  /** The secrets with two purposes, which are compared once the application is ready. */
  #sharedSecrets: readonly string[] = []
  /** The routes of {@link Doctor.noteLogin}. */
  readonly #unlimitedLogins: string[] = []
  #isBootAllowed = false

  constructor (subject: Subject, ignored: Ignored) {
    this.#subject = subject
    this.#ignored = ignored
  }

  /**
   * Returns the findings so far, frozen. They are complete once the application is ready, except for those about
   * logins.
   */
  findings (): readonly Finding[] {
    const reports = reportsOf(this.#subject.app).map(({ id, where }): Found => [id, [where]])
    return this.#describe([
      ...examine(this.#subject),
      ...reports,
      ['shared-secret', this.#sharedSecrets],
      ['unlimited-login', this.#unlimitedLogins]
    ])
  }

  /** Returns {@link Doctor.findings}, with those that need requests to the application and to Redis. */
  async examine (): Promise<readonly Finding[]> {
    const { app, store, redis, routes, stage } = this.#subject
    const cors = await corsFindings(app, auditRows(routes, stage))
    const evicting = await redisFindings(store, redis)
    return [...this.findings(), ...this.#describe([['cors-credentials', cors], ['redis-eviction', evicting]])]
  }

  /** Lets the application boot even if a finding is refused in production, because the command shows all findings. */
  allowBoot (): void {
    this.#isBootAllowed = true
  }

  /**
   * Logs the findings of a boot.
   * @throws {AuthError} `AUTH_MISCONFIGURED` in production, for all that are refused.
   */
  checkBoot (): void {
    const { app } = this.#subject
    this.#sharedSecrets = takeSharedSecrets(app)
    if (this.#isBootAllowed) return
    const isProduction = process.env.NODE_ENV === 'production'
    const found = this.findings().filter(({ id }) => {
      const { at } = descriptions[id]
      return at === 'boot' || (at === 'production' && isProduction)
    })
    for (const finding of found.filter(each => each.ignored !== null)) {
      const { id, where, ignored } = finding
      app.log.info({ doctor: id, where, ignored }, `fastify-gatehouse: ${finding.what}, which is accepted: ${ignored}`)
    }
    const open = found.filter(({ ignored }) => ignored === null)
    const refused = open.filter(({ severity }) => isProduction && severity === 'refused')
    for (const finding of open.filter(each => !refused.includes(each))) {
      app.log.warn({ doctor: finding.id, where: finding.where }, `fastify-gatehouse: ${sentenceOf(finding)}`)
    }
    if (refused.length === 0) return
    throw misconfigured(
      'This is refused with NODE_ENV=production. Fix it, or state in doctor.ignore by the id why it is accepted:',
      refused.map(finding => `${finding.id}: ${sentenceOf(finding)}`)
    )
  }

  /**
   * Notes a route, such as `POST /login`, with a login whose password was not verified within `guesses.attempt`, and
   * warns about it. Call it once for each route.
   */
  noteLogin (where: string, log: FastifyBaseLogger): void {
    this.#unlimitedLogins.push(where)
    const [finding] = this.#describe([['unlimited-login', [where]]])
    if (finding?.ignored !== null) return
    log.warn({ doctor: finding.id, where: finding.where }, `fastify-gatehouse: ${sentenceOf(finding)}`)
  }

  /** Returns one finding for each id that was found, in the order of the documentation. */
  #describe (found: readonly Found[]): readonly Finding[] {
    return deepFreeze(findingIds.flatMap(id => {
      const where = found.filter(each => each[0] === id).flatMap(each => each[1])
      if (where.length === 0) return []
      const { severity, what, why, fix } = descriptions[id]
      return [{ id, severity, what, where, why, fix, ignored: this.#ignored.get(id) ?? null }]
    }))
  }
}

/** Examines the options and the routes of an application. */
function examine (subject: Subject): readonly Found[] {
  const { routes, guards, stage } = subject
  const policies = [...new Set([...routes.map(({ policy }) => policy), ...guards])].map(policyData)
  const publicRows = auditRows(routes.filter(({ policy }) => policy.access === 'public'), stage)
  const trusted = trustProxyOf(subject.app)
  return [
    ['test-kit', isTestKitLoaded() ? ['fastify-gatehouse/testing'] : []],
    ['memory-store', statesInMemory(subject)],
    ['trust-proxy-all', trusted === true ? ['trustProxy: true'] : []],
    ['trust-proxy-count', typeof trusted === 'number' && trusted !== 0 ? [`trustProxy: ${trusted}`] : []],
    ['query-credentials', schemesWithQuery(subject)],
    ['public-without-reason', [...reasonlessPaths(subject.publicPaths), ...reasonlessRoutes(publicRows)]],
    ['unused-scheme', unusedSchemes(subject, policies)],
    ['unused-scope', unusedScopes(subject, policies)],
    ['issuer-origin', otherOrigins(subject)]
  ]
}

/** Returns what an application keeps in the memory of its process. */
function statesInMemory ({ store, schemes, oauthIssuer }: Subject): readonly string[] {
  if (store !== null && backingOf(store)?.kind !== 'memory') return []
  const users = [...schemes.values()].flatMap(({ name, features: { sessions, apiKeys, tokens } }) => [
    ...sessions === undefined ? [] : [`sessions of schemes.${name}`],
    ...apiKeys === undefined ? [] : [`keys of schemes.${name}`],
    ...tokens?.grant === undefined ? [] : [`grants of schemes.${name}`]
  ])
  return oauthIssuer() === null ? users : [...users, 'codes and clients of oauthServer']
}

function schemesWithQuery ({ schemes }: Subject): readonly string[] {
  return [...schemes.values()].flatMap(({ name, scheme }) =>
    sourcesOf(scheme).filter(source => source.startsWith('query:')).map(source => `schemes.${name}: ${source}`))
}

/**
 * Returns the schemes that neither a route nor a guard accepts. Schemes that sign tokens are left out: another
 * application may accept these.
 */
function unusedSchemes ({ schemes }: Subject, policies: readonly AuditPolicy[]): readonly string[] {
  const used = new Set(policies.flatMap(({ alternatives }) => alternatives.flat()))
  return [...schemes.values()].filter(({ name, features }) => !used.has(name) && features.tokens === undefined)
    .map(({ name }) => `schemes.${name}`)
}

/** Returns the declared scopes that no rule names; none if a function names scopes. */
function unusedScopes ({ permissions }: Subject, policies: readonly AuditPolicy[]): readonly string[] {
  const conditions: readonly AuditConditions[] = policies.flatMap(({ rules }) =>
    rules.flatMap(rule => [rule, ...rule.anyOf ?? []]))
  const scopes = conditions.flatMap(condition => condition.scopes ?? [])
  const named = scopes.filter((each): each is AuditRequirements => !('function' in each))
  if (named.length < scopes.length) return []
  const used = new Set(named.flatMap(each => [...each.all, ...each.any, ...each.none]))
  return [...permissions.scopes ?? []].filter(scope => !used.has(scope))
}

/**
 * Returns the audiences of an authorization server's tokens that have another origin than its issuer. An application
 * does not know by which origin it is reached, but the audience of the tokens that it accepts is its own name.
 */
function otherOrigins ({ schemes, oauthIssuer }: Subject): readonly string[] {
  const issuer = oauthIssuer()
  const services: readonly TokenService[] = [...schemes.values()].flatMap(({ features }) =>
    features.tokens?.service?.issuer === issuer ? features.tokens.service : [])
  const found = services.filter(({ audiences }) => {
    const origins = audiences.filter(isWebUrl).map(audience => new URL(audience).origin)
    return origins.length > 0 && !origins.includes(new URL(String(issuer)).origin)
  })
  return found.map(({ scheme, resource }) => `schemes.${scheme}: issuer ${issuer}, audience ${resource}`)
}

function isWebUrl (text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text)
}

/** An origin that no application allows on purpose (RFC 2606). */
const strangeOrigin = 'https://doctor.invalid'

/** Returns the protected routes whose preflight allows credentials to every origin. */
async function corsFindings (app: FastifyInstance, rows: readonly AuditRow[]): Promise<readonly string[]> {
  const found: string[] = []
  for (const { method, url, access } of rows) {
    if (access === 'public' || method === 'OPTIONS') continue
    const { headers } = await app.inject({
      method: 'OPTIONS',
      url: url.replace(/:[^/-]+|\*/g, 'x'),
      headers: { origin: strangeOrigin, 'access-control-request-method': method.replace(/,.*/, '') }
    })
    const origin = headers['access-control-allow-origin']
    const isOpen = origin === '*' || origin === strangeOrigin
    if (isOpen && headers['access-control-allow-credentials'] === 'true') found.push(`${method} ${url}`)
  }
  return found
}

/**
 * Returns the uses of a Redis that may evict records.
 * @param limits the client of the option `limits.redis`, if there is one.
 */
async function redisFindings (store: Store | null, limits: object | null): Promise<readonly string[]> {
  const backing = store === null ? undefined : backingOf(store)
  const found: string[] = []
  for (const [name, client] of [
    ['store', backing?.kind === 'redis' ? backing.client : null], ['limits.redis', limits as InfoClient | null]
  ] as const) {
    const policy = client === null ? 'noeviction' : await evictionPolicyOf(client)
    if (policy !== 'noeviction') found.push(`${name}: ${policy}`)
  }
  return found
}

/**
 * Reads the `maxmemory-policy` of a Redis server from `INFO`, because managed servers forbid `CONFIG`. A server that
 * does not report it counts as `noeviction`.
 */
async function evictionPolicyOf (client: InfoClient): Promise<string> {
  const text = await client.info('memory').catch(() => '')
  return /^maxmemory_policy:(\S+)/m.exec(text)?.[1] ?? 'noeviction'
}
