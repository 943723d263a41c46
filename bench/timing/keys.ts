import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { apiKey } from '../../lib/index.js'
import { KeyFormat } from '../../lib/schemes/api-key/key.js'
import type { Question } from './question.js'
import { stage, type Stage } from './stage.js'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const prefix = 'acme_live'
const format = new KeyFormat(prefix)
/** Right characters at the beginning. What is left is too long to be met by chance. */
const right = { managed: prefix.length + 1 + 20, table: 32 }

type Make = () => string

/** A key of good form and checksum that begins like a text, so that it is looked up. */
function managedLike (start: string): string {
  const random = format.generate()
  const body = start + random.slice(start.length, -6)
  let rest = crc32(body)
  let checksum = ''
  for (let i = 0; i < 6; i++) {
    checksum = alphabet.charAt(rest % 62) + checksum
    rest = Math.floor(rest / 62)
  }
  return whole(body + checksum)
}

function tableLike (start: string): string {
  return whole(start + randomBytes(32).toString('base64url').slice(start.length))
}

/**
 * One new string in one piece, however it was put together: otherwise the first to read it would pay for joining it.
 */
function whole (text: string): string {
  return Buffer.from(text).toString('latin1')
}

/**
 * Both are made alike: a wrong beginning that were new every time would be told from the right one by where it lies in
 * memory.
 */
function beginnings (known: string, other: string, like: (start: string) => string): Readonly<Record<string, Make>> {
  const [rightOne, wrongOne] = [known, other].map(whole)
  return { right: () => like(rightOne ?? ''), wrong: () => like(wrongOne ?? '') }
}

/** The same question through the application and of the scheme alone; each sample has keys that nobody sent before. */
function both (name: string, { send, call }: Stage, kinds: Readonly<Record<string, Make>>): readonly Question[] {
  const sendersOf = (way: Stage['send'] | Stage['call']) => Object.fromEntries(
    Object.entries(kinds).map(([kind, make]) => [kind, () => way({ 'x-api-key': make() })])
  )
  return [
    { name: `${name}, inject`, pace: 'fast', kinds: sendersOf(send) },
    { name: `${name}, scheme`, pace: 'fast', kinds: sendersOf(call) }
  ]
}

async function table (count: number): Promise<readonly Question[]> {
  const keys = Array.from({ length: count }, () => randomBytes(32).toString('base64url'))
  const known = keys[Math.floor(count / 2)] ?? ''
  const made = await stage(apiKey({ keys: new Map(keys.map((key, i) => [key, { id: `client-${i}` }])) }))
  return both(
    `key of a table of ${count}, its beginning`,
    made,
    beginnings(known.slice(0, right.table), tableLike('').slice(0, right.table), tableLike)
  )
}

async function managed (): Promise<readonly Question[]> {
  const made = await stage(apiKey({ managed: { prefix } }))
  const { key } = await made.app.gatehouse.apiKeys.of({ realm: 'web', id: 'alice' }).create({ name: 'laptop' })
  // the key itself is in the memory of the process: a hit beside which its neighbours are looked up
  await made.app.inject({ url: '/', headers: { 'x-api-key': key } })
  return both(
    'managed key, its beginning',
    made,
    beginnings(key.slice(0, right.managed), format.generate().slice(0, right.managed), managedLike)
  )
}

/** Keys that are sent again and again: many, because where one string happens to lie in memory can be told. */
const pool = 1_000

/**
 * A key that was taken back is sent for the first time since, beside one that never was; then both again and again, as
 * the answer is remembered.
 */
async function revoked (count: number): Promise<readonly Question[]> {
  const made = await stage(apiKey({ managed: { prefix } }))
  const ended: string[] = []
  for (let i = 0; i < count; i++) {
    const { key, record } = await made.app.gatehouse.apiKeys.of({
      realm: 'web', id: `user-${i}`
    }).create({ name: 'laptop' })
    await made.app.gatehouse.apiKeys.ofAnyOwner().revoke(record.id)
    ended.push(whole(key))
  }
  const again = Array.from(
    { length: pool }, () => ({ revoked: whole(ended.pop() ?? ''), unknown: managedLike(`${prefix}_`) })
  )
  const one = (): (typeof again)[number] => again[Math.floor(Math.random() * pool)] ?? { revoked: '', unknown: '' }
  return [
    ...both(
      'managed key, revoked or never issued, first sight',
      made,
      { revoked: () => ended.pop() ?? one().revoked, unknown: () => managedLike(`${prefix}_`) }
    ).slice(1),
    ...both(
      'managed key, revoked or never issued, again',
      made,
      { revoked: () => one().revoked, unknown: () => one().unknown }
    )
  ]
}

/** @param samples how often each question is asked in all. */
export async function keyQuestions (samples: number): Promise<readonly Question[]> {
  return [...await managed(), ...await table(1), ...await table(1000), ...await revoked(samples)]
}
