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
  PUBLIC_URL: text,
  TRUST_PROXY: text,
  COOKIE_SECURE: Type.Boolean({ default: true }),
  CORS_ORIGIN: text,
  DATA_DIR: text,
  DATABASE_URL: text,
  REDIS_URL: text,
  LOGIN_ISSUER: text,
  LOGIN_CLIENT_ID: Type.String({ default: 'order-desk' }),
  LOGIN_CLIENT_SECRET: text,
  SESSION_SECRET: text,
  DEVICE_SECRET: text,
  REFRESH_SECRET: text,
  JWT_KEYS: text,
  SHOP_KEY: text,
  WAREHOUSE_KEY: text,
  PARTNER_SECRET: text,
  DASHBOARD_SECRET: text,
  OPS_PASSWORD: text,
  PEOPLE_PASSWORD: text
})

/** The purpose of each secret but JWT_KEYS, whose keys are checked by the schemes. */
const purposes = {
  SESSION_SECRET: 'session',
  DEVICE_SECRET: 'device',
  REFRESH_SECRET: 'secret',
  SHOP_KEY: 'apiKey',
  WAREHOUSE_KEY: 'apiKey',
  PARTNER_SECRET: 'secret',
  DASHBOARD_SECRET: 'secret',
  OPS_PASSWORD: 'password',
  PEOPLE_PASSWORD: 'password'
} as const satisfies Partial<Record<keyof Static<typeof schema>, SecretPurpose>>

type SecretName = keyof typeof purposes | 'JWT_KEYS'
const secretNames = [...Object.keys(purposes), 'JWT_KEYS'] as readonly SecretName[]

type Given = Static<typeof schema>

/** The complete configuration. */
export interface Config extends Omit<Given, keyof typeof purposes>, SecretsOf<typeof purposes> {
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
  const production = read.NODE_ENV === 'production'
  const given = {
    ...read,
    DATA_DIR: read.DATA_DIR === '' ? '.data' : read.DATA_DIR,
    PUBLIC_URL: read.PUBLIC_URL === '' && !production ? `http://localhost:${read.PORT}` : read.PUBLIC_URL
  }
  const missing = secretNames.filter(name => given[name] === '')
  const generate = !production && missing.length > 0
  const generated = generate ? await generatedSecrets(given.DATA_DIR, secretNames, app.log) : {}
  const values = Object.fromEntries(secretNames.map(name => [name, given[name] === '' ? generated[name] : given[name]]))
  const JWT_KEYS = values.JWT_KEYS ?? ''
  return { ...given, ...secretsFrom(values, mistakesOf(given)), JWT_KEYS, production, generated: missing }
}

type Values = Readonly<Record<string, string | undefined>>

/** Reports all mistakes in one error, so that they can be fixed together. */
function secretsFrom (values: Values, others: readonly string[]): SecretsOf<typeof purposes> {
  const lines = others.map(mistake => `\n- ${mistake}`).join('')
  let secrets
  try {
    secrets = secretsFromEnvironment(purposes, values)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    // In a clone of the repository, the package is not installed.
    const message = reason.replaceAll('npx fastify-gatehouse', 'node --import=tsx lib/cli/main.ts')
    throw new Error(`${message}${lines}\nSee .env.example.`, { cause: error })
  }
  if (lines !== '') throw new Error(`The environment is invalid.${lines}\nSee .env.example.`)
  return secrets
}

/** Returns the mistakes outside of the secrets. The messages contain no URL, because it may contain a password. */
function mistakesOf (given: Given): readonly string[] {
  const { NODE_ENV, PUBLIC_URL, LOGIN_ISSUER, JWT_KEYS, COOKIE_SECURE, DATABASE_URL, REDIS_URL } = given
  const production = NODE_ENV === 'production'
  return [
    ...production && JWT_KEYS === ''
      ? ['JWT_KEYS is not set. Make the private key set with: node --import=tsx lib/cli/main.ts keys']
      : [],
    ...isOrigin(PUBLIC_URL, production ? ['https:'] : ['https:', 'http:'])
      ? []
      : ['PUBLIC_URL is not of the form https://orders.example.com, without a path. In production it must be set.'],
    ...production && !COOKIE_SECURE
      ? ['COOKIE_SECURE is false, so the session cookie would be sent without encryption. Remove it in production.']
      : [],
    ...isUrl(LOGIN_ISSUER, production ? ['https:'] : ['https:', 'http:'])
      ? []
      : ['LOGIN_ISSUER is not the issuer of an OpenID provider, such as https://id.example.com.'],
    ...isUrl(DATABASE_URL, ['postgres:', 'postgresql:'])
      ? []
      : ['DATABASE_URL is not of the form postgres://user:password@host:5432/database.'],
    ...isUrl(REDIS_URL, ['redis:', 'rediss:'])
      ? []
      : ['REDIS_URL is not of the form redis://:password@host:6379, or rediss://… with TLS.']
  ]
}

function isOrigin (text: string, protocols: readonly string[]): boolean {
  return URL.canParse(text) && protocols.includes(new URL(text).protocol) && new URL(text).origin === text
}

function isUrl (text: string, protocols: readonly string[]): boolean {
  return text === '' || (URL.canParse(text) && protocols.includes(new URL(text).protocol))
}
