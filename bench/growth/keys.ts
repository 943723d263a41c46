import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import authPlugin, { apiKey, type Principal, type SchemeFactory } from '../../lib/index.js'
import { KeyFormat } from '../../lib/schemes/api-key/key.js'
import type { Flood, Section } from './flood.js'

const format = new KeyFormat('acme_live')

const secret = (): string => randomBytes(32).toString('base64url')

/**
 * Returns a key. Every second one is unknown and well-formed; the others have a wrong checksum, which costs no look-up.
 */
const managed = (i: number): string => i % 2 === 0 ? format.generate() : `acme_live_${randomBytes(18).toString('hex')}`

async function flood (scheme: SchemeFactory<Principal>, make: (i: number) => string): Promise<Flood> {
  const app = Fastify()
  await app.register(authPlugin, { schemes: { service: scheme } })
  app.get('/', async () => ({}))
  await app.ready()
  return {
    app,
    statuses: [401],
    send: async i => (await app.inject({ url: '/', headers: { 'x-api-key': make(i) } })).statusCode
  }
}

export const keys: readonly Section[] = [
  {
    name: 'keys: managed, mistyped and unknown',
    full: 30_000,
    make: async () => flood(apiKey({ managed: { prefix: 'acme_live' } }), managed)
  },
  {
    name: 'keys: of a table of 1,000',
    full: 30_000,
    make: async () => flood(
      apiKey({ keys: new Map(Array.from({ length: 1000 }, (_, i) => [secret(), { id: `client-${i}` }])) }), secret
    )
  }
]
