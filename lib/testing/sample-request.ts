import type { InjectOptions } from 'fastify'
import { sourcesOf } from '../kit/read-credential.js'
import type { BoundScheme } from '../policy/policy.js'
import type { RoutePolicy } from '../policy/route-policy.js'
import { isObject, ownField } from '../util/objects.js'

/** Values of path parameters by name; `'*'` for a wildcard. */
export type ParameterExamples = Readonly<Record<string, string | number>>

/** Matches `::`, a parameter with its expression and its question mark, or a wildcard. */
const parts = /::|:([^:/(.?-]+)(\((?:[^()\\]|\\.|\([^()]*\))*\))?\??|\*/g

/** Texts that are tried for a parameter with a regular expression. */
const candidates = [
  'test', '1', '10', '2030', '2030-01-01', 'a', 'ab', 'abc', 'A', 'AB', '00000000-0000-4000-8000-000000000000', 'a.txt',
  'en', 'en-GB', 'a1b2c3d4', '1234567890', '0123456789abcdef01234567', 'true', 'test-access', '1.0.0'
]

/**
 * Returns a URL that the pattern of a route matches. The values of parameters are those of `examples`, else those that
 * their schemas give, else made up.
 * @returns `null` if no value is known for a parameter.
 */
export function sampleUrl ({ url, params }: RoutePolicy, examples: ParameterExamples): string | null {
  let isKnown = true
  const filled = url.replace(parts, (part, name: string | undefined, expression: string | undefined) => {
    if (part === '::') return ':'
    const value = sampleValue(name ?? '*', { examples, params, expression })
    isKnown &&= value !== null
    return encodeURIComponent(value ?? '')
  })
  if (!isKnown) return null
  return filled.startsWith('/') ? filled : `/${filled}`
}

interface Sources {
  readonly examples: ParameterExamples
  readonly params: unknown
  readonly expression: string | undefined
}

function sampleValue (name: string, { examples, params, expression }: Sources): string | null {
  const example = ownField(examples, name)
  if (example !== undefined) return String(example)
  const schema = schemaOf(params, name)
  const fromSchema = [schema.const, schema.enum, schema.examples, schema.example, schema.default]
    .flat().find(value => typeof value === 'string' || typeof value === 'number')
  const likely = [...fromSchema === undefined ? [] : [String(fromSchema)], ...typical(schema), ...candidates]
  if (expression === undefined) return String(likely[0])
  const matcher = new RegExp(`^(?:${expression.slice(1, -1)})$`)
  return likely.find(value => matcher.test(value)) ?? null
}

/** Returns the schema of a parameter, for a JSON Schema. Validators of other libraries have none. */
function schemaOf (params: unknown, name: string): Readonly<Record<string, unknown>> {
  const properties = isObject(params) && isObject(params.properties) ? params.properties : {}
  const schema = Object.hasOwn(properties, name) ? properties[name] : undefined
  return isObject(schema) ? schema : {}
}

function typical ({ type, format, minimum, minLength }: Readonly<Record<string, unknown>>): readonly string[] {
  if (type === 'integer' || type === 'number') return [String(typeof minimum === 'number' ? Math.ceil(minimum) : 1)]
  if (type === 'boolean') return ['true']
  if (format === 'uuid') return ['00000000-0000-4000-8000-000000000000']
  if (format === 'date') return ['2030-01-01']
  if (format === 'date-time') return ['2030-01-01T00:00:00Z']
  return typeof minLength === 'number' ? ['a'.repeat(Math.max(1, minLength))] : []
}

/**
 * Returns the headers that meet the constraints of a route: its host and version.
 * @returns `null` for other constraints, and for a host that is an expression.
 */
export function constraintHeaders ({ constraints }: RoutePolicy): Readonly<Record<string, string>> | null {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(constraints ?? {})) {
    const header = name === 'host' ? 'host' : name === 'version' ? 'accept-version' : null
    if (header === null || typeof value !== 'string') return null
    headers[header] = value
  }
  return headers
}

const badText = 'test-access-bad-credential'
/** An unsigned JSON Web Token: `{"alg":"none"}`, `{"sub":"test-access"}`. */
const unsignedToken = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0ZXN0LWFjY2VzcyJ9.'

/** Returns requests that each carry a bad credential, one for each source from which a scheme reads credentials. */
export function badCredentials ({ scheme }: BoundScheme): readonly InjectOptions[] {
  return sourcesOf(scheme).flatMap(badCredentialsAt)
}

function badCredentialsAt (source: string): readonly InjectOptions[] {
  const name = source.slice(source.indexOf(':') + 1)
  const authorization = (value: string): InjectOptions => ({ headers: { authorization: value } })
  switch (source.slice(0, source.indexOf(':'))) {
    case 'header': return [{ headers: { [name]: badText } }]
    case 'cookie': return [{ headers: { cookie: `${name}=${badText}` } }]
    case 'query': return [{ query: { [name]: badText } }]
    case 'basic': return [authorization(basic(`${badText}:`))]
    case 'authorization':
      return [authorization(/^basic$/i.test(name) ? basic(`test-access:${badText}`) : `${name} ${badText}`)]
    default: return [authorization(`Bearer ${unsignedToken}`)]
  }
}

function basic (userPass: string): string {
  return `Basic ${Buffer.from(userPass).toString('base64')}`
}
