import env from '@fastify/env'
import { Type, type Static } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { secretsFromEnvironment, type SecretPurpose, type SecretsOf } from 'fastify-gatehouse'
import { generatedSecrets } from './data/secrets.js'

const text = Type.String({ default: '' })

const schema = Type.Object({
  NODE_ENV: Type.String({ default: 'development' }),
  HOST: Type.String({ default: '127.0.0.1' }),
  PORT: Type.Integer({ default: 3000, minimum: 0, maximum: 65535 }),
  TRUST_PROXY: text,
  COOKIE_SECURE: Type.Boolean({ default: true }),
  CORS_ORIGIN: text,
  DATA_DIR: text,
  DATABASE_URL: text,
  REDIS_URL: text,
  SESSION_SECRET: text,
  DEVICE_SECRET: text,
  JWT_SECRET: text,
  SHOP_KEY: text,
  WAREHOUSE_KEY: text,
  OPS_PASSWORD: text,
  PEOPLE_PASSWORD: text
})

/** The purpose of each secret. */
const purposes = {
  SESSION_SECRET: 'session',
  DEVICE_SECRET: 'device',
  JWT_SECRET: 'jwt',
  SHOP_KEY: 'apiKey',
  WAREHOUSE_KEY: 'apiKey',
  OPS_PASSWORD: 'password',
  PEOPLE_PASSWORD: 'password'
} as const satisfies Partial<Record<keyof Static<typeof schema>, SecretPurpose>>

type SecretName = keyof typeof purposes
const secretNames = Object.keys(purposes) as readonly SecretName[]

type Given = Static<typeof schema>

/** The complete configuration. */
export interface Config extends Omit<Given, SecretName>, SecretsOf<typeof purposes> {
  readonly production: boolean
  /** The secrets that were not set. In development they are generated and kept in `DATA_DIR`. */
  readonly generated: readonly SecretName[]
}

/**
 * Reads the configuration from the environment and `.env`, or from `environment` in tests.
 * A missing secret is generated in development, and is an error in production.
 */
export async function readConfig (app: FastifyInstance, environment?: NodeJS.ProcessEnv): Promise<Config> {
  const source = environment === undefined ? { dotenv: true } : { data: environment, env: false }
  await app.register(env, { schema, ...source })
  const read = app.getEnvs<Given>()
  const given = { ...read, DATA_DIR: read.DATA_DIR === '' ? '.data' : read.DATA_DIR }
  const production = given.NODE_ENV === 'production'
  const missing = secretNames.filter(name => given[name] === '')
  const generate = !production && missing.length > 0
  const generated = generate ? await generatedSecrets(given.DATA_DIR, secretNames, app.log) : {}
  const values = Object.fromEntries(secretNames.map(name => [name, given[name] === '' ? generated[name] : given[name]]))
  return { ...given, ...secretsFrom(values, mistakesOf(given)), production, generated: missing }
}

type Values = Readonly<Record<string, string | undefined>>

/** Reports all mistakes in one error, so that they can be fixed together. */
function secretsFrom (values: Values, others: readonly string[]): SecretsOf<typeof purposes> {
  const lines = others.map(mistake => `\n- ${mistake}`).join('')
  let secrets
  try {
    secrets = secretsFromEnvironment(purposes, values)
  } catch (error) {
    const sentences = error instanceof Error ? error.message : String(error)
    // In a clone of the repository, the package is not installed.
    const message = sentences.replaceAll('npx fastify-gatehouse', 'node --import=tsx lib/cli/main.ts')
    throw new Error(`${message}${lines}\nSee .env.example.`, { cause: error })
  }
  if (lines !== '') throw new Error(`The environment is invalid.${lines}\nSee .env.example.`)
  return secrets
}

/** Returns the mistakes outside of the secrets. The messages contain no URL, because it may contain a password. */
function mistakesOf ({ NODE_ENV, COOKIE_SECURE, DATABASE_URL, REDIS_URL }: Given): readonly string[] {
  return [
    ...NODE_ENV === 'production' && !COOKIE_SECURE
      ? ['COOKIE_SECURE is false, so the session cookie would be sent without encryption. Remove it in production.']
      : [],
    ...isUrl(DATABASE_URL, ['postgres:', 'postgresql:'])
      ? []
      : ['DATABASE_URL is not of the form postgres://user:password@host:5432/database.'],
    ...isUrl(REDIS_URL, ['redis:', 'rediss:'])
      ? []
      : ['REDIS_URL is not of the form redis://:password@host:6379, or rediss://… with TLS.']
  ]
}

function isUrl (text: string, protocols: readonly string[]): boolean {
  return text === '' || (URL.canParse(text) && protocols.includes(new URL(text).protocol))
}
