import type { EventEmitter } from 'node:events'
import { failure, refusal } from '../errors.js'
import type { AuthErrorCode } from '../../types/error.js'
import type { Identity } from './state.js'

/** Timers of Node hold 31 bits of milliseconds; a longer wait is made of several. */
const longestWait = 2 ** 31 - 1

/**
 * A signal for what outlives its request, such as a WebSocket or an event stream: aborted when one of the credentials expires or is revoked, with an `AuthError` as its reason.
 * @param carrier what the credential's use ends with: its `close` stops the watch.
 */
export function lifetimeOf (identities: readonly Identity[], carrier: EventEmitter): AbortSignal {
  const controller = new AbortController()
  const watches: (() => void)[] = []
  const stop = (): void => {
    carrier.off('close', stop)
    for (const unwatch of watches.splice(0)) unwatch()
  }
  const end = (code: AuthErrorCode, { bound }: Identity, detail: string): void => {
    stop()
    controller.abort(refusal(failure(code, bound.name, detail)))
  }
  carrier.once('close', stop)
  for (const identity of identities) {
    const { expiresAt, onRevoked = null } = identity.outcome
    if (expiresAt !== null) watches.push(at(expiresAt.getTime(), () => { end('AUTH_TOKEN_EXPIRED', identity, 'the credential expired while it was in use') }))
    if (onRevoked !== null) watches.push(onRevoked(() => { end('AUTH_INVALID_CREDENTIALS', identity, 'the credential was revoked while it was in use') }))
  }
  return controller.signal
}

/** Runs once at an instant, by the clock of the process; does not keep the process alive. */
function at (instant: number, run: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (): void => {
    const left = instant - Date.now()
    timer = setTimeout(left > longestWait ? wait : run, Math.min(Math.max(left, 0), longestWait)).unref()
  }
  wait()
  return () => { clearTimeout(timer) }
}
