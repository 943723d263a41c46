import { createHash, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Principal } from '../../types/principal.js'
import type { JsonObject, Store, StoreRecord } from '../../types/store.js'
import { internalError } from '../errors.js'
import { codeKind as kind } from '../schemes/jwt/refresh-token.js'

/** Milliseconds for which a code can be redeemed (RFC 6749, 4.1.2: at most ten minutes). */
const lifetime = 60_000

/** Milliseconds for which a used code is remembered, so that it ends its grant if it is presented again. */
const rememberedFor = 600_000

/** Describes what a person has allowed with a code. */
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
  const expiresAt = new Date(Date.now() + lifetime)
  const owner = { realm: grant.realm, id: grant.id }
  if (await store.add({ kind, id: idOf(code), owner, value, expiresAt })) return code
  throw internalError('the store did not add a new authorization code')
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
  const { used, ...grant } = record.value as unknown as CodeGrant & { readonly used: boolean }
  return { grant, isUsed: used, handle: handleOf(code), record }
}

/** Marks a code as used. Of all parallel callers, exactly one gets `true`. */
export async function spendCode (store: Store, { record }: FoundCode): Promise<boolean> {
  const expiresAt = new Date(Date.now() + rememberedFor)
  return await store.swap({ ...record, value: { ...record.value, used: true }, expiresAt })
}

/** Returns true if a verifier belongs to a challenge (RFC 7636, 4.6). */
export function isVerifier (verifier: string, challenge: string): boolean {
  if (!/^[\w.~-]{43,128}$/.test(verifier)) return false
  return timingSafeEqual(Buffer.from(hash('sha256', verifier, 'base64url')), Buffer.from(challenge))
}

function idOf (code: string): string {
  return hash('sha256', code, 'base64url')
}

function handleOf (code: string): string {
  return createHash('sha256').update(`grant of code ${code}`).digest().toString('base64url', 0, 16)
}
