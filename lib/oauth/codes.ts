import { createHash, hash, randomBytes } from 'node:crypto'
import type { Principal } from '../../types/principal.js'
import type { JsonObject, Store, StoreOwner, StoreRecord } from '../../types/store.js'
import { internalError } from '../errors.js'
import { codeKind as kind } from '../schemes/jwt/refresh-token.js'
import { fieldIn, number, orNull, recordParser } from '../stores/records.js'
import { isSameSecret } from '../util/encoding.js'
import { listOf, oneOf, string } from '../util/options.js'

/** The time for which a code can be redeemed (RFC 6749, 4.1.2: at most ten minutes). */
const lifetimeMs = 60_000

/** The time for which a used code is remembered, so that it ends its grant if it is presented again. */
const rememberedMs = 600_000

/**
 * The maximum number of codes of one person at one issuer, used ones included, so that nobody can fill the store. When
 * there are too many, the oldest are removed, as the oldest grants are.
 */
const maxCodes = 100

/** Describes the permission that a person gave, for which a code stands. */
export interface CodeGrant {
  readonly client: string
  readonly redirectUri: string
  /** The S256 challenge (RFC 7636, 4.2). */
  readonly challenge: string
  readonly scopes: readonly string[]
  /** The issuer, which separates two servers that share a store. */
  readonly issuer: string
  readonly resource: string
  readonly realm: string
  readonly id: string
  readonly roles: readonly string[]
  /** The time at which the person proved who they are, in milliseconds since 1970; `null` if it is unknown. */
  readonly authenticatedAt: number | null
}

const parseCode = recordParser({
  client: string,
  redirectUri: string,
  challenge: string,
  scopes: listOf(string),
  issuer: string,
  resource: string,
  realm: string,
  id: string,
  roles: listOf(string),
  authenticatedAt: orNull(number),
  used: oneOf<boolean>(true, false)
} satisfies Record<keyof CodeGrant | 'used', unknown>)

/** A code that was found in the store. */
export interface FoundCode {
  readonly grant: CodeGrant
  readonly isUsed: boolean
  /** The handle of the grant that the code begins: the same for each redemption, and not in the store. */
  readonly handle: string
  readonly record: StoreRecord
}

/** Issues a code of 256 random bits, which is stored as a digest. */
export async function issueCode (store: Store, grant: CodeGrant): Promise<string> {
  const code = randomBytes(32).toString('base64url')
  const value: JsonObject = { ...grant, used: false }
  const expiresAt = new Date(Date.now() + lifetimeMs)
  const owner = { realm: grant.realm, id: grant.id }
  await makeRoom(store, owner, grant.issuer)
  if (await store.add({ kind, id: idOf(code), owner, value, expiresAt })) return code
  throw internalError('the store did not add a new authorization code')
}

/** Ends the oldest codes of a person who has too many for one more. */
async function makeRoom (store: Store, owner: StoreOwner, issuer: string): Promise<void> {
  const found = await store.find(kind, owner)
  const surplus = found.filter(record => fieldIn(record, 'issuer') === issuer)
    .sort((a, b) => writtenAt(b) - writtenAt(a))
    .slice(maxCodes - 1)
  await Promise.all(surplus.map(({ id }) => store.take(kind, id)))
}

/** Returns the time at which a code was issued or used, in milliseconds since 1970. */
function writtenAt (record: StoreRecord): number {
  return Number(record.expiresAt) - (fieldIn(record, 'used') === true ? rememberedMs : lifetimeMs)
}

/** Returns the grant that a person has allowed. */
export function codeGrant (
  { realm, id, roles }: Principal, fields: Omit<CodeGrant, 'realm' | 'id' | 'roles'>
): CodeGrant {
  return { ...fields, realm, id, roles }
}

/** Finds a code. Garbage costs no call of the store. */
export async function findCode (store: Store, code: string): Promise<FoundCode | null> {
  if (!/^[\w-]{43}$/.test(code)) return null
  const record = await store.get(kind, idOf(code))
  if (record === null) return null
  const { used, ...grant } = parseCode(record)
  return { grant, isUsed: used, handle: handleOf(code), record }
}

/** Marks a code as used. Of all parallel callers, exactly one gets `true`. */
export async function spendCode (store: Store, { record }: FoundCode): Promise<boolean> {
  const expiresAt = new Date(Date.now() + rememberedMs)
  return await store.swap({ ...record, value: { ...record.value, used: true }, expiresAt })
}

/** Returns true if a verifier belongs to a challenge (RFC 7636, 4.6). */
export function isVerifier (verifier: string, challenge: string): boolean {
  if (!/^[\w.~-]{43,128}$/.test(verifier)) return false
  return isSameSecret(hash('sha256', verifier, 'base64url'), challenge)
}

function idOf (code: string): string {
  return hash('sha256', code, 'base64url')
}

function handleOf (code: string): string {
  return createHash('sha256').update(`grant of code ${code}`).digest().toString('base64url', 0, 16)
}
