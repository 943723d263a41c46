import { hashPassword, verifyPassword } from 'fastify-gatehouse/passwords'
import type { Kysely } from 'kysely'
import type { PersonRow, Tables } from './data/tables.js'

/**
 * The realm of people: the scheme that they log in with. Sessions, keys and tokens share it, so that `ada` is the same
 * principal in all of them.
 */
export const realm = 'web'

export interface Person {
  readonly realm: string
  readonly id: string
  readonly name: string
  readonly roles: readonly string[]
}

export class People {
  readonly #database: Kysely<Tables>

  constructor (database: Kysely<Tables>) {
    this.#database = database
  }

  async all (): Promise<readonly Person[]> {
    const rows = await this.#database.selectFrom('people').selectAll().orderBy('id').execute()
    return rows.map(personOf)
  }

  /** Returns the person with this id, or `null`. */
  async find (id: string): Promise<Person | null> {
    const row = await this.#row(id)
    return row === undefined ? null : personOf(row)
  }

  /** Returns the person if the password is right, or else `null`. An unknown name takes as long as a wrong password. */
  async verify (username: string, password: string): Promise<Person | null> {
    const row = await this.#row(username)
    const { valid, needsRehash } = await verifyPassword(password, row?.hash)
    if (row === undefined || !valid) return null
    if (needsRehash) await this.#rehash(row, password)
    return personOf(row)
  }

  async #row (id: string): Promise<PersonRow | undefined> {
    // PostgreSQL cannot store NUL in a text and would report an error.
    if (id.includes('\0')) return undefined
    return await this.#database.selectFrom('people').selectAll().where('id', '=', id).executeTakeFirst()
  }

  /** Replaces only the hash that was verified, so that a password changed in the meantime is not overwritten. */
  async #rehash ({ id, hash }: PersonRow, password: string): Promise<void> {
    await this.#database.updateTable('people').set({ hash: await hashPassword(password) })
      .where('id', '=', id).where('hash', '=', hash).execute()
  }
}

function personOf ({ id, name, roles }: PersonRow): Person {
  return { realm, id, name, roles: roles.split(' ') }
}
