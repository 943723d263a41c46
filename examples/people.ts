import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const derive: (password: string, salt: Buffer, length: number) => Promise<Buffer> = promisify(scrypt)

/** Everybody who logs in or holds a token of ours is of this realm, so that ada is the same person in both. */
export const realm = 'order-desk'

export interface Person {
  readonly realm: string
  readonly id: string
  readonly name: string
  readonly roles: readonly string[]
}

const staff: readonly Person[] = [
  { realm, id: 'ada', name: 'Ada Moreau', roles: ['admin'] },
  { realm, id: 'ben', name: 'Ben Okafor', roles: ['clerk'] },
  { realm, id: 'cleo', name: 'Cleo Lindqvist', roles: ['viewer'] }
]

export interface People {
  readonly all: readonly Person[]
  /** The person, or `null` when nobody has this id (any more). */
  find (id: string): Person | null
  /** The person whose password it is, or `null`. An unknown name takes as long as a wrong password. */
  verify (username: string, password: string): Promise<Person | null>
}

/** The people of the demonstration, all with one password. Yours come from a database, each with their own hash. */
export async function demoPeople (password: string): Promise<People> {
  const accounts = new Map(await Promise.all(staff.map(async person => [person.id, { person, hash: await hashOf(password) }] as const)))
  const nobody = { person: null, hash: await hashOf(randomBytes(16).toString('hex')) }
  return {
    all: staff,
    find: id => accounts.get(id)?.person ?? null,
    async verify (username, password) {
      const { person, hash } = accounts.get(username) ?? nobody
      return await matches(password, hash) ? person : null
    }
  }
}

interface Hash { readonly salt: Buffer, readonly key: Buffer }

async function hashOf (password: string): Promise<Hash> {
  const salt = randomBytes(16)
  return { salt, key: await derive(password, salt, 32) }
}

async function matches (password: string, { salt, key }: Hash): Promise<boolean> {
  return timingSafeEqual(await derive(password, salt, 32), key)
}
