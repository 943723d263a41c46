import { scrypt } from 'node:crypto'
import type { ScryptOptions } from 'node:crypto'
import { promisify } from 'node:util'
import { internalError } from '../errors.js'
import { loadPeer } from '../util/load-peer.js'
import type { Argon2Recipe, Recipe } from './recipe.js'
import { fromBcrypt64 } from './stored.js'

/** The input of one hash computation. */
export interface Derivation {
  readonly recipe: Recipe
  /** For bcrypt at most 72 bytes, without NUL. */
  readonly password: Buffer
  readonly salt: Buffer
  /** The length of the result in bytes; bcrypt always returns 23. */
  readonly length: number
}

/** Computes one hash on a thread of libuv's pool. */
export type Derive = (derivation: Derivation) => Promise<Buffer>

export const derive: Derive = async derivation => {
  switch (derivation.recipe.algorithm) {
    case 'scrypt': return computed(byScrypt(derivation.recipe, derivation))
    case 'bcrypt': return computed(byBcrypt(derivation.recipe, derivation, bcryptLibrary()))
    default: return computed(byArgon2(derivation.recipe, derivation, argon2Library()))
  }
}

/** Turns an error of the hashing library into an `AUTH_FAULT`: its text is for the log only. */
async function computed (hash: Promise<Buffer>): Promise<Buffer> {
  try {
    return await hash
  } catch (cause) {
    throw internalError('a password hash could not be computed', cause)
  }
}

/**
 * Loads the packages that these recipes need, so that a missing package stops the boot and not the first login.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming the package.
 */
export function loadLibraries (recipes: readonly Recipe[]): void {
  for (const { algorithm } of recipes) {
    if (algorithm === 'bcrypt') bcryptLibrary()
    else if (algorithm !== 'scrypt') argon2Library()
  }
}

const use = 'This password hash'

function argon2Library () {
  return loadPeer('@node-rs/argon2', use) as typeof import('@node-rs/argon2')
}

function bcryptLibrary () {
  return loadPeer('@node-rs/bcrypt', use) as typeof import('@node-rs/bcrypt')
}

/** The numbers behind the library's `const enum`s, which exist only in its types. */
const kinds = { argon2d: 0, argon2i: 1, argon2id: 2 } as const
const versions = { 16: 0, 19: 1 } as const

async function byArgon2 (
  recipe: Argon2Recipe, { password, salt, length }: Derivation, { hashRaw }: ReturnType<typeof argon2Library>
): Promise<Buffer> {
  return hashRaw(password, {
    algorithm: kinds[recipe.algorithm],
    version: versions[recipe.version],
    memoryCost: recipe.memorySize,
    timeCost: recipe.passes,
    parallelism: recipe.parallelism,
    salt,
    outputLen: length
  })
}

async function byBcrypt (
  { cost }: Extract<Recipe, { algorithm: 'bcrypt' }>,
  { password, salt }: Derivation,
  { hash }: ReturnType<typeof bcryptLibrary>
): Promise<Buffer> {
  const text = await hash(password, { salt, cost, version: '2b', rejectLongPasswords: true })
  return fromBcrypt64(text.slice(-31))
}

const scryptKey: (
  password: Buffer, salt: Buffer, length: number, options: ScryptOptions
) => Promise<Buffer> = promisify(scrypt)

async function byScrypt (
  { cost, blockSize, parallelization }: Extract<Recipe, { algorithm: 'scrypt' }>, { password, salt, length }: Derivation
): Promise<Buffer> {
  // Twice what RFC 7914 asks for, because OpenSSL counts some memory of its own.
  const maxmem = 256 * blockSize * (cost + parallelization)
  return scryptKey(password, salt, length, { cost, blockSize, parallelization, maxmem })
}
