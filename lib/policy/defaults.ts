import type { FastifyInstance } from 'fastify'
import { misconfigured } from '../errors.js'
import { lineage } from '../util/fastify.js'
import { getOrCreate } from '../util/objects.js'
import type { Declaration } from './parse.js'

/** A declaration above the route, with its name in the audit. */
export interface Level {
  readonly declaration: Declaration
  readonly label: string
}

/** The plugin's default and the group defaults, each with the context that it holds for. */
export interface Defaults {
  /** Sets the default of a context: once, and before the first route of that context. */
  set (context: FastifyInstance, level: Level): void
  /** Returns the levels above a route of a context, outermost first. */
  levelsAbove (context: FastifyInstance): readonly Level[]
  /** Returns true if a route of a context has a group default above it, not only the plugin's. */
  hasGroupDefault (context: FastifyInstance): boolean
  /** Notes that a policy of a context was resolved, after which its defaults can no longer be set. */
  noteUse (context: FastifyInstance): void
}

/**
 * Creates the defaults of an application, of which the plugin's is the outermost.
 * @throws {AuthError} `AUTH_MISCONFIGURED` for a level that opens routes by accident, and for one that discards the
 * levels above it, which only a route may do.
 */
export function createDefaults (plugin: Level): Defaults {
  checkPlugin(plugin)
  const groups = new Map<FastifyInstance, Level>()
  const usedContexts = new Set<FastifyInstance>()
  const cache = new Map<FastifyInstance, readonly Level[]>()
  return {
    set (context, level) {
      checkGroup(level)
      const { path } = level.declaration
      if (groups.has(context)) {
        throw misconfigured(`${path} is set twice. Combine both in one call, or register a context of its own for ` +
          'the second.')
      }
      if ([...usedContexts].some(instance => lineage(instance).includes(context))) {
        throw misconfigured(`${path} is set after a route of the context was declared, or after gatehouse.guard() ` +
          'was called there: they would not get it. Set the default first.')
      }
      groups.set(context, level)
      cache.clear()
    },
    levelsAbove (context) {
      const groupsAbove = () => lineage(context).flatMap(instance => groups.get(instance) ?? []).reverse()
      return getOrCreate(cache, context, () => [plugin, ...groupsAbove()])
    },
    hasGroupDefault: context => lineage(context).some(instance => groups.has(instance)),
    noteUse: context => { usedContexts.add(context) }
  }
}

/** Rejects a public default, which would open every route without a `config.auth` of its own. */
function checkPlugin (level: Level): void {
  const { path, publicReason } = level.declaration
  if (publicReason !== null) {
    throw misconfigured(`${path} is public, which would open every route without a config.auth of its own. Write ` +
      'false on the routes themselves, or list their paths in the option publicPaths.')
  }
  checkInherits(level)
}

/** Rejects a public group without a reason, so that a bare `false` never opens the routes of a plugin by accident. */
function checkGroup (level: Level): void {
  const { path, publicReason } = level.declaration
  if (publicReason === '') {
    throw misconfigured(`${path} is public without a reason, and would open every route of the context without a ` +
      "config.auth of its own. Give a reason, such as { public: 'the browser application' }, or write false on the " +
      'routes themselves.')
  }
  checkInherits(level)
}

/** Rejects `inherit: false`, which must be visible on the route itself. */
function checkInherits ({ declaration: { path, inherit } }: Level): void {
  if (!inherit) {
    throw misconfigured(`${path} has inherit: false, which only a route can have. Remove it, and write ` +
      'inherit: false on the routes that need it.')
  }
}
