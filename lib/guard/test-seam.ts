import type { FastifyRequest } from 'fastify'
import type { Outcome } from '../../types/outcome.js'
import type { BoundScheme } from '../policy/policy.js'

/** Defines the parts of the guard that the test kit replaces in its process. */
export interface TestSeam {
  /** Returns the outcome of a scheme for a request of a test; `undefined` if the scheme itself is to be called. */
  outcomeOf (bound: BoundScheme, request: FastifyRequest): Outcome | undefined
  /** Returns true if the request is answered in place of its handler, once the guard of its route has passed. */
  isStubbed (request: FastifyRequest): boolean
}

/** The seam of this process; `null` unless its tests have asked for one. */
export let testSeam: TestSeam | null = null

let isLoaded = false

/** Records that the test kit was loaded into this process. Called by the test kit only. */
export function noteTestKit (): void {
  isLoaded = true
}

/** Returns true if the test kit was loaded into this process. */
export function isTestKitLoaded (): boolean {
  return isLoaded
}

/** Installs the seam of this process. Called by the test kit only. */
export function installTestSeam (seam: TestSeam): void {
  testSeam = seam
}
