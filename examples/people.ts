import { hashPassword, verifyPassword } from 'fastify-gatehouse/passwords'
import type { Kysely } from 'kysely'
import type { PersonRow, Tables } from './data/tables.js'

/** Everybody who logs in or holds a token of ours is of this realm, so that ada is the same person in both. */
export const realm = 'order-desk'

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

  /** The person, or `null` when nobody has this id (any more). */
  async find (id: string): Promise<Person | null> {
    const row = await this.#row(id)
    return row === undefined ? null : personOf(row)
  }

  /** The person whose password it is, or `null`. An unknown name takes as long as a wrong password. */
  async verify (username: string, password: string): Promise<Person | null> {
    const row = await this.#row(username)
    const { valid, needsRehash } = await verifyPassword(password, row?.hash)
    if (row === undefined || !valid) return null
    if (needsRehash) await this.#rehash(row, password)
    return personOf(row)
  }

  async #row (id: string): Promise<PersonRow | undefined> {
    // PostgreSQL takes no NUL for text, and would fail where nobody is to be found.
    if (id.includes('\0')) return undefined
    return await this.#database.selectFrom('people').selectAll().where('id', '=', id).executeTakeFirst()
  }

  /** Only in place of the hash that was verified: a password that was changed in the meantime stays changed. */
  async #rehash ({ id, hash }: PersonRow, password: string): Promise<void> {
    await this.#database.updateTable('people').set({ hash: await hashPassword(password) }).where('id', '=', id).where('hash', '=', hash).execute()
  }
}

function personOf ({ id, name, roles }: PersonRow): Person {
  return { realm, id, name, roles: roles.split(' ') }
}
