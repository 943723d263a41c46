import type { FastifyInstance } from 'fastify'
import { misconfigured } from '../errors.js'
import type { Declaration } from './parse.js'

/** A declaration above the route, with its name in the audit. */
export interface Level {
  readonly declaration: Declaration
  readonly label: string
}

/** The plugin's default and the group defaults, each with the context that it holds for. */
export interface Defaults {
  /** Sets the default of a context, once, before its first route. */
  set (context: FastifyInstance, level: Level): void
  /** The levels above a route of a context, outermost first. */
  above (context: FastifyInstance): readonly Level[]
  /** Returns true if a group default, not only the plugin's, stands above a route of a context. */
  grouped (context: FastifyInstance): boolean
  /** Notes that a context has a route. */
  routed (context: FastifyInstance): void
}

/**
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a level that would open routes without their saying so, or undo the
 * levels above it.
 */
export function defaults (plugin: Level): Defaults {
  checkPlugin(plugin)
  const groups = new Map<FastifyInstance, Level>()
  const routed = new Set<FastifyInstance>()
  const stacks = new Map<FastifyInstance, readonly Level[]>()
  return {
    set (context, level) {
      checkGroup(level)
      const { path } = level.declaration
      if (groups.has(context)) {
        throw misconfigured(`${path} was set before. Say everything in one call, or open a context of its own by ` +
          'register.')
      }
      const late = [...routed].some(instance => lineage(instance).includes(context))
      if (late) {
        throw misconfigured(`${path} is set after a route of the context was declared, which would not have it. Set ` +
          'the default first.')
      }
      groups.set(context, level)
      stacks.clear()
    },
    above (context) {
      const known = stacks.get(context)
      if (known !== undefined) return known
      const stack = [plugin, ...lineage(context).flatMap(instance => groups.get(instance) ?? []).reverse()]
      stacks.set(context, stack)
      return stack
    },
    grouped: context => lineage(context).some(instance => groups.has(instance)),
    routed: context => { routed.add(context) }
  }
}

/** A public default of the whole application would open every route on which nothing is written. */
function checkPlugin (level: Level): void {
  const { path, open } = level.declaration
  if (open !== null) {
    throw misconfigured(`${path} is public, which would open every route that says nothing. Say false on the routes ` +
      'themselves, or name their paths in the option publicPaths.')
  }
  checkInherits(level)
}

/** A group is public only with a reason, so that a bare `false` never opens the routes of a plugin by accident. */
function checkGroup (level: Level): void {
  const { path, open } = level.declaration
  if (open === '') {
    throw misconfigured(`${path} is public without a reason, and would open every route of the context that says ` +
      "nothing. Say why: { public: 'the browser application' }. Or say false on the routes themselves.")
  }
  checkInherits(level)
}

function checkInherits ({ declaration: { path, inherit } }: Level): void {
  if (!inherit) {
    throw misconfigured(`${path} has inherit: false, which only a route can say. Remove it, and write inherit: false ` +
      'on the routes that need it.')
  }
}

/** Returns a context and those that enclose it: Fastify makes a child by `Object.create(parent)`. */
export function lineage (context: FastifyInstance): readonly FastifyInstance[] {
  const all: FastifyInstance[] = []
  for (let each: unknown = context; each !== null && each !== Object.prototype; each = Object.getPrototypeOf(each)) {
    all.push(each as FastifyInstance)
  }
  return all
}
