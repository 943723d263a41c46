import type { FastifyRequest } from 'fastify'
import type { DoctorOptions, Finding, FindingId } from '../../types/doctor.js'
import { misconfigured } from '../errors.js'
import { takeSharedSecrets } from '../secrets/secret-uses.js'
import { deepFreeze } from '../util/objects.js'
import { describeValue } from '../util/describe.js'
import { object, optional, readOptions, type Parser } from '../util/options.js'
import { reportsOf } from '../util/reports.js'
import { corsFindings, examine, redisFindings, type Found, type Subject } from './examination.js'
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

/** Finds the weaknesses in the set-up of one application. */
export class Doctor {
  readonly #subject: Subject
  readonly #ignored: Ignored
  /** The secrets with two purposes, which are compared once the application is ready. */
  #sharedSecrets: readonly string[] = []
  /** The routes of {@link Doctor.noteLogin}. */
  readonly #unlimitedLogins = new Set<string>()
  #isHeld = false

  constructor (subject: Subject, ignored: Ignored) {
    this.#subject = subject
    this.#ignored = ignored
  }

  /** Returns what is known now, frozen: complete once the application is ready, but for logins. */
  findings (): readonly Finding[] {
    const reports = reportsOf(this.#subject.app).map(({ id, where }): Found => [id, [where]])
    return this.#describe([
      ...examine(this.#subject),
      ...reports,
      ['shared-secret', this.#sharedSecrets],
      ['unlimited-login', [...this.#unlimitedLogins]]
    ])
  }

  /** Returns {@link Doctor.findings}, with those that need requests to the application and to Redis. */
  async examine (): Promise<readonly Finding[]> {
    const { app, store, redis } = this.#subject
    const cors = await corsFindings(app, this.#subject.rows())
    const evicting = await redisFindings(store, redis)
    return [...this.findings(), ...this.#describe([['cors-credentials', cors], ['redis-eviction', evicting]])]
  }

  /** Lets the application boot whatever is found, because the command shows it. */
  hold (): void {
    this.#isHeld = true
  }

  /**
   * Logs the findings of a boot.
   * @throws {AuthError} `AUTH_MISCONFIGURED` in production, for all that are refused.
   */
  checkBoot (): void {
    const { app } = this.#subject
    this.#sharedSecrets = takeSharedSecrets(app)
    if (this.#isHeld) return
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

  /** Notes a login whose password was not verified within `guesses.attempt`, and warns once for its route. */
  noteLogin ({ log, method, routeOptions: { url } }: FastifyRequest): void {
    const where = `${method} ${url}`
    if (this.#unlimitedLogins.has(where)) return
    this.#unlimitedLogins.add(where)
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
