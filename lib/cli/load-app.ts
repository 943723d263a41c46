import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import { onRegistration, type Registration } from '../audit/registration.js'
import { AuthError, isError } from '../errors.js'
import { placeIn, toPath } from '../routes/call-site.js'
import { isObject } from '../util/objects.js'
import { Failure } from './terminal.js'

const require = createRequire(import.meta.url)

/** The exit code if an application cannot be loaded. */
const notLoaded = 3

/** Milliseconds within which an application must be ready and closed again. */
const timeLimit = 60_000

/** A module that exports an application, or a plugin and the options of its server. */
interface LoadedModule {
  readonly default?: unknown
  readonly options?: unknown
}

/** Receives a registration. */
type Find = (registration: Registration) => void

/**
 * Loads an application, makes it ready without listening, reads its registrations of the plugin, and closes it.
 * @param path the module, relative to the current folder. Its default export is an application, a function that returns
 * one, or a plugin `(app, options)`.
 * @param find is called for each registration when it is made, before the application is ready.
 * @throws {Failure} with exit code 3 if that is not possible.
 */
export async function readApp<T> (
  path: string, read: (registrations: readonly Registration[]) => T | Promise<T>, find: Find = () => {}
): Promise<T> {
  let stop = (): void => {}
  const failed = new Promise<never>((_resolve, reject) => { stop = watch(reject) })
  try {
    return await Promise.race([readNow(path, read, find), failed])
  } catch (error) {
    throw error instanceof Failure
      ? error
      : new Failure(`The application could not be loaded: ${messageOf(error, path)}`, notLoaded)
  } finally {
    stop()
  }
}

/**
 * Watches the process while an application is loaded. Calls `fail` after the time limit, and for an error that nobody
 * caught. If the application ends the process, the exit code is replaced by that of a failure, because callers would
 * take the code of the application for the result of the command.
 * @returns a function that stops watching.
 */
function watch (fail: (error: unknown) => void): () => void {
  const timer = setTimeout(() => {
    fail(new Failure(`The application was not ready and closed again within ${timeLimit / 1000} s.`, notLoaded))
  }, timeLimit)
  const onExit = (code: number): void => {
    process.stderr.write(`The application could not be loaded: it ended the process with the code ${code}.\n`)
    process.exitCode = notLoaded
  }
  process.prependListener('exit', onExit).on('uncaughtException', fail)
  return () => {
    clearTimeout(timer)
    process.off('exit', onExit).off('uncaughtException', fail)
  }
}

async function readNow<T> (
  path: string, read: (registrations: readonly Registration[]) => T | Promise<T>, find: Find
): Promise<T> {
  const registrations: Registration[] = []
  const stop = onRegistration(each => {
    registrations.push(each)
    find(each)
  })
  try {
    const app = await openApp(path)
    try {
      await app.ready()
      const own = registrations.filter(({ server }) => server === app.server)
      if (own.length === 0) throw new Failure('The application has not registered fastify-gatehouse.', notLoaded)
      return await read(own)
    } finally {
      await app.close()
    }
  } finally {
    stop()
  }
}

async function openApp (path: string): Promise<FastifyInstance> {
  const module = await import(pathToFileURL(resolve(path)).href) as LoadedModule
  const exported = unwrap(module.default)
  if (isApp(exported)) return exported
  if (typeof exported !== 'function') throw wrongExport()
  if (exported.length > 0) return await withPlugin(exported as FastifyPluginAsync, module.options)
  const made: unknown = await (exported as () => unknown)()
  if (isApp(made)) return made
  throw wrongExport()
}

/** Returns the default export of a CommonJS module that a compiler wrote, which is one level deeper. */
function unwrap (exported: unknown): unknown {
  return isObject(exported) && exported['__esModule'] === true ? exported['default'] : exported
}

function isApp (value: unknown): value is FastifyInstance {
  return isObject(value) && typeof value['ready'] === 'function' && typeof value['inject'] === 'function'
}

/** Creates an application as `fastify start --options` does: the server and the plugin get the options. */
async function withPlugin (plugin: FastifyPluginAsync, exported: unknown): Promise<FastifyInstance> {
  const { default: Fastify }: typeof import('fastify') = require('fastify')
  const options = isObject(exported) ? exported : {}
  const app = Fastify({ ...options })
  app.register(plugin, { ...options })
  return app
}

function wrongExport (): Failure {
  return new Failure('The default export of the module must be an application of Fastify, a function without ' +
    'parameters that returns one, or a plugin (app, options).', notLoaded)
}

/** Returns the message of an error, where it was thrown, and what to do about it. @param path the application. */
function messageOf (error: unknown, path: string): string {
  if (error instanceof AuthError) return error.detail
  if (!isError(error)) return 'something that is not an error was thrown.'
  return error.message + locationOf(String(error.stack), path) + adviceOn(error)
}

/**
 * Returns where an error was thrown: the module that has a syntax error, with which the stack begins if Node knows it;
 * otherwise the first line of the application's code.
 */
function locationOf (stack: string, path: string): string {
  const broken = toPath(stack.slice(0, stack.indexOf('\n')))
  if (broken !== null) return ` (in ${broken})`
  const isUnknown = /^SyntaxError: .*\n +at .*node:internal\/modules\//.test(stack)
  return placeIn(stack) || (isUnknown ? ` (in ${path}, or in a module that it imports)` : '')
}

/** Returns what to do about an error of Node that does not say it. */
function adviceOn ({ code, syscall }: Error & { readonly code?: unknown, readonly syscall?: unknown }): string {
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION') {
    return '\nFor TypeScript, set NODE_OPTIONS=--import=tsx, or name the file that the compiler wrote.'
  }
  if (syscall !== 'listen') return ''
  return '\nThe command needs a module that exports the application and does not let it listen.'
}
