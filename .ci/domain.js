import { AsyncLocalStorage } from 'node:async_hooks'

const current = new AsyncLocalStorage()
let open = 0

/**
 * Stands for the `Domain` of async-hook-domain, by which tap gives an error that nobody caught to the test that caused
 * it. That one asks to be told of the end of each promise, which takes a tenth of the time of all tests.
 */
export class Domain {
  constructor (onerror) {
    this.onerror = onerror
    this.parent = current.getStore()
    current.enterWith(this)
    if (++open === 1) process.on('uncaughtException', giveToTest)
  }

  destroy () {
    if (this.onerror === null) return
    this.onerror = null
    if (--open === 0) process.off('uncaughtException', giveToTest)
  }
}

/** Gives an exception, or the reason of a rejection, to the innermost test that has not ended. */
function giveToTest (error, origin) {
  // a test that listens itself expects the error
  if (process.listenerCount('uncaughtException') > 1) return
  let domain = current.getStore()
  while (domain?.onerror === null) domain = domain.parent
  if (domain === undefined) throw error
  domain.onerror(error, origin)
}
