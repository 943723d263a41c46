import type { FastifyInstance, FastifyPluginAsync, FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import type { Gatehouse } from '../types/gatehouse.js'
import type { GatehouseOptions } from '../types/options.js'
import { checkReasons } from './audit/reasons.js'
import { auditRows } from './audit/rows.js'
import { misconfigured } from './errors.js'
import { Guard } from './guard/guard.js'
import { credentialParameters, redactRequests } from './guard/request-loggers.js'
import { Responder } from './guard/responder.js'
import { warnAboutTrustProxy } from './limits/guesses.js'
import { createRequestLimiter, withDefaultRateLimit } from './limits/request-limits.js'
import { OpenApi } from './openapi/openapi.js'
import { gatehouseOf, replyMethods, type Parts } from './plugin/decorators.js'
import { parseOptions, type Options } from './plugin/options.js'
import { decorateRequests } from './plugin/request-decorators.js'
import { commonOf } from './plugin/scheme-context.js'
import { bindSchemes } from './plugin/schemes.js'
import { defaults } from './policy/defaults.js'
import { parseDeclaration, type Declaration } from './policy/parse.js'
import { policiesOf } from './policy/resolve.js'
import { checkReady } from './routes/boot-checks.js'
import { lateHook, routeHooks } from './routes/hooks.js'
import { routeBook } from './routes/route-registry.js'
import { onSendHook } from './util/response.js'

/** Wires Fastify to the rooms; decides nothing. */
const gatehouse: FastifyPluginAsync<GatehouseOptions> = async (app, written) => {
  if (app.hasDecorator('gatehouse')) {
    throw misconfigured('fastify-gatehouse is registered twice in one context. Register it once, on the outermost ' +
      'instance, and use app.gatehouse.default() for groups of routes.')
  }
  const options = parseOptions(written)
  const parts = await assemble(app, options)
  decorate(app, parts)
  wire(app, parts, options)
}

async function assemble (app: FastifyInstance, options: Options): Promise<Parts> {
  const { permissions, publicPaths, origins, form, stage } = options
  warnAboutTrustProxy(app)
  const { contextOf, guesses } = await commonOf(app, options)
  const schemes = await bindSchemes(app, options, contextOf)
  redactRequests(app, credentialParameters([...schemes.values()].map(({ scheme }) => scheme)))
  const key = Symbol('gatehouse.route')
  const responder = new Responder(form)
  const countRequest = await createRequestLimiter(app, options.limits.redis)
  const guard = new Guard({ permissions, origins, responder, countRequest })
  const written = parseDeclaration(options.default, 'The option default', permissions)
  const plugin = { declaration: withDefaultRateLimit(withOnly(written, [...schemes.keys()]), options.limits.requests), label: 'default' }
  const levels = defaults(plugin)
  const policies = policiesOf({ permissions, schemes, defaults: levels, publicPaths })
  policies.resolve(app, true, 'The option default')
  const book = routeBook(key, policies, guard)
  return { guard, key, schemes, defaults: levels, policies, book, stage, guesses }
}

/** Where there is one scheme, a default that names none means it. */
function withOnly (declaration: Declaration, names: readonly string[]): Declaration {
  return declaration.schemes === null && names.length === 1 ? { ...declaration, schemes: [names] } : declaration
}

function decorate (app: FastifyInstance, parts: Parts): void {
  const facades = new WeakMap<FastifyInstance, Gatehouse>()
  const { challenge, forbid, login, logout } = replyMethods(parts)
  app.decorate('gatehouse', {
    getter (this: FastifyInstance) {
      const facade = facades.get(this) ?? gatehouseOf(this, parts)
      facades.set(this, facade)
      return facade
    }
  })
  decorateRequests(app, parts.schemes, parts.guard.permissions)
  app.decorateReply('challenge', challenge as FastifyReply['challenge'])
  app.decorateReply('forbid', forbid as FastifyReply['forbid'])
  app.decorateReply('login', login as FastifyReply['login'])
  app.decorateReply('logout', logout as FastifyReply['logout'])
}

function wire (app: FastifyInstance, { guard, key, policies, book, schemes }: Parts, options: Options): void {
  const { stage, outsideAllowed, requireReason, publicPaths } = options
  const { form, scopeTexts } = options
  const openapi = new OpenApi(app, key, { schemes, form, scopeTexts })
  app.addHook('onRoute', function (route) { if (openapi.note(this, route)) book.note(this, route) })
  // behind the hooks of the schemes themselves, which write what their own responses need
  if ([...schemes.values()].some(({ features }) => features.sessions !== undefined)) app.addHook('onSend', onSendHook(() => {}))
  app.addHook('onReady', async () => {
    checkReady(app, { book, policies, schemes: schemes.values(), outsideAllowed })
    openapi.ready()
    if (requireReason) checkReasons(auditRows(book.marks, stage), publicPaths)
  })
  if (stage === 'preHandler') {
    app.addHook('preHandler', lateHook(guard, key, policies))
  } else {
    const hooks = routeHooks(guard, key, policies)
    app.addHook('preParsing', hooks.preParsing)
    app.addHook('preHandler', hooks.preHandler)
  }
  for (const { features } of schemes.values()) features.routes?.(app)
}

/** The plugin, with Fastify's encapsulation broken on purpose: the context that registers it is the one it protects. */
export const plugin = fp(gatehouse, { fastify: '5.x', name: 'fastify-gatehouse' })
