/**
 * The sessions that ended before their time. An instance asks only its own list: what one instance revokes, another learns only by a shared one.
 * Both may answer with a promise; where `has` does not answer at all, requests are refused with 503.
 */
export interface Revocations {
  /** Remembers a session id until an instant (milliseconds since 1970) after which its cookie is worthless anyway. */
  add (id: string, until: number): void | Promise<void>
  has (id: string): boolean | Promise<boolean>
}

/** Entries below which sweeping is not worth it. */
const few = 1_024

/** A list in memory, which a restart forgets. It grows with the sessions that end and never drops one that could still be used. */
export function memoryRevocations (): Revocations {
  const untils = new Map<string, number>()
  let sweepAt = few
  return {
    add (id, until) {
      if (untils.size >= sweepAt) {
        sweep(untils)
        // twice what is left: each sweep is paid for by as many additions
        sweepAt = Math.max(few, untils.size * 2)
      }
      untils.set(id, Math.max(until, untils.get(id) ?? 0))
    },
    has: id => untils.has(id)
  }
}

function sweep (untils: Map<string, number>): void {
  const now = Date.now()
  for (const [id, until] of untils) if (until <= now) untils.delete(id)
}
