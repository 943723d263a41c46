import { misconfigured } from '../errors.js'
import { describeValue, joinNames, minSecretBytes } from '../util/describe.js'
import { isObject, ownField } from '../util/objects.js'
import { howToFixSecret, passwordWeakness, weakness } from './check-secret.js'
import { formsOf, placeholder } from './secret-uses.js'

/** The purposes of secrets, with their requirements. */
const purposes = {
  /** `session({ secret })` */
  session: { minBytes: 32, rotates: true },
  /** `jwt({ keys })`, HMAC: for HS256 at least 32 bytes (RFC 7518, 3.2) */
  jwt: { minBytes: 32, rotates: false },
  /** `limits: { guesses: { deviceSecret } }` */
  device: { minBytes: 32, rotates: true },
  /** a key of `apiKey({ keys })` */
  apiKey: { minBytes: 16, rotates: false },
  /** the pepper of `passwords()` */
  pepper: { minBytes: 32, rotates: false },
  /** any other secret that a program holds */
  secret: { minBytes: 32, rotates: false },
  /** the password of a person or a script, with the lower requirements of the passwords of `basic({ users })` */
  password: { minBytes: minSecretBytes, rotates: false }
} as const

/**
 * The purpose of a variable. For `session` and `device` it may contain several secrets, separated by commas, the newest
 * first: the result is a list.
 */
export type SecretPurpose = keyof typeof purposes

/** The values of the variables, by name. */
export type SecretsOf<T extends Readonly<Record<string, SecretPurpose>>> = {
  readonly [K in keyof T]: (typeof purposes)[T[K]]['rotates'] extends true ? readonly [string, ...string[]] : string
}

/** A secret that was read from a variable. */
interface NamedSecret {
  readonly variable: string
  readonly text: string
}

/**
 * Reads all secrets of an application from its environment at once, so that one error reports every mistake: a variable
 * that is not set, a secret that is too short, published, easy to guess or a placeholder, and one secret for two
 * purposes (also trimmed, or in another encoding). The error contains no values.
 *
 * @example
 * const secrets = secretsFromEnvironment({ SESSION_SECRET: 'session', JWT_SECRET: 'jwt', OPS_PASSWORD: 'password' })
 * session({ secret: secrets.SESSION_SECRET })
 * @param env default: `process.env`.
 * @throws {AuthError} `AUTH_MISCONFIGURED`, one for all mistakes.
 */
export function secretsFromEnvironment<const T extends Readonly<Record<string, SecretPurpose>>> (
  variables: T, env: Readonly<Record<string, string | undefined>> = process.env
): SecretsOf<T> {
  if (!isObject(variables) || Object.keys(variables).length === 0) {
    throw misconfigured(
      "secretsFromEnvironment needs an object from variable to purpose, such as { SESSION_SECRET: 'session' }."
    )
  }
  if (!isObject(env)) {
    throw misconfigured('The environment of secretsFromEnvironment must be an object, such as process.env. Got ' +
      `${describeValue(env)}.`)
  }
  const entries = Object.entries(variables).map(
    ([variable, purpose]) => read(variable, purpose, ownField(env, variable))
  )
  const secrets = entries.flatMap(entry => entry.secrets)
  const mistakes = [...entries.flatMap(entry => entry.mistakes), ...reuseMistakes(secrets)]
  if (mistakes.length > 0) throw misconfigured('The environment has missing or wrong secrets.', mistakes)
  return Object.freeze(Object.fromEntries(entries.map(({ variable, value }) => [variable, value]))) as SecretsOf<T>
}

function isPurpose (value: unknown): value is SecretPurpose {
  return typeof value === 'string' && Object.hasOwn(purposes, value)
}

function read (variable: string, purpose: unknown, given: unknown) {
  if (!isPurpose(purpose)) {
    throw misconfigured(
      `secretsFromEnvironment does not know the purpose ${describeValue(purpose)} of ${variable}. Known: ` +
      `${joinNames(Object.keys(purposes))}.`
    )
  }
  const rule = purposes[purpose]
  const refused = (mistake: string) => ({ variable, value: '', secrets: [], mistakes: [`${variable} ${mistake}`] })
  const content = given ?? ''
  if (typeof content !== 'string') return refused(`must be a text. Got ${describeValue(content)}.`)
  if (content.trim() === '') return refused(`is not set. ${howToFixSecret}`)
  const texts = rule.rotates ? content.split(',') : [content]
  const secrets = texts.map((text, index): NamedSecret =>
    ({ variable: texts.length === 1 ? variable : `${variable} (number ${index + 1})`, text }))
  const mistakes = secrets.flatMap(each => mistakeOf(each, purpose) ?? [])
  return { variable, value: rule.rotates ? Object.freeze(texts) : content, secrets, mistakes }
}

function mistakeOf ({ variable, text }: NamedSecret, purpose: SecretPurpose): string | null {
  if (text !== text.trim()) {
    return `${variable} begins or ends with a space or a line end, which is probably not meant. Remove it.`
  }
  if (/^(['"]).*\1$/.test(text)) {
    return `${variable} is in quotes, and the program that read the file has kept them. Remove them.`
  }
  if (text.startsWith(`${variable}=`)) return `${variable} begins with its own name. Leave out '${variable}='.`
  if (placeholder.test(text)) return `${variable} looks like a placeholder of an example. ${howToFixSecret}`
  const { minBytes } = purposes[purpose]
  const bytes = Buffer.byteLength(text)
  if (bytes < minBytes) {
    return `${variable} is too short: it has ${bytes} bytes and needs at least ${minBytes}. ${howToFixSecret}`
  }
  const reason = purpose === 'password' ? passwordWeakness(text, '') : weakness(text)
  return reason === null ? null : `${variable} ${reason}. ${howToFixSecret}`
}

/** Returns a mistake for each secret that has two purposes: a leak of one must not be a leak of the other. */
function reuseMistakes (secrets: readonly NamedSecret[]): readonly string[] {
  const owners = new Map<string, string>()
  const mistakes = new Set<string>()
  for (const { variable, text } of secrets) {
    for (const form of formsOf(text).map(bytes => bytes.toString('hex'))) {
      const owner = owners.get(form) ?? variable
      if (owner !== variable) mistakes.add(`${owner} and ${variable} hold the same secret. Give each purpose its own.`)
      owners.set(form, owner)
    }
  }
  return [...mistakes]
}
