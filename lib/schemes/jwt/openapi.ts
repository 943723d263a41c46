import type { OpenApiOAuthFlow, OpenApiOAuthFlows, OpenApiSecurityScheme } from '../../../types/openapi.js'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'
import { deepFreeze, isPlainObject } from '../../util/objects.js'
import { object, oneOf, optional, string, text, type Parser } from '../../util/options.js'

/** Describes in OpenAPI where tokens come from, such as the flows of an identity provider. */
export type TokenDescription = Extract<OpenApiSecurityScheme, { readonly type: 'http' | 'oauth2' | 'openIdConnect' }>

const common = { type: text, description: optional(string, null), deprecated: optional(oneOf(true, false), null) }

/** The parsers of a description by its type. */
const descriptions: ReadonlyMap<string, Parser<unknown>> = new Map<TokenDescription['type'], Parser<unknown>>([
  ['http', object({ ...common, scheme: oneOf('bearer'), bearerFormat: optional(text, null) })],
  ['openIdConnect', object({ ...common, openIdConnectUrl: checkUrl })],
  ['oauth2', object({ ...common, flows: checkFlows, oauth2MetadataUrl: optional(checkUrl, null) })]
])

const parseFlows = object({
  implicit: optional(flowWith('authorizationUrl'), null),
  password: optional(flowWith('tokenUrl'), null),
  clientCredentials: optional(flowWith('tokenUrl'), null),
  authorizationCode: optional(flowWith('authorizationUrl', 'tokenUrl'), null),
  deviceAuthorization: optional(flowWith('deviceAuthorizationUrl', 'tokenUrl'), null)
} satisfies Record<keyof OpenApiOAuthFlows, Parser<unknown>>)

/** Parses the option `openapi`, and returns a frozen copy of it. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseDescription (value: unknown, option: string): TokenDescription {
  const type = isPlainObject(value) ? value.type : undefined
  const parse = typeof type === 'string' ? descriptions.get(type) : undefined
  if (parse === undefined) {
    throw misconfigured(`${option} must be an object with the type 'http', 'oauth2' or 'openIdConnect'. Got ` +
      `${isPlainObject(value) ? `the type ${describeValue(type)}` : describeValue(value)}.`)
  }
  parse(value, option)
  return deepFreeze(structuredClone(value) as TokenDescription)
}

function checkFlows (value: unknown, option: string): void {
  if (Object.values(parseFlows(value, option)).some(flow => flow !== null)) return
  throw misconfigured(`${option} is empty. Describe one of the flows, such as authorizationCode.`)
}

type UrlField = Exclude<keyof OpenApiOAuthFlow, 'scopes' | 'refreshUrl'>

/** Returns the parser of a flow that has these URLs. */
function flowWith (...required: readonly UrlField[]): Parser<unknown> {
  const urls = Object.fromEntries(required.map(field => [field, checkUrl]))
  return object({ ...urls, refreshUrl: optional(checkUrl, null), scopes: checkTexts })
}

function checkUrl (value: unknown, option: string): void {
  if (!URL.canParse(text(value, option))) throw misconfigured(`${option} must be a URL. Got ${describeValue(value)}.`)
}

/** Checks the scopes of a flow: descriptions, which may be empty, by scope. */
function checkTexts (value: unknown, option: string): void {
  if (isPlainObject(value) && Object.values(value).every(each => typeof each === 'string')) return
  throw misconfigured(`${option} must be an object with a description for each scope, such as ` +
    `{ 'orders:read': 'Read orders' }. Got ${describeValue(value)}.`)
}
