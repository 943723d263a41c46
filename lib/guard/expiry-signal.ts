import type { AuthErrorCode } from '../../types/error.js'
import { authFailure, refusal } from '../errors.js'
import { isOver, type Carrier, type Identity } from './request-state.js'

/** The longest delay of a timer of Node, in milliseconds (31 bits). A longer wait is made of several. */
const maxDelay = 2 ** 31 - 1

/**
 * Returns a signal for what outlives its request, such as a WebSocket or an event stream. It is aborted when one of the
 * credentials expires or is revoked, with an `AuthError` as its reason.
 * @param carrier stops the watch by its `close`. Where it has closed, nothing is watched.
 */
export function expirySignal (identities: readonly Identity[], carrier: Carrier): AbortSignal {
  const controller = new AbortController()
  const watches: (() => void)[] = []
  const stop = (): void => {
    carrier.off('close', stop)
    for (const unwatch of watches.splice(0)) unwatch()
  }
  const end = (code: AuthErrorCode, { bound }: Identity, detail: string): void => {
    stop()
    controller.abort(refusal(authFailure(code, bound.name, detail)))
  }
  // a carrier that has closed emits no other `close`
  if (isOver(carrier)) return controller.signal
  carrier.once('close', stop)
  for (const identity of identities) {
    const { expiresAt, onRevoked = null } = identity.outcome
    const expire = (): void => { end('AUTH_TOKEN_EXPIRED', identity, 'the credential expired while it was in use') }
    const revoke = (): void => {
      end('AUTH_INVALID_CREDENTIALS', identity, 'the credential was revoked while it was in use')
    }
    if (expiresAt !== null) watches.push(runAt(expiresAt.getTime(), expire))
    if (onRevoked !== null) watches.push(onRevoked(revoke))
  }
  // a scheme may have called back at once, before there was anything to stop
  if (controller.signal.aborted) stop()
  return controller.signal
}

/** Runs once at an instant, by the clock of the process. Does not keep the process alive. */
function runAt (instant: number, run: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (): void => {
    const left = instant - Date.now()
    timer = setTimeout(left > maxDelay ? wait : run, Math.min(Math.max(left, 0), maxDelay)).unref()
  }
  wait()
  return () => { clearTimeout(timer) }
}
