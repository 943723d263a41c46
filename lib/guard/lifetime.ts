import { failure, refusal } from '../errors.js'
import type { AuthErrorCode } from '../../types/error.js'
import { isOver, type Carrier, type Identity } from './state.js'

/** Timers of Node hold 31 bits of milliseconds; a longer wait is made of several. */
const longestWait = 2 ** 31 - 1

/**
 * A signal for what outlives its request, such as a WebSocket or an event stream: aborted when one of the credentials expires or is revoked, with an `AuthError` as its reason.
 * @param carrier what the credential's use ends with: its `close` stops the watch. Where it has closed, nothing is watched.
 */
export function lifetimeOf (identities: readonly Identity[], carrier: Carrier): AbortSignal {
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
  // what closed already says it no more
  if (isOver(carrier)) return controller.signal
  carrier.once('close', stop)
  for (const identity of identities) {
    const { expiresAt, onRevoked = null } = identity.outcome
    if (expiresAt !== null) watches.push(at(expiresAt.getTime(), () => { end('AUTH_TOKEN_EXPIRED', identity, 'the credential expired while it was in use') }))
    if (onRevoked !== null) watches.push(onRevoked(() => { end('AUTH_INVALID_CREDENTIALS', identity, 'the credential was revoked while it was in use') }))
  }
  // a scheme that called back at once, before there was anything to stop
  if (controller.signal.aborted) stop()
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
