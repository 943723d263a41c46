import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { reader } from '../kit/read-credential.js'
import { decodeBase64url } from '../util/base64url.js'

/** KnownDevices on which people have logged in: a sealed cookie says which accounts a browser has been let into. It opens nothing, and lets nobody in. */
export interface KnownDevices {
  /** What the device's guesses at this account count under; `null` when the request carries no cookie, or the account was never entered with it. */
  idFor (request: FastifyRequest, account: Buffer): string | null
  /** Leaves the cookie on the device, the account being among its own. */
  remember (reply: FastifyReply, account: Buffer): void
}

interface Device {
  readonly id: Buffer
  /** The newest first. */
  readonly accounts: readonly Buffer[]
}

const cookieName = '__Host-gatehouse-device'
/** Seconds since the last login on the device: 90 days. */
const maxAge = 90 * 86_400
/** Accounts of one browser. */
const maxAccounts = 8
/** Bytes of each account and of the device's id. */
const size = 16
const version = 1

/** @param secrets the newest seals, all of them open. */
export function createKnownDevices (secrets: readonly Uint8Array[]): KnownDevices {
  const keys = secrets.map(secret => Buffer.from(hkdfSync('sha256', secret, '', 'fastify-gatehouse 1 device cookie', 32)))
  const read = reader(`cookie:${cookieName}`, 'the cookie of known devices')

  const deviceOf = (request: FastifyRequest): Device | null => {
    const text = read(request)
    return typeof text === 'string' ? parse(open(keys, text)) : null
  }

  return {
    idFor (request, account) {
      const device = deviceOf(request)
      const tag = account.subarray(0, size)
      return device?.accounts.some(each => each.equals(tag)) === true ? Buffer.concat([device.id, tag]).toString('base64url') : null
    },
    remember (reply, account) {
      const tag = account.subarray(0, size)
      const before = deviceOf(reply.request)
      const accounts = [tag, ...(before?.accounts ?? []).filter(each => !each.equals(tag))].slice(0, maxAccounts)
      const sealed = seal(keys, Buffer.concat([header(), before?.id ?? randomBytes(size), ...accounts]))
      // a login is a request of this site: Strict is enough
      reply.header('set-cookie', `${cookieName}=${sealed}; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=${maxAge}`)
    }
  }
}

/** A version, and when the device was last let in, in seconds since 1970. */
function header (): Buffer {
  const bytes = Buffer.alloc(7)
  bytes.writeUInt8(version)
  bytes.writeUIntBE(Math.floor(Date.now() / 1000), 1, 6)
  return bytes
}

function parse (bytes: Buffer | null): Device | null {
  if (bytes === null || bytes.readUInt8() !== version || Date.now() / 1000 - bytes.readUIntBE(1, 6) > maxAge) return null
  const accounts = bytes.subarray(7 + size)
  return { id: bytes.subarray(7, 7 + size), accounts: Array.from({ length: accounts.length / size }, (_, i) => accounts.subarray(i * size, (i + 1) * size)) }
}

/** AES-256-GCM under a random nonce: nonce, text, tag. */
function seal ([key = Buffer.alloc(0)]: readonly Buffer[], text: Buffer): string {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64url')
}

function open (keys: readonly Buffer[], sealed: string): Buffer | null {
  const bytes = sealed.length > 512 ? null : decodeBase64url(sealed)
  if (bytes === null || bytes.length < 28 + 7 + size) return null
  for (const key of keys) {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAuthTag(bytes.subarray(-16))
    try {
      return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()])
    } catch { /* sealed with another key, or not by us */ }
  }
  return null
}
