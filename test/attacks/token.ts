import { createHmac, generateKeyPairSync, randomBytes, sign as signBytes, type KeyObject } from 'node:crypto'
import type { Jwk } from '../../lib/index.js'

/** The keys of the catalogue. The `evil*` keys are the attacker's, and nobody trusts them. */
export const secret = randomBytes(32).toString('base64url')
const pairs: Record<string, { publicKey: KeyObject, privateKey: KeyObject }> = {
  rs1: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  rsB: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  es1: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ed1: generateKeyPairSync('ed25519'),
  evilRsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  evilEc: generateKeyPairSync('ec', { namedCurve: 'P-256' })
}
const algorithms: Record<string, string> = { rs1: 'RS256', rsB: 'RS256', es1: 'ES256', ed1: 'EdDSA' }

export function publicJwk (name: string): Jwk {
  const pair = pairs[name]
  if (pair === undefined) throw new Error(`no key ${name}`)
  const named = name in algorithms ? { kid: name, alg: algorithms[name], use: 'sig' } : {}
  return { ...pair.publicKey.export({ format: 'jwk' }), ...named } as Jwk
}

/** A secret that was put into a JWK set by mistake. */
export const octJwk = { kty: 'oct', kid: 'o1', k: randomBytes(32).toString('base64url') }

export function publicPem (name: string): string {
  return pairs[name]?.publicKey.export({ type: 'spki', format: 'pem' }) as string
}

/** The catalogue's description of a token. */
export interface TokenSpec {
  header?: Record<string, unknown>
  header_raw?: string
  payload?: Record<string, unknown>
  payload_raw?: string
  key?: string | null
  sign?: string
  mutate?: string[]
  raw?: string
}

const now = (): number => Math.floor(Date.now() / 1000)
const base = {
  iss: 'https://issuer.test',
  aud: 'https://api.test',
  sub: 'user-1',
  iat: 'now',
  nbf: 'now',
  exp: 'now+300',
  scope: 'orders:read'
}

function instant (value: unknown): unknown {
  const match = typeof value === 'string' ? /^now([+-]\d+)?$/.exec(value) : null
  if (match !== null) return now() + Number(match[1] ?? 0)
  const quoted = typeof value === 'string' ? /^"(\d+)" \(JSON string\)$/.exec(value) : null
  return quoted === null ? value : quoted[1]
}

function claims (payload: Record<string, unknown>): Record<string, unknown> {
  const { $extends, $delete = [], ...own } = payload
  const all: Record<string, unknown> = { ...($extends === 'BASE' ? base : {}), ...own }
  for (const name of $delete as string[]) delete all[name]
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, instant(value)]))
}

/** Returns an HMAC key that the catalogue describes. */
function described (text: string): Buffer {
  switch (text) {
    case 'pem-spki(rs1.public)': return Buffer.from(publicPem('rs1'))
    case 'decoded(o1.k)': return Buffer.from(octJwk.k, 'base64url')
    case 'json(rs1.publicJwk)': return Buffer.from(JSON.stringify(publicJwk('rs1')))
    default: return Buffer.from(text)
  }
}

function signature (spec: TokenSpec, input: string): Buffer {
  const algorithm = spec.sign ?? String(spec.header?.alg)
  if (algorithm === 'empty') return Buffer.alloc(0)
  const literal = /^bytes:(?:(\w\w)\*(\d+))(?: (\w\w))?$/.exec(algorithm)
  if (literal !== null) {
    return Buffer.concat([
      Buffer.alloc(Number(literal[2]), Number.parseInt(literal[1] ?? '0', 16)), Buffer.from(literal[3] ?? '', 'hex')
    ])
  }
  if (spec.key == null) throw new Error('a signature needs a key')
  if (algorithm === 'HS256') {
    return createHmac(
      'sha256', spec.key === 'hs1' ? secret : described(spec.key.slice('bytes:'.length))
    ).update(input).digest()
  }
  const key = pairs[spec.key.replace('.private', '')]?.privateKey
  if (key === undefined) throw new Error(`no key ${spec.key}`)
  const der = spec.mutate?.includes('sig:to-der') === true
  if (algorithm === 'EdDSA') return signBytes(null, Buffer.from(input), key)
  return signBytes(
    algorithm === 'RS512' ? 'sha512' : 'sha256', Buffer.from(input), { key, dsaEncoding: der ? 'der' : 'ieee-p1363' }
  )
}

/** Sets an unused bit in the last character of a segment, which then decodes to the same bytes and is not canonical. */
function setUnusedBits (segment: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return segment.slice(0, -1) + alphabet[alphabet.indexOf(segment.at(-1) ?? '') | 1]
}

function mutated (bytes: Buffer, mutation: string): Buffer {
  switch (mutation) {
    case 'sig:drop-last-byte': return bytes.subarray(0, -1)
    case 'sig:append-00': return Buffer.concat([bytes, Buffer.alloc(1)])
    case 'sig:flip-bit 0': {
      const copy = Buffer.from(bytes)
      copy.writeUInt8(copy.readUInt8(0) ^ 1, 0)
      return copy
    }
    default: return bytes
  }
}

/** Creates the token of a description. */
export function token (spec: TokenSpec): string {
  if (spec.raw !== undefined) return raw(spec.raw)
  const [mutation = ''] = spec.mutate ?? []
  const header = { ...spec.header }
  if (header.jwk === 'evilEc.publicJwk') header.jwk = publicJwk('evilEc')
  const headerText = spec.header_raw ?? JSON.stringify(header)
  const payloadText = spec.payload_raw?.replace(
    /\{now([+-]\d+)\}/g, (_, offset: string) => String(now() + Number(offset))
  ) ?? JSON.stringify(claims(spec.payload ?? {}))
  const pad = (part: string): string => mutation === `${part}:append "=" (re-signed)` ? '=' : ''
  const encodedHeader = Buffer.from(headerText).toString('base64url') + pad('header')
  const encodedPayload = (
    mutation === 'payload:unencoded' ? payloadText : Buffer.from(payloadText).toString('base64url')
  ) + pad('payload')
  const bytes = mutated(signature(spec, `${encodedHeader}.${encodedPayload}`), mutation)
  const encoded = bytes.toString('base64url')
  const last = mutation === 'sig:set-unused-bits'
    ? setUnusedBits(encoded)
    : mutation === 'sig:append "="' ? `${encoded}=` : encoded
  return `${encodedHeader}.${encodedPayload}.${last}`
}

function raw (text: string): string {
  const repeated = /^"(.)" \* (\d+)$/.exec(text)
  if (repeated !== null) return (repeated[1] ?? '').repeat(Number(repeated[2]))
  if (!text.startsWith('json:')) return text
  const [header = '', payload = '', sig = ''] = token({
    header: { alg: 'RS256', kid: 'rs1', typ: 'JWT' }, payload: { $extends: 'BASE' }, key: 'rs1.private'
  }).split('.')
  return text.startsWith('json:general')
    ? JSON.stringify({ payload, signatures: [{ protected: header, signature: sig }] })
    : JSON.stringify({ payload, protected: header, signature: sig })
}

export function validToken (more: Record<string, unknown> = {}): string {
  return token({ header: { alg: 'HS256', typ: 'JWT' }, payload: { $extends: 'BASE', ...more }, key: 'hs1' })
}
