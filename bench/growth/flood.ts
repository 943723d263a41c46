import type { FastifyInstance } from 'fastify'

/** An application, and what is sent to it. */
export interface Flood {
  readonly app: FastifyInstance
  /** Sends the credential of this number, which nobody sent before. @returns the status of the answer. */
  readonly send: (i: number) => Promise<number>
  /** The accepted statuses. Any other stops the flood, which would measure something else. */
  readonly statuses: readonly number[]
}

export interface Section {
  readonly name: string
  /** Credentials after which everything here that is bounded is full. */
  readonly full: number
  readonly make: () => Promise<Flood>
}
