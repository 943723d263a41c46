import { createHmac, createSecretKey, hash, randomBytes, type KeyObject } from 'node:crypto'
import type { StoreEntry, StoreRecord } from '../../../types/store.js'
import { isAhead } from '../../jose/claims.js'
import { deriveKey } from '../../secrets/secret-uses.js'
import { number, orNull, recordParser } from '../../stores/records.js'
import { isSameSecret } from '../../util/encoding.js'
import { listOf, oneOf, string, wholeNumber } from '../../util/options.js'
import type { RefreshSettings } from './sign-options.js'

/** A parsed refresh token: the handle of its family, and its generation. */
export interface RefreshToken {
  readonly handle: string
  readonly generation: number
}

interface MacKey {
  /** The name of the secret in records, which reveals nothing about it. */
  readonly name: string
  readonly key: KeyObject
}

const handleBytes = 16

/** Generates the handle of a family: 128 random bits. */
export function createHandle (): string {
  return randomBytes(handleBytes).toString('base64url')
}

/** Returns the id of a family's record. It gives no access, because the handle cannot be computed from it. */
export function familyId (handle: string): string {
  return hash('sha256', handle, 'base64url')
}

/** The issuer that refresh tokens are bound to, the prefix by which scanners find them, and the secrets. */
export interface RefreshTokenFormat {
  readonly issuer: string
  readonly prefix: string
  /** The newest first. New tokens use the first, and all are accepted. */
  readonly secrets: readonly Uint8Array[]
}

/**
 * Writes and reads refresh tokens, `<prefix>_<handle>.<generation>.<mac>`. By the MAC, forged tokens are refused
 * without a look-up, and earlier tokens of a family are recognised without records of their own.
 */
export class RefreshTokens {
  readonly #prefix: string
  readonly #pattern: RegExp
  readonly #keys: readonly MacKey[]
  /** The issuer after its length: the beginning of each text that is authenticated. */
  readonly #issuer: string

  constructor ({ issuer, prefix, secrets }: RefreshTokenFormat) {
    this.#prefix = prefix
    this.#issuer = `${Buffer.byteLength(issuer)}:${issuer}`
    this.#pattern = new RegExp(`^${prefix}_([\\w-]{22})\\.(0|[1-9]\\d{0,14})\\.([\\w-]{43})$`)
    this.#keys = secrets.map(secret => ({
      name: deriveKey(secret, 'refresh token secret name', 9).toString('base64url'),
      key: createSecretKey(deriveKey(secret, 'refresh token'))
    }))
  }

  /** The name of the secret of new tokens. */
  get newest (): string {
    return String(this.#keys[0]?.name)
  }

  /** Writes a token of a client with the secret of this name. Returns `null` if there is no such secret. */
  write (token: RefreshToken, client: string, secret: string): string | null {
    const found = this.#keys.find(({ name }) => name === secret)
    if (found === undefined) return null
    return `${this.#prefix}_${token.handle}.${token.generation}.${this.#mac(found, token, client)}`
  }

  /** Returns the handle in a text with the form of a token, which may be forged; `null` for any other text. */
  handleIn (text: string): string | null {
    return this.#pattern.exec(text)?.[1] ?? null
  }

  /** Reads a token. Returns `null` for a text that none of the secrets has authenticated for this client. */
  read (text: unknown, client: string): RefreshToken | null {
    const [, handle, generation, written] = typeof text === 'string' ? this.#pattern.exec(text) ?? [] : []
    if (handle === undefined || written === undefined) return null
    const token = { handle, generation: Number(generation) }
    return this.#keys.some(key => isSameSecret(this.#mac(key, token, client), written)) ? token : null
  }

  /**
   * Computes the MAC of a token. The text is unambiguous: the length of the issuer precedes it, a handle has 22
   * characters, and a colon ends the generation.
   */
  #mac ({ key }: MacKey, { handle, generation }: RefreshToken, client: string): string {
    return createHmac('sha256', key).update(`${this.#issuer}${handle}${generation}:${client}`).digest('base64url')
  }
}

/** The kind of the store's records of families. */
export const familyKind = 'refresh-family'

/** The kind of the store's records of authorization codes, each of which can begin a grant. */
export const codeKind = 'oauth-code'

/**
 * Describes one grant: all tokens of one login or of one consent. At most one of its refresh tokens is current. It
 * contains no secret.
 */
export interface Family {
  readonly issuer: string
  readonly client: string
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  /** `true` if a client acts for the person: its tokens carry no roles, and are refused where no scope is required. */
  readonly delegated: boolean
  /** The audience of its access tokens. */
  readonly resource: string
  /** The generation of the current token. */
  readonly generation: number
  /** The name of the secret that authenticates the current token; `null` if the grant has no refresh token. */
  readonly secret: string | null
  /** The time at which the current token replaced its predecessor. All times are in milliseconds since 1970. */
  readonly rotatedAt: number
  readonly createdAt: number
  /** `null` if unknown. */
  readonly authenticatedAt: number | null
  /** The time at which the grant ends, even if it is used until then. */
  readonly absolute: number
}

/** Returns the record of a new family. @param idle seconds */
export function familyEntry (
  { id, owner }: Pick<StoreEntry, 'id' | 'owner'>, family: Family, idle: number
): StoreEntry {
  return { kind: familyKind, id, owner, value: { ...family }, expiresAt: endOf(family, idle) }
}

/** Parses the record of a family. @throws {AuthError} `AUTH_FAULT` for one that cannot be read. */
export const familyOf: (record: StoreRecord) => Family = recordParser({
  issuer: string,
  client: string,
  scopes: listOf(string),
  roles: listOf(string),
  delegated: oneOf<boolean>(true, false),
  resource: string,
  generation: wholeNumber({ min: 0 }),
  secret: orNull(string),
  rotatedAt: number,
  createdAt: number,
  authenticatedAt: orNull(number),
  absolute: number
} satisfies Record<keyof Family, unknown>)

/** Returns the record after an exchange of the current token. */
export function rotate (record: StoreRecord, secret: string, { idle }: RefreshSettings): StoreRecord {
  const family = familyOf(record)
  const changes = { generation: family.generation + 1, secret, rotatedAt: Date.now() }
  return { ...record, value: { ...record.value, ...changes }, expiresAt: endOf({ ...family, ...changes }, idle) }
}

/** Returns the end of a family that is not refreshed again. @param idle seconds */
export function endOf ({ rotatedAt, absolute }: Family, idle: number): Date {
  return new Date(Math.min(rotatedAt + idle * 1000, absolute))
}

/**
 * Classifies a token of a family: *current*, or *just before*, the predecessor of the current token, which the client
 * may present again for a short time after it lost a response or in another tab. Any older token is *used again*. A
 * later token is *unknown*, which happens if the store lost its latest writes.
 */
export type Standing = 'current' | 'just before' | 'used again' | 'unknown'

/**
 * Returns the standing of the token with a generation. The clocks of instances may differ by a minute; a clock that was
 * set back by more does not lengthen the grace.
 */
export function standingOf (
  { generation, rotatedAt }: Family, presented: number, { reuseGrace }: RefreshSettings
): Standing {
  if (presented === generation) return 'current'
  if (presented > generation) return 'unknown'
  const now = Date.now()
  const isRecent = reuseGrace > 0 && now - rotatedAt <= reuseGrace * 1000 && !isAhead(rotatedAt / 1000, 0, now / 1000)
  return presented === generation - 1 && isRecent ? 'just before' : 'used again'
}
