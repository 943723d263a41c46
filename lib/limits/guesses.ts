import { createHash, hash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Right } from '../../types/answer.js'
import type { CrossSite, Limited, Unavailable } from '../../types/outcome.js'
import type { Checked, Guesses } from '../../types/scheme.js'
import type { Store } from '../../types/store.js'
import { AuthError, authFailure, refusal } from '../errors.js'
import { changesState, otherSite } from '../guard/cross-site.js'
import { crossSite, limited, unavailable, unavailableOr } from '../kit/outcome.js'
import { isNo } from '../util/answer.js'
import { addressOf, unknownAddress } from '../util/client-address.js'
import { createKnownDevices } from './known-devices.js'
import type { GuessSettings } from './options.js'
import { createReservations, type Slot, type Reservations } from './reservations.js'

/** What the guesses of one application work with. */
export interface GuessLimiter {
  /** Guesses at the accounts of one realm, by callers whom no device cookie helps: HTTP Basic, client secrets. */
  of (realm: string): Guesses
  /**
   * A guess at an application's own login. Known devices have a count of their own, and a success makes the device known.
   * @returns what `check` returned, `null` for a wrong guess.
   * @throws {AuthError} `AUTH_RATE_LIMITED`, `AUTH_UNAVAILABLE`, `AUTH_CROSS_SITE`; `AUTH_INVALID_CREDENTIALS` when the account is no text.
   */
  login<T> (reply: FastifyReply, realm: string, account: unknown, check: () => T | Promise<T>): Promise<Right<T> | null>
}

type Place = readonly [slots: Reservations, id: string]
type Refused = Limited | Unavailable | CrossSite

/** @param settings `null`: nothing is counted. */
export function createGuessLimiter (store: Store, settings: GuessSettings | null, origins: ReadonlySet<string>): GuessLimiter {
  const counted = settings === null ? null : createGuessCounters(store, settings)
  return {
    of: realm => ({
      async attempt (request, account, check) {
        const other = changesState(request) ? otherSite(request, origins) : null
        if (other !== null) return crossSite(`a browser says that another site sent this password: ${other}`)
        return counted === null ? { kind: 'checked', result: rightOrNull(await check()) } : guess(request, counted.places(request, accountTag(realm, account)), check)
      }
    }),
    async login (reply, realm, account, check) {
      const { request } = reply
      if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
      // A form on another site would guess from the addresses, and with the devices, of whoever looks at it.
      const other = otherSite(request, origins)
      if (other !== null) refuseLogin(reply, crossSite(`a browser says that another site sent this password: ${other}`))
      if (typeof account !== 'string') throw refusal(authFailure('AUTH_INVALID_CREDENTIALS', null, 'the account is no text'))
      if (counted === null) return rightOrNull(await check())
      const tag = accountTag(realm, account)
      const device = counted.devices.idFor(request, tag)
      const outcome = await guess(request, device === null ? counted.places(request, tag) : [[counted.device, device]], check)
      if (outcome.kind !== 'checked') return refuseLogin(reply, outcome)
      if (outcome.result !== null) counted.devices.remember(reply, tag)
      return outcome.result
    }
  }
}

function createGuessCounters (store: Store, settings: GuessSettings) {
  const { perAccount, perAddress, deviceSecrets } = settings
  const account = createReservations(store, 'guess-account', { ...settings, max: perAccount })
  const address = createReservations(store, 'guess-address', { ...settings, max: perAddress })
  const warn = warnOnce('fastify-gatehouse: guesses are counted per address, and request.ip is none (a Unix socket, or a proxy that is not named by trustProxy): all such clients share one count.')
  return {
    devices: createKnownDevices(deviceSecrets),
    device: createReservations(store, 'guess-device', { ...settings, max: perAccount }),
    /** The address first: one that has no slots left does not so much as touch the counts of others' accounts. */
    places: (request: FastifyRequest, tag: Buffer): readonly Place[] => {
      const from = addressOf(request.ip)
      if (from === unknownAddress) warn(request)
      return [[address, nameOf(hash('sha256', from, 'buffer'))], [account, nameOf(tag)]]
    }
  }
}

/** Once, as it is the same for every request: who stands behind one proxy would all be locked out by the wrong guesses of one. */
function warnOnce (sentence: string): (request: FastifyRequest) => void {
  let warned = false
  return ({ log }) => {
    if (!warned) log.warn(sentence)
    warned = true
  }
}

/** What a digest counts under: 128 bits of it, as nobody gains by two that are alike, and a flood of names costs memory by their length. */
function nameOf (digest: Buffer): string {
  return digest.toString('base64url', 0, 16)
}

/** Returns what a check found, whole; `null` where it said no. A check has no form of its own, so that every falsy answer is a no. */
function rightOrNull<T> (answer: T): Right<T> | null {
  return !answer || isNo(answer) ? null : answer as Right<T>
}

/** Reserves a slot in every place, then checks. */
async function guess<T> (request: FastifyRequest, places: readonly Place[], check: () => T | Promise<T>): Promise<Checked<T> | Refused> {
  const slots: Slot[] = []
  try {
    for (const [from, id] of places) {
      const slot = await from.reserve(id)
      if (typeof slot === 'number') return await full(request, slots, slot)
      slots.push(slot)
    }
  } catch (error) {
    await settle(request, slots, 'giveBack')
    return notCounted(request, error)
  }
  return judge(request, slots, check)
}

async function judge<T> (request: FastifyRequest, slots: readonly Slot[], check: () => T | Promise<T>): Promise<Checked<T>> {
  // What is thrown is no answer: the password was not judged.
  let end: 'giveBack' | 'keep' = 'giveBack'
  try {
    const result = rightOrNull(await check())
    if (result === null) end = 'keep'
    return { kind: 'checked', result }
  } finally {
    await settle(request, slots, end)
  }
}

async function full (request: FastifyRequest, slots: readonly Slot[], until: number): Promise<Limited> {
  await settle(request, slots, 'giveBack')
  return limited('too many wrong guesses at this account, or from this address', Math.max(1, Math.ceil((until - Date.now()) / 1000)))
}

/** A store that fails now leaves slots taken until their window ends: what was found out of the password stands all the same. */
async function settle (request: FastifyRequest, slots: readonly Slot[], end: 'giveBack' | 'keep'): Promise<void> {
  for (const answer of await Promise.allSettled(slots.map(async slot => slot[end]()))) {
    if (answer.status === 'rejected') request.log.warn({ auth: { reason: detailOf(answer.reason) } }, 'a count of guesses could not be written')
  }
}

function notCounted (request: FastifyRequest, error: unknown): Unavailable {
  const { detail } = unavailableOr(error)
  return unavailable(`guesses cannot be counted: ${detail}`)
}

function detailOf (error: unknown): string {
  return error instanceof AuthError ? error.detail : 'the store threw'
}

const codes = { limited: 'AUTH_RATE_LIMITED', unavailable: 'AUTH_UNAVAILABLE', 'cross-site': 'AUTH_CROSS_SITE' } as const

/** On the reply, because error handlers of applications lose the headers of an error. */
function refuseLogin (reply: FastifyReply, outcome: Refused): never {
  const code = codes[outcome.kind]
  if ('retryAfter' in outcome) reply.header('retry-after', outcome.retryAfter)
  reply.request.log.info({ auth: { code, reason: outcome.detail } }, 'login refused')
  throw refusal(authFailure(code, null, outcome.detail))
}

/** Characters of a name that tell accounts apart here. Longer ones that begin alike count as one. */
const maxNameLength = 1_024

/** What is not seen, or is only an accent on the letter before: databases with a loose collation take names with and without them for one. */
const invisible = /[\p{Default_Ignorable_Code_Point}\p{Cc}\u0300-\u036f]/gu

/**
 * A name as it counts: Unicode's compatibility form (NFKC), case folded, without accents and invisible characters, spaces trimmed and single.
 * Two accounts whose names differ in nothing else share a count; the other way round, every spelling that a looser database lets in would be a count of its own.
 */
export function normalizeName (name: string): string {
  return name.slice(0, maxNameLength).normalize('NFKD').replace(invisible, '').toUpperCase().toLowerCase().normalize('NFKC').replace(/\s+/g, ' ').trim()
}

/** 32 bytes for an account of a realm, whatever its spelling. */
export function accountTag (realm: string, name: string): Buffer {
  return createHash('sha256').update(JSON.stringify([realm, normalizeName(name)])).digest()
}
