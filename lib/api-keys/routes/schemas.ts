/** What a person sends for a new key. */
export interface KeyBody {
  readonly name: string
  readonly scopes?: readonly string[]
  readonly roles?: readonly string[]
  readonly expiresAt?: string | null
}

const text = { type: 'string' } as const
const instant = { type: 'string', format: 'date-time' } as const
const orNull = <T extends object>(schema: T) => ({ ...schema, nullable: true })
const names = { type: 'array', items: text } as const

/** Lengths are counted in characters here and in units of UTF-16 behind it, of which a character has up to two. */
const name = { type: 'string', minLength: 1, maxLength: 100, pattern: '\\S' } as const
const someNames = { type: 'array', items: name, maxItems: 100 } as const

export const body = {
  type: 'object',
  required: ['name'],
  additionalProperties: false,
  properties: { name, scopes: someNames, roles: someNames, expiresAt: orNull(instant) }
} as const

export const keyId = { type: 'object', required: ['id'], properties: { id: { type: 'string', maxLength: 100 } } } as const

/** The longest overlap in seconds. It must be said: 0 is for a key that others may know, and only the person can tell. */
export function overlapOf (longest: number) {
  return { type: 'object', required: ['overlap'], additionalProperties: false, properties: { overlap: { type: 'integer', minimum: 0, maximum: longest } } } as const
}

const record = {
  type: 'object',
  properties: {
    id: text,
    owner: { type: 'object', properties: { realm: text, id: text } },
    name: text,
    start: text,
    scopes: names,
    roles: names,
    createdAt: instant,
    expiresAt: orNull(instant),
    lastUsedAt: orNull(instant),
    rateLimit: orNull({ type: 'object', properties: { max: { type: 'integer' }, window: { type: 'number' } } } as const),
    replacedBy: orNull(text),
    replacedAt: orNull(instant),
    sunsetAt: orNull(instant)
  }
} as const

export const listed = { type: 'object', properties: { keys: { type: 'array', items: record } } } as const

export const made = { type: 'object', properties: { key: text, record } } as const
