import { AsyncLocalStorage } from 'node:async_hooks'

/*
 * Stands for `async-hook-domain`, which tells tap in which test an error was thrown that nobody caught. The original
 * keeps a number for every promise until it is collected, which takes a seventh of the time of a test.
 */

const current = new AsyncLocalStorage()
const emit = process.emit
/** The domains of tests that have not ended, beginning with that of tap itself. */
const domains = new Set()

/** Has the interface of the original. tap makes one in the asynchronous scope of each test. */
export class Domain {
  destroyed = false

  constructor (onerror) {
    this.onerror = onerror
    this.parent = current.getStore()
    current.enterWith(this)
    if (domains.size === 0) listen()
    domains.add(this)
  }

  destroy () {
    if (this.destroyed) return
    this.destroyed = true
    domains.delete(this)
    if (domains.size === 0) unlisten()
  }
}

function listen () {
  process.on('uncaughtExceptionMonitor', handleUncaught)
  // a listener would be one that tests see
  process.emit = (event, ...args) => event === 'unhandledRejection' && process.listenerCount(event) === 0
    ? handle(args[0], event)
    : Reflect.apply(emit, process, [event, ...args])
}

function unlisten () {
  process.removeListener('uncaughtExceptionMonitor', handleUncaught)
  process.emit = emit
}

/** Gives an error to its test, or to one around it that has not ended. Returns whether there is one. */
function handle (error, event) {
  if (process.hasUncaughtExceptionCaptureCallback() || process.listenerCount('uncaughtException') > 0) return false
  let domain = current.getStore()
  while (domain?.destroyed) domain = domain.parent
  domain ??= domains.values().next().value
  if (domain === undefined) return false
  try {
    domain.onerror(error, event)
  } catch (thrown) {
    domain.destroy()
    if (!handle(thrown, event)) throw thrown
  }
  return true
}

function handleUncaught (error, event) {
  if (!handle(error, event)) return
  // keeps Node from ending the process, this once
  process.setUncaughtExceptionCaptureCallback(() => { process.setUncaughtExceptionCaptureCallback(null) })
}
