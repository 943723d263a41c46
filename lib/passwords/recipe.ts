import { misconfigured } from '../errors.js'
import { joinNames } from '../util/describe.js'
import { isObject } from '../util/objects.js'
import { object, oneOf, optional, type Parser, wholeNumber } from '../util/options.js'

/** Parameters of argon2id (RFC 9106). */
export interface Argon2idOptions {
  readonly algorithm?: 'argon2id'
  /** KiB. Default 19,456. */
  readonly memorySize?: number
  /** Default 2. */
  readonly passes?: number
  /** Lanes. Default 1. */
  readonly parallelism?: number
}

/** Parameters of scrypt (RFC 7914). */
export interface ScryptOptions {
  readonly algorithm: 'scrypt'
  /** N, a power of two. Default 131,072. A hash takes `128 * cost * blockSize` bytes of memory. */
  readonly cost?: number
  /** r. Default 8. */
  readonly blockSize?: number
  /** p. Default 1. */
  readonly parallelization?: number
}

/** Parameters of bcrypt, for systems that support nothing better. It uses only the first 72 bytes of a password. */
export interface BcryptOptions {
  readonly algorithm: 'bcrypt'
  /** The base-2 logarithm of the number of rounds. Default 12. */
  readonly cost?: number
}

/** The algorithm and parameters of new hashes. */
export type HashOptions = Argon2idOptions | ScryptOptions | BcryptOptions

/** Parameters of a hash by argon2. New hashes do not use argon2i, argon2d or version 16; they are only verified. */
export interface Argon2Recipe {
  readonly algorithm: 'argon2id' | 'argon2i' | 'argon2d'
  readonly version: 16 | 19
  readonly memorySize: number
  readonly passes: number
  readonly parallelism: number
}

/** The algorithm of one hash, with all of its parameters. */
export type Recipe = Argon2Recipe | Readonly<Required<ScryptOptions>> | Readonly<Required<BcryptOptions>>

type Numbers = Readonly<Record<string, number>>

const algorithms = ['argon2id', 'scrypt', 'bcrypt'] as const

const number = (defaultValue: number): Parser<number> => optional(wholeNumber(), defaultValue)
const named = <const A extends string>(algorithm: A): Parser<A> => optional(oneOf(algorithm), algorithm)

const parseArgon2id = object({
  algorithm: named('argon2id'),
  memorySize: number(19_456),
  passes: number(2),
  parallelism: number(1)
})

const parsers = {
  argon2id: (value: unknown, path: string) => Object.freeze({ ...parseArgon2id(value, path), version: 19 as const }),
  scrypt: object({
    algorithm: named('scrypt'),
    cost: number(2 ** 17),
    blockSize: number(8),
    parallelization: number(1)
  }),
  bcrypt: object({ algorithm: named('bcrypt'), cost: number(12) })
}

/** The minimum parameters of OWASP's Password Storage Cheat Sheet: a recipe must reach every value of one row. */
const floors: Readonly<Record<typeof algorithms[number], readonly Numbers[]>> = {
  argon2id: [
    [47_104, 1], [19_456, 2], [12_288, 3], [9_216, 4], [7_168, 5]
  ].map(([memorySize = 0, passes = 0]) => ({ memorySize, passes })),
  scrypt: [[17, 1], [16, 2], [15, 3], [14, 5], [13, 10]].map(
    ([log = 0, parallelization = 0]) => ({ cost: 2 ** log, blockSize: 8, parallelization })
  ),
  bcrypt: [{ cost: 10 }]
}

/** The maximum work of an accepted hash, in microseconds: longer than any login would wait. */
const maxMicroseconds = 20_000_000
const maxMemoryBytes = 2 ** 30

/**
 * Parses {@link HashOptions}, and completes them.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `path`.
 */
export function recipeFrom (options: unknown, path: string): Recipe {
  const algorithm = isObject(options) && Object.hasOwn(options, 'algorithm') ? options.algorithm : 'argon2id'
  const recipe = parsers[oneOf(...algorithms)(algorithm, `${path}.algorithm`)](options, path)
  const problem = recipeProblem(recipe)
  if (problem !== null) throw misconfigured(`${path} cannot be used: ${problem}.`)
  return recipe
}

/**
 * Refuses recipes below OWASP's minimum.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, naming `path`.
 */
export function checkStrength (recipe: Recipe, path: string): Recipe {
  const numbers = recipe as unknown as Numbers
  const rows = floors[recipe.algorithm as keyof typeof floors]
  if (rows.some(row => Object.entries(row).every(([name, least]) => Number(numbers[name]) >= least))) return recipe
  const known = rows.map(row => Object.entries(row).map(([name, least]) => `${name} ${least}`).join(', '))
  throw misconfigured(
    `${path} is too weak for ${recipe.algorithm}. The minimum is ${joinNames(known.map(each => `(${each})`))}.`
  )
}

/**
 * Returns the reason why a hash with these parameters cannot be computed in acceptable time and memory, as the end of a
 * sentence; `null` if it can.
 */
export function recipeProblem (recipe: Recipe): string | null {
  const wrong = rangeProblem(recipe)
  if (wrong !== null) return wrong
  if (memoryOf(recipe) > maxMemoryBytes) return 'its parameters require more than 1 GiB of memory'
  return workOf(recipe) > maxMicroseconds ? 'its parameters require more than about 20 seconds of work' : null
}

function rangeProblem (recipe: Recipe): string | null {
  switch (recipe.algorithm) {
    case 'bcrypt': return recipe.cost >= 4 && recipe.cost <= 31 ? null : 'the cost of bcrypt is 4 to 31'
    case 'scrypt': {
      const { cost, blockSize, parallelization } = recipe
      // RFC 7914, 2: N is a power of two, less than 2^(128 * r / 8)
      const fits = cost >= 2 && Number.isInteger(Math.log2(cost)) && blockSize >= 1 && parallelization >= 1 &&
        Math.log2(cost) < 16 * blockSize
      return fits ? null : 'the cost of scrypt is a power of two, and blockSize and parallelization are at least 1'
    }
    default: {
      const { memorySize, passes, parallelism } = recipe
      // RFC 9106, 3.1; the library takes 255 lanes
      const fits = passes >= 1 && parallelism >= 1 && parallelism <= 255 && memorySize >= 8 * parallelism
      return fits ? null : 'argon2 needs at least 1 pass, 1 to 255 lanes and 8 KiB of memory for each of them'
    }
  }
}

function memoryOf (recipe: Recipe): number {
  if (recipe.algorithm === 'bcrypt') return 4096
  return recipe.algorithm === 'scrypt'
    ? 128 * recipe.blockSize * (recipe.cost + recipe.parallelization)
    : 1024 * recipe.memorySize
}

/** Estimates the microseconds of one core: precise enough to find the slower of two recipes. */
export function workOf (recipe: Recipe): number {
  switch (recipe.algorithm) {
    case 'bcrypt': return 55 * 2 ** recipe.cost
    case 'scrypt': return 0.4 * recipe.cost * recipe.blockSize * recipe.parallelization
    default: return recipe.memorySize * recipe.passes / 3
  }
}

/**
 * Returns true if a hash should be replaced: its algorithm differs, or a parameter that makes guessing expensive is
 * lower.
 */
export function isWeaker (recipe: Recipe, current: Recipe): boolean {
  if (recipe.algorithm === 'scrypt' && current.algorithm === 'scrypt') {
    return recipe.cost < current.cost || recipe.blockSize < current.blockSize ||
      recipe.parallelization < current.parallelization
  }
  if (recipe.algorithm === 'bcrypt' && current.algorithm === 'bcrypt') return recipe.cost < current.cost
  if (recipe.algorithm === 'argon2id' && current.algorithm === 'argon2id') {
    return recipe.version < current.version || recipe.memorySize < current.memorySize || recipe.passes < current.passes
  }
  return true
}
