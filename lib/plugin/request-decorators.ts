import type { FastifyInstance, FastifyRequest } from 'fastify'
import { misconfigured } from '../errors.js'
import { requestAuth, requestPrincipal } from '../guard/request-auth.js'
import { stateOf } from '../guard/request-state.js'
import { decorateOption } from '../kit/request-decorator.js'
import type { BoundScheme } from '../policy/policy.js'
import type { Permissions } from '../policy/requirements.js'
import { joinNames } from '../util/describe.js'
import type { BoundSchemes } from './schemes.js'

/** Adds `request.auth`, `request.principal`, and the principal of every scheme that has the option `decorate`. */
export function decorateRequests (app: FastifyInstance, schemes: BoundSchemes, permissions: Permissions): void {
  for (const name of ['auth', 'principal']) checkFree(app, name)
  app.decorateRequest('auth', {
    getter (this: FastifyRequest) { return requestAuth(this, permissions) as FastifyRequest['auth'] }
  })
  app.decorateRequest('principal', {
    getter (this: FastifyRequest) { return requestPrincipal(this) as FastifyRequest['principal'] }
  })
  for (const bound of schemes.values()) decorateForScheme(app, bound)
}

/** Properties that Fastify assigns to every request, and that `hasRequestDecorator` does not know. */
const assigned: readonly string[] = ['id', 'params', 'raw', 'query', 'log', 'body']

function decorateForScheme (app: FastifyInstance, bound: BoundScheme): void {
  const option = `The option schemes.${bound.name}.decorate`
  const { decorate } = bound.scheme
  if (decorate == null) return
  const parsed = decorateOption(decorate, option)
  const name = parsed === true ? bound.name : parsed
  if (assigned.includes(name) || app.hasRequestDecorator(name)) {
    throw misconfigured(`${option} needs request.${name}, which exists already: it belongs to Fastify, to another ` +
      `scheme or to another plugin${pluginsBefore(app)}. Choose another name, such as ` +
      `decorate: '${bound.name}Principal'.`)
  }
  app.decorateRequest(name, {
    getter (this: FastifyRequest) {
      return stateOf(this)?.pass?.identities.find(identity => identity.bound === bound)?.outcome.principal ?? null
    }
  })
}

function checkFree (app: FastifyInstance, name: string): void {
  // a property of Object.prototype is not a decorator
  if (!app.hasRequestDecorator(name) || Object.hasOwn(Object.prototype, name)) return
  throw misconfigured(`fastify-gatehouse needs request.${name}, which another plugin has decorated already` +
    `${pluginsBefore(app)}. Register that plugin in a context of its own, with the routes that need it: ` +
    'app.register(async child => { … }).')
}

/** Lists the plugins of this context for messages, because Fastify does not report the owner of a decorator. */
function pluginsBefore (app: FastifyInstance): string {
  const names = app.pluginName.split(' -> ').filter(name => name !== 'fastify' && name !== 'fastify-gatehouse')
  return names.length === 0 ? '' : ` (registered here: ${joinNames(names, 'and')})`
}
