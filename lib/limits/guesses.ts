import { hash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { AuthFailure, CrossSite, Limited, Unavailable } from '../../types/outcome.js'
import type { Right } from '../../types/principal.js'
import type { Checked, Guesses } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import { AuthError, authFailure, internalError, isError, refusal } from '../errors.js'
import { reportRefusal } from '../events/events.js'
import { changesState, otherSite } from '../guard/cross-site.js'
import { crossSite, limited, unavailable, unavailableOr } from '../kit/outcome.js'
import { addressOf, unknownAddress } from '../util/client-address.js'
import { isNo } from '../util/objects.js'
import { createKnownDevices } from './known-devices.js'
import type { GuessSettings } from './options.js'
import { Reservations, type Slot } from './reservations.js'

/** Limits guesses of passwords and secrets in one application. */
export interface GuessLimiter {
  /**
   * Returns the limiter of a realm's accounts for credentials that come without cookies: HTTP Basic, client secrets.
   */
  of (realm: string): Guesses
  /**
   * Limits a guess at the application's own login. Known devices have a count of their own, and a success makes the
   * device known. Returns the result of `check`, or `null` for a wrong guess.
   * @throws {AuthError} `AUTH_RATE_LIMITED`, `AUTH_UNAVAILABLE`, `AUTH_CROSS_SITE`; `AUTH_INVALID_CREDENTIALS` when
   * the account is not a string.
   */
  login<T> (reply: FastifyReply, guessed: Guessed, check: () => T | Promise<T>): Promise<Right<T> | null>
  /**
   * Returns true if the application's login limits guesses on this request, or if guesses are not limited at all.
   */
  covers (request: FastifyRequest): boolean
  /**
   * Counts a wrong secret of a client program for the address alone: if it were counted for the client, a stranger
   * could lock the client out.
   * @returns the outcome for a client whose address has guessed too often, otherwise `null`.
   */
  wrongSecret (request: FastifyRequest): Promise<Limited | Unavailable | null>
}

/** The account that a guess at the application's own login is for. */
interface Guessed {
  readonly realm: string
  readonly account: unknown
}

/** A count that a guess needs a slot of. */
type GuessCount = readonly [reservations: Reservations, id: string]
type Refused = Limited | Unavailable | CrossSite

/** @param settings `null`: guesses are not limited. */
export function createGuessLimiter (
  store: Store, settings: GuessSettings | null, origins: ReadonlySet<string>
): GuessLimiter {
  const counters = settings === null ? null : createGuessCounters(store, settings)
  const attempted = new WeakSet<FastifyRequest>()
  return {
    of: realm => ({
      async attempt (request, account, check) {
        const other = changesState(request) ? otherSite(request, origins) : null
        if (other !== null) return crossSite(fromOtherSite(other))
        if (counters === null) return { kind: 'checked', result: rightOrNull(await check()) }
        return guess(request, counters.countsOf(request, accountTag(realm, account)), check)
      }
    }),
    async login (reply, { realm, account }, check) {
      const { request } = reply
      attempted.add(request)
      if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
      // a form on another site would guess with the addresses and devices of its visitors
      const other = otherSite(request, origins)
      if (other !== null) refuseLogin(reply, failureOf(crossSite(fromOtherSite(other))))
      if (typeof account !== 'string') {
        refuseLogin(reply, authFailure('AUTH_INVALID_CREDENTIALS', null, 'the account is not a string. Its field may ' +
          'have another name, or be missing or sent twice'))
      }
      if (counters === null) return rightOrNull(await check())
      // by the exact name: otherwise, each login of a person with a similar name would allow guesses at this account
      const exactTag = tagOf(realm, account)
      const device = counters.devices.idFor(request, exactTag)
      const counts = device === null
        ? counters.countsOf(request, accountTag(realm, account))
        : counters.deviceCounts(device, exactTag)
      const outcome = await guess(request, counts, check)
      if (outcome.kind !== 'checked') return refuseLogin(reply, failureOf(outcome))
      if (outcome.result !== null) counters.devices.remember(reply, exactTag)
      return outcome.result
    },
    covers: request => counters === null || attempted.has(request),
    async wrongSecret (request) {
      if (counters === null) return null
      const outcome = await guess(request, [counters.addressCount(request)], () => null)
      return outcome.kind === 'checked' ? null : outcome
    }
  }
}

function fromOtherSite (reason: string): string {
  return `the browser reports that another site sent this password: ${reason}`
}

function createGuessCounters (store: Store, settings: GuessSettings) {
  const { perAccount, perAddress, deviceSecrets } = settings
  const account = new Reservations(store, 'guess-account', { ...settings, max: perAccount })
  const address = new Reservations(store, 'guess-address', { ...settings, max: perAddress })
  const device = new Reservations(store, 'guess-device', { ...settings, max: perAccount })
  const devices = new Reservations(store, 'guess-devices', { ...settings, max: perAddress })
  const warn = warnOnce('fastify-gatehouse: guesses are counted per address, but request.ip is not an address (a ' +
    'Unix socket, or a proxy that trustProxy does not name): all such clients share one count.')
  const addressCount = (request: FastifyRequest): GuessCount => {
    const from = addressOf(request.ip)
    if (from === unknownAddress) warn(request)
    return [address, idOf(hash('sha256', from, 'buffer'))]
  }
  return {
    devices: createKnownDevices(deviceSecrets),
    addressCount,
    /** Counts all devices of an account too: who knew an old password may have made any number of devices known. */
    deviceCounts: (id: string, tag: Buffer): readonly GuessCount[] => [[device, id], [devices, idOf(tag)]],
    /** Puts the address first: an address without free slots does not change the counts of accounts. */
    countsOf: (request: FastifyRequest, tag: Buffer): readonly GuessCount[] =>
      [addressCount(request), [account, idOf(tag)]]
  }
}

function warnOnce (message: string): (request: FastifyRequest) => void {
  let warned = false
  return ({ log }) => {
    if (!warned) log.warn(message)
    warned = true
  }
}

/** Returns 128 bits of a digest: a collision helps nobody, and short ids save memory during a flood of names. */
function idOf (digest: Buffer): string {
  return digest.toString('base64url', 0, 16)
}

/**
 * Returns the result of a check, or `null` if it means a wrong guess: any falsy value does.
 * @throws {AuthError} `AUTH_FAULT` for an error that was returned and not thrown, which would count as a right guess.
 */
function rightOrNull<T> (answer: T): Right<T> | null {
  if (isError(answer)) throw internalError('the check of a guess returned an error. It must throw the error', answer)
  return !answer || isNo(answer) ? null : answer as Right<T>
}

/** Reserves a slot of every count, then checks. */
async function guess<T> (
  request: FastifyRequest, counts: readonly GuessCount[], check: () => T | Promise<T>
): Promise<Checked<T> | Limited | Unavailable> {
  const slots: Slot[] = []
  try {
    for (const [reservations, id] of counts) {
      const slot = await reservations.reserve(id)
      if (typeof slot === 'number') {
        await settle(request, slots, 'release')
        const wait = Math.max(1, Math.ceil((slot - Date.now()) / 1000))
        return limited('too many wrong guesses at this account, or from this address', wait)
      }
      slots.push(slot)
    }
  } catch (error) {
    await settle(request, slots, 'release')
    return unavailable(`guesses cannot be counted: ${unavailableOr(error).detail}`)
  }
  return runCheck(request, slots, check)
}

async function runCheck<T> (
  request: FastifyRequest, slots: readonly Slot[], check: () => T | Promise<T>
): Promise<Checked<T>> {
  // a check that throws did not judge the password
  let end: 'release' | 'keep' = 'release'
  try {
    const result = rightOrNull(await check())
    if (result === null) end = 'keep'
    return { kind: 'checked', result }
  } finally {
    await settle(request, slots, end)
  }
}

/** Ends the slots. If the store fails, it only logs: the slots stay taken until their window ends. */
async function settle (request: FastifyRequest, slots: readonly Slot[], end: 'release' | 'keep'): Promise<void> {
  for (const result of await Promise.allSettled(slots.map(async slot => slot[end]()))) {
    if (result.status === 'fulfilled') continue
    request.log.warn({ auth: { reason: detailOf(result.reason) } }, 'a count of guesses could not be written')
  }
}

function detailOf (error: unknown): string {
  return error instanceof AuthError ? error.detail : 'the store threw'
}

const codes = {
  limited: 'AUTH_RATE_LIMITED', unavailable: 'AUTH_UNAVAILABLE', 'cross-site': 'AUTH_CROSS_SITE'
} as const

function failureOf (outcome: Refused): AuthFailure {
  const retryAfter = 'retryAfter' in outcome ? outcome.retryAfter : null
  return { ...authFailure(codes[outcome.kind], null, outcome.detail), retryAfter }
}

/**
 * Logs a refused login. Sets `Retry-After` on the reply, because error handlers of applications may not copy the
 * headers of an error.
 */
function refuseLogin (reply: FastifyReply, failure: AuthFailure): never {
  const { retryAfter } = failure
  if (retryAfter !== null) reply.header('retry-after', retryAfter)
  reportRefusal(reply.request, failure, 'login refused')
  throw refusal(failure)
}

/** Characters of a name that are compared. Longer names with the same beginning share a count. */
const maxNameLength = 1_024

const invisible = /[\p{Default_Ignorable_Code_Point}\p{Cc}]/gu

/** Compares texts as databases with a loose collation do: by letters and digits, without case and accents (UTS 10). */
interface LooseCollation {
  compare (one: string, other: string): number
  /** The texts of one or two Latin letters or digits, in the order of the collation. */
  readonly latin: readonly string[]
}

/** Created for the first name of other characters: that takes several milliseconds. */
let looseCollation: LooseCollation | null = null

function createLooseCollation (): LooseCollation {
  const { compare } = new Intl.Collator('en', { sensitivity: 'base' })
  const [letters, digits] = [[...'abcdefghijklmnopqrstuvwxyz'], [...'0123456789']]
  const pairsOf = (all: readonly string[]): readonly string[] => all.flatMap(one => all.map(two => one + two))
  const latin = [...letters, ...digits, ...pairsOf(letters), ...pairsOf(digits), "'", '"'].sort(compare)
  return { compare, latin }
}

/**
 * Returns the Latin letters or digits that a character of any script is equal to in a loose collation: `o` for `ø`,
 * `ae` for `æ`, `3` for `٣`. Returns `''` for an accent of any script, which such a collation ignores, and other
 * characters as they are.
 */
function looseForm (character: string): string {
  const { compare, latin } = looseCollation ??= createLooseCollation()
  if (compare(character, '') === 0) return ''
  let [low, high] = [0, latin.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    const text = latin[middle] as string
    const order = compare(text, character)
    if (order === 0) return text
    if (order < 0) low = middle + 1
    else high = middle
  }
  return character
}

/**
 * Returns a name in Unicode's compatibility form (NFKC), case folded, without accents and invisible characters, with
 * Latin letters and digits for those that a loose collation treats as equal, spaces trimmed and collapsed. Accounts
 * whose names differ only in these share a count: otherwise every spelling that such a database accepts would have a
 * count of its own.
 */
export function normalizeName (name: string): string {
  const decomposed = name.slice(0, maxNameLength).normalize('NFKD')
  // cut again: one character may become 18, and each takes a microsecond
  const visible = decomposed.replace(invisible, '').slice(0, maxNameLength)
  const loose = visible.replace(/[^\x00-\x7f]/gu, looseForm)
  return loose.toUpperCase().toLowerCase().normalize('NFKC').replace(/\s+/g, ' ').trim()
}

/** Returns a digest of 32 bytes that identifies an account of a realm, however the name is spelled. */
export function accountTag (realm: string, name: string): Buffer {
  return tagOf(realm, normalizeName(name))
}

/** Returns a digest of 32 bytes that identifies a name of a realm. */
function tagOf (realm: string, name: string): Buffer {
  return hash('sha256', JSON.stringify([realm, name]), 'buffer')
}
