import { createHmac, hash, hkdfSync, randomBytes } from 'node:crypto'
import { getOrCreate } from '../util/objects.js'
import { report } from '../util/reports.js'
import { textOf } from './disguised-keys.js'

/** One use of a secret. Secrets with the same purpose may be equal. */
export interface SecretUse {
  readonly purpose: string
  /** The option that has the secret: `schemes.web.secret`. */
  readonly path: string
}

/** Digests under a key that only this process has, so that nothing of a secret is kept. */
const digestKey = randomBytes(32)

type Uses = Map<string, SecretUse[]>

const usesOfApps = new WeakMap<object, Uses>()

/** Secrets of parts that belong to no application: the peppers of `passwords()`. */
const usesOfProcess: Uses = new Map()

/** Notes the use of a secret, and reports one that looks like that of a development set-up or an example. */
export function noteSecret (app: object, use: SecretUse, secret: string | Uint8Array): void {
  add(getOrCreate(usesOfApps, app, () => new Map<string, SecretUse[]>()), use, secret)
  const texts = formsOf(secret).map(form => textOf(form) ?? '')
  if (texts.some(text => placeholder.test(text) || development.test(text))) report(app, 'placeholder-secret', use.path)
}

/** Notes the use of a secret that every application in the process shares. */
export function noteSharedSecret (use: SecretUse, secret: Uint8Array): void {
  add(usesOfProcess, use, secret)
}

function add (uses: Uses, use: SecretUse, secret: string | Uint8Array): void {
  for (const form of formsOf(secret)) {
    const digest = createHmac('sha256', digestKey).update(form).digest('base64')
    const others = getOrCreate<string, SecretUse[]>(uses, digest, () => [])
    if (!others.some(({ path }) => path === use.path)) others.push(use)
  }
}

/**
 * Returns the places of each secret that an application uses for more than one purpose, as text, and forgets the
 * digests.
 */
export function takeSharedSecrets (app: object): readonly string[] {
  const uses = usesOfApps.get(app) ?? new Map<string, SecretUse[]>()
  usesOfApps.delete(app)
  const found = new Set<string>()
  for (const [digest, own] of uses) {
    const all = [...own, ...usesOfProcess.get(digest) ?? []]
    if (new Set(all.map(({ purpose }) => purpose)).size > 1) found.add(all.map(({ path }) => path).join(' and '))
  }
  return [...found]
}

/** Bytes of the `info` of HKDF that Node accepts. */
const maxInfo = 1024

/** Derives a key by HKDF (RFC 5869), so that the uses of one secret have unrelated keys. @param length bytes */
export function deriveKey (secret: Uint8Array, purpose: string, length = 32): Buffer {
  const info = `fastify-gatehouse 1 ${purpose}`
  return Buffer.from(
    hkdfSync('sha256', secret, '', Buffer.byteLength(info) > maxInfo ? hash('sha256', info) : info, length)
  )
}

/**
 * Matches placeholders of examples, such as `<your secret>` and `changeme`. It must not match random keys, so short
 * words count only if no character of an encoding follows.
 */
export const placeholder = new RegExp([
  'change.?(?:me|this|it)', 'replace.?(?:me|this|it|with)', 'your.?(?:own.?)?(?:secret|key|password|token)',
  'placeholder', 'example', /\.\.\./.source,
  '^<.*>$', /^\$\{.*\}$/.source, '^(?:password|default|secret)', /^(?:test|dummy|todo|fixme|xxxx)(?![\w+/-])/.source
].join('|'), 'i')

/**
 * Matches secrets that say that they are not meant for production, such as `dev-secret-…` and `local_session_key…`. As
 * a random key must not match, two words are needed, or a long one.
 */
const development = new RegExp([
  '(?:dev|local|test|testing|staging|sample|dummy|insecure|unsafe)[-_. ]?(?:secret|only|password|passwd|token|session)',
  'development', 'not.?(?:for|in).?prod', 'do.?not.?use', 'insecure'
].join('|'), 'i')

/** Returns the bytes that a secret may represent: its own, and decoded from hex, base64 or base64url. */
export function formsOf (secret: string | Uint8Array): readonly Buffer[] {
  const bytes = Buffer.from(secret as Uint8Array)
  const trimmed = bytes.toString().trim()
  const forms = [typeof secret === 'string' ? Buffer.from(trimmed) : bytes]
  if (/^(?:[0-9a-f]{2})+$/i.test(trimmed)) forms.push(Buffer.from(trimmed, 'hex'), Buffer.from(trimmed.toLowerCase()))
  if (/^[\w+/-]+={0,2}$/.test(trimmed)) forms.push(Buffer.from(trimmed, 'base64'))
  return forms
}
