import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { createReader } from '../kit/read-credential.js'
import { deriveKey } from '../secrets/secret-uses.js'
import { decodeBase64url } from '../util/encoding.js'

/**
 * Recognises browsers on which people logged in before, by a sealed cookie that lists accounts. The cookie only chooses
 * the count of guesses; it authenticates nobody.
 */
export interface KnownDevices {
  /**
   * Returns the id of the count for the device's guesses at this account; `null` when the request has no cookie, or
   * nobody logged in to the account on the device.
   */
  idFor (request: FastifyRequest, account: Buffer): string | null
  /** Sets the cookie, with the account added. */
  remember (reply: FastifyReply, account: Buffer): void
}

interface Device {
  readonly id: Buffer
  /** The latest login first. */
  readonly accounts: readonly Buffer[]
}

const cookieName = '__Host-gatehouse-device'
/** The time since the last login on the device: 90 days. */
const maxAgeSeconds = 90 * 86_400
/** Accounts in one cookie. */
const maxAccounts = 8
/** Bytes of an account's tag, and of the id of a device. */
const tagLength = 16
/** Bytes of the version and the time. */
const headerLength = 7
const version = 1

/** @param secrets the newest first. The first one encrypts; cookies of all of them are accepted. */
export function createKnownDevices (secrets: readonly Uint8Array[]): KnownDevices {
  const keys = secrets.map(secret => deriveKey(secret, 'device cookie'))
  const read = createReader(`cookie:${cookieName}`, 'the cookie of known devices')

  const deviceOf = (request: FastifyRequest): Device | null => {
    const text = read(request)
    return typeof text === 'string' ? parse(open(keys, text)) : null
  }

  return {
    idFor (request, account) {
      const device = deviceOf(request)
      const tag = account.subarray(0, tagLength)
      const isKnown = device?.accounts.some(each => each.equals(tag)) === true
      return isKnown ? Buffer.concat([device.id, tag]).toString('base64url') : null
    },
    remember (reply, account) {
      const tag = account.subarray(0, tagLength)
      const known = deviceOf(reply.request)
      const accounts = [tag, ...(known?.accounts ?? []).filter(each => !each.equals(tag))].slice(0, maxAccounts)
      const sealed = seal(keys, Buffer.concat([header(), known?.id ?? randomBytes(tagLength), ...accounts]))
      // only the login reads it, which other sites cannot send
      reply.header(
        'set-cookie', `${cookieName}=${sealed}; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=${maxAgeSeconds}`
      )
    }
  }
}

/** Returns the version, and the time of the login in seconds since 1970. */
function header (): Buffer {
  const bytes = Buffer.alloc(headerLength)
  bytes.writeUInt8(version)
  bytes.writeUIntBE(Math.floor(Date.now() / 1000), 1, 6)
  return bytes
}

function parse (bytes: Buffer | null): Device | null {
  if (bytes === null || bytes.readUInt8() !== version || Date.now() / 1000 - bytes.readUIntBE(1, 6) > maxAgeSeconds) {
    return null
  }
  const tagAt = (start: number): Buffer => bytes.subarray(start, start + tagLength)
  const first = headerLength + tagLength
  const count = (bytes.length - first) / tagLength
  return { id: tagAt(headerLength), accounts: Array.from({ length: count }, (_, i) => tagAt(first + i * tagLength)) }
}

/** Encrypts with AES-256-GCM. Returns the random nonce, the ciphertext and the tag in base64url. */
function seal ([key = Buffer.alloc(0)]: readonly Buffer[], text: Buffer): string {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64url')
}

function open (keys: readonly Buffer[], sealed: string): Buffer | null {
  const bytes = sealed.length > 512 ? null : decodeBase64url(sealed)
  if (bytes === null || bytes.length < 28 + headerLength + tagLength) return null
  for (const key of keys) {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAuthTag(bytes.subarray(-16))
    try {
      return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
    } catch { /* sealed with another key, or forged */ }
  }
  return null
}
