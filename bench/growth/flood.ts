import type { FastifyInstance } from 'fastify'

/** An application, and the requests that it receives. */
export interface Flood {
  readonly app: FastifyInstance
  /**
   * Sends the credential of this number, which is new.
   * @returns the status of the response.
   */
  readonly send: (i: number) => Promise<number>
  /** The expected statuses. Any other stops the flood, which would measure something else. */
  readonly statuses: readonly number[]
}

export interface Section {
  readonly name: string
  /** The number of credentials after which every bounded cache is full. */
  readonly full: number
  readonly make: () => Promise<Flood>
}
