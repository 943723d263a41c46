import { randomBytes } from 'node:crypto'
import env from '@fastify/env'
import { Type, type Static } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'

const schema = Type.Object({
  NODE_ENV: Type.String({ default: 'development' }),
  HOST: Type.String({ default: '127.0.0.1' }),
  PORT: Type.Integer({ default: 3000, minimum: 0, maximum: 65535 }),
  COOKIE_SECURE: Type.Boolean({ default: true }),
  CORS_ORIGIN: Type.String({ default: '' }),
  SESSION_SECRET: Type.String({ default: '' }),
  JWT_SECRET: Type.String({ default: '' }),
  SHOP_KEY: Type.String({ default: '' }),
  WAREHOUSE_KEY: Type.String({ default: '' }),
  OPS_PASSWORD: Type.String({ default: '' }),
  PEOPLE_PASSWORD: Type.String({ default: '' })
})

/** What has to be secret, and how many random bytes make a new one. */
const secrets = { SESSION_SECRET: 32, JWT_SECRET: 32, SHOP_KEY: 24, WAREHOUSE_KEY: 24, OPS_PASSWORD: 12, PEOPLE_PASSWORD: 12 }

type SecretName = keyof typeof secrets

/** The environment, complete. */
export interface Config extends Static<typeof schema> {
  readonly production: boolean
  /** The secrets that nobody set, made up for this start. */
  readonly generated: readonly SecretName[]
}

/**
 * Reads the environment and `.env`, or only `environment` when it is given (tests do).
 * In development a missing secret is made up; in production it stops the start.
 */
export async function readConfig (app: FastifyInstance, environment?: NodeJS.ProcessEnv): Promise<Config> {
  const source = environment === undefined ? { dotenv: true } : { data: environment, env: false }
  await app.register(env, { schema, ...source })
  const given = app.getEnvs<Static<typeof schema>>()
  const production = given.NODE_ENV === 'production'
  const missing = (Object.keys(secrets) as SecretName[]).filter(name => given[name] === '')
  if (production && missing.length > 0) throw new Error(`NODE_ENV is production, and these are not set: ${missing.join(', ')}. See .env.example.`)
  if (production && !given.COOKIE_SECURE) throw new Error('NODE_ENV is production, and COOKIE_SECURE is false: anybody on the way could read the session cookie.')
  const made = missing.map(name => [name, randomBytes(secrets[name]).toString('base64url')])
  return { ...given, ...Object.fromEntries(made), production, generated: missing }
}
