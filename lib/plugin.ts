import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import type { AuditRow } from '../types/audit.js'
import type { Gatehouse } from '../types/gatehouse.js'
import type { GatehouseOptions } from '../types/options.js'
import { announce, roleSummaries, schemeSummaries } from './audit/registration.js'
import { auditRows, auditTable, checkReasons } from './audit/rows.js'
import { Doctor } from './doctor/doctor.js'
import { misconfigured } from './errors.js'
import { Guard } from './guard/guard.js'
import { credentialParameters, redactRequests } from './guard/redact.js'
import { Responder } from './guard/responder.js'
import { createRequestLimiter, withDefaultRateLimit } from './limits/request-limits.js'
import { OpenApi } from './openapi/openapi.js'
import { createGatehouse, createReplyMethods, decorateRequests } from './plugin/decorators.js'
import { type Internals, noteParts, type Parts } from './plugin/internals.js'
import { parseOptions, type Options } from './plugin/options.js'
import { declareRoutes, openSchemes } from './plugin/schemes.js'
import { createDefaults } from './policy/defaults.js'
import { parseDeclaration, type Declaration } from './policy/parse.js'
import type { Policy } from './policy/policy.js'
import { createPolicies } from './policy/resolve.js'
import { checkBoot } from './routes/boot-checks.js'
import { addRouteHooks } from './routes/hooks.js'
import { hasRoutes } from './routes/printed-routes.js'
import { createRouteRegistry } from './routes/route-registry.js'
import { noteSecret } from './secrets/secret-uses.js'
import { shareHook } from './util/fastify.js'
import { getOrCreate } from './util/objects.js'
import { onSendHook } from './util/response.js'

const gatehouse: FastifyPluginAsync<GatehouseOptions> = async (app, pluginOptions) => {
  if (app.hasDecorator('gatehouse')) {
    throw misconfigured('fastify-gatehouse is registered twice: this context, or one around it, has it already. ' +
      'Register it once, on the outermost instance, and use app.gatehouse.default() for groups of routes.')
  }
  const options = parseOptions(pluginOptions)
  const parts = await assemble(app, options)
  noteParts(app, parts)
  decorate(app, parts)
  wire(app, parts, options)
}

async function assemble (app: FastifyInstance, options: Options): Promise<Parts> {
  const { permissions, publicPaths, origins, errorForm, stage, limits } = options
  const opened = await openSchemes(app, options)
  const { schemes, guesses } = opened
  redactRequests(app, credentialParameters([...schemes.values()].map(({ scheme }) => scheme)))
  const key = Symbol('gatehouse.route')
  const responder = new Responder(errorForm)
  const limiter = createRequestLimiter(app, limits.redis)
  const guard = new Guard({ permissions, origins, responder, countRequest: limiter.count })
  const declared = parseDeclaration(options.default, 'The option default', permissions)
  const declaration = withDefaultRateLimit(withOnlyScheme(declared, [...schemes.keys()]), limits.requests)
  const defaults = createDefaults({ declaration, label: 'default' })
  const policies = createPolicies({ permissions, schemes, plans: limits.plans, defaults, publicPaths })
  // Rejects a default that no route could use.
  policies.defaultOf(app, 'The option default')
  const registry = createRouteRegistry(key, policies, guard)
  const descriptions = new Map([...schemes].map(([name, { scheme }]) => [name, scheme.openapi]))
  const { scopeDescriptions } = options
  const server = { oauth: null, oauthIssuer: null }
  const internals: Internals = { ...opened, app, permissions, scopeDescriptions, descriptions, ...server }
  const parts = { guard, key, schemes, defaults, policies, registry, stage, guesses, limiter, internals }
  return { ...parts, ...createDoctor(app, options, parts) }
}

type DoctorParts = Pick<Parts, 'doctor' | 'guards'>

function createDoctor (
  app: FastifyInstance, options: Options, { schemes, registry, internals }: Omit<Parts, keyof DoctorParts>
): DoctorParts {
  const { permissions, publicPaths, store, stage, limits: { redis, guesses }, doctor: ignored } = options
  for (const secret of guesses?.deviceSecrets ?? []) {
    noteSecret(app, { purpose: 'known devices', path: 'limits.guesses.deviceSecret' }, secret)
  }
  const guards = new Set<Policy>()
  const subject = { app, schemes, permissions, publicPaths, store, redis, guards, routes: registry.routes, stage }
  return { guards, doctor: new Doctor({ ...subject, oauthIssuer: () => internals.oauthIssuer }, ignored) }
}

/** Adds the only scheme of an application to a default that names none. */
function withOnlyScheme (declaration: Declaration, names: readonly string[]): Declaration {
  return declaration.schemes === null && names.length === 1 ? { ...declaration, schemes: [names] } : declaration
}

function decorate (app: FastifyInstance, parts: Parts): void {
  const gatehouses = new WeakMap<FastifyInstance, Gatehouse>()
  const { challenge, forbid, login, logout } = createReplyMethods(parts)
  app.decorate('gatehouse', {
    getter (this: FastifyInstance) {
      return getOrCreate(gatehouses, this, () => createGatehouse(this, parts))
    }
  })
  decorateRequests(app, parts.schemes, parts.guard.permissions)
  app.decorateReply('challenge', challenge as FastifyReply['challenge'])
  app.decorateReply('forbid', forbid as FastifyReply['forbid'])
  app.decorateReply('login', login as FastifyReply['login'])
  app.decorateReply('logout', logout as FastifyReply['logout'])
}

function wire (app: FastifyInstance, parts: Parts, options: Options): void {
  const { guard, policies, registry, schemes, internals: { descriptions } } = parts
  const { stage, outsideAllowed, requireReason, publicPaths, errorForm: form, scopeDescriptions: scopeTexts } = options
  const isFirst = !hasRoutes(app)
  const openapi = new OpenApi(app, parts.key, { schemes: descriptions, form, scopeTexts })
  app.addHook('onRoute', function (route) { if (openapi.note(this, route)) registry.add(this, route) })
  // after the hook, so that it sees what hooks of other plugins declare when they see a route of ours
  openapi.begin()
  const guarded = addRouteHooks(app, parts)
  const hasSessions = [...schemes.values()].some(({ features }) => features.sessions !== undefined)
  // Runs after the hooks of the schemes, which set the headers of their own responses.
  if (hasSessions) app.addHook('onSend', shareHook(onSendHook()))
  app.addHook('onReady', async () => {
    checkBoot(app, { registry, policies, schemes: schemes.values(), outsideAllowed, isFirst, guarded })
    openapi.ready()
    if (requireReason) checkReasons(auditRows(registry.routes, stage), publicPaths)
    parts.doctor.checkBoot()
    if (limitsRequests(parts)) await parts.limiter.load()
    logRoutes(app, () => auditRows(registry.routes, stage))
  })
  declareRoutes(app, schemes.values())
  announce({
    server: app.server,
    rows: () => auditRows(registry.routes, stage),
    schemes: () => schemeSummaries(schemes.values()),
    roles: () => roleSummaries(guard.permissions),
    allowBoot: () => { parts.doctor.allowBoot() },
    examine: async () => await parts.doctor.examine()
  })
}

/** Logs who may call the routes, for developers. */
function logRoutes ({ log }: FastifyInstance, rows: () => readonly AuditRow[]): void {
  if (process.env.NODE_ENV === 'production' || (log.level !== 'debug' && log.level !== 'trace')) return
  log.debug(`fastify-gatehouse: the routes of this application\n${auditTable(rows())}`)
}

/** Returns true if requests may be limited: by a policy, or by a managed key that was created with a limit. */
function limitsRequests ({ policies, schemes }: Parts): boolean {
  return policies.limitsRequests() || [...schemes.values()].some(({ features }) => features.apiKeys !== undefined)
}

/** The plugin. `fastify-plugin` ends Fastify's encapsulation, so that the context that registers it is protected. */
export const plugin = fp(gatehouse, { fastify: '5.x', name: 'fastify-gatehouse' })
