import { misconfigured } from '../../errors.js'
import { checkSecret } from '../../secrets/check-secret.js'
import { describeValue } from '../../util/describe.js'
import { isPlainObject } from '../../util/objects.js'
import { listOf, object, oneOf, optional, text, type Parser } from '../../util/options.js'
import {
  digestOf, grantsOf, parseGrants, parseRedirectUris, scopesParser, type Client, type ClientSecret
} from './client.js'

/** The beginning of the ids of clients in the store, which no id of the table may have. */
export const storedPrefix = 'client_'

/** Lists the names that the entries of a table may use. */
export interface TableContext {
  /** The scopes that the application declares; `null` if it declares none. */
  readonly scopes: ReadonlySet<string> | null
  /** The schemes of the resources. */
  readonly resources: readonly string[]
  /** Ids that no client may have. */
  readonly reserved: readonly string[]
}

/** Parses the option `clients`. @throws {AuthError} `AUTH_MISCONFIGURED` */
export function parseTable (value: unknown, option: string, context: TableContext): ReadonlyMap<string, Client> {
  if (!isPlainObject(value)) {
    throw misconfigured(`${option} must be an object of clients by id. Got ${describeValue(value)}.`)
  }
  const parse = entryParser(context)
  const clients = Object.entries(value).map(([id, entry]) => {
    checkId(id, option, context)
    return [id, clientOf(id, parse(entry, `${option}.${id}`), `${option}.${id}`)] as const
  })
  return new Map(clients)
}

function checkId (id: string, option: string, { reserved }: TableContext): void {
  if (!/^[\w.~-]{1,100}$/.test(id)) {
    throw misconfigured(`${option} has the id ${describeValue(id)}. Use letters, digits and -._~, at most 100.`)
  }
  if (reserved.includes(id) || id.startsWith(storedPrefix)) {
    throw misconfigured(`${option} has the id '${id}', which is reserved. Choose another one.`)
  }
}

type Entry = ReturnType<ReturnType<typeof entryParser>>

function entryParser ({ scopes, resources }: TableContext) {
  return object({
    name: optional(text, null),
    redirectUris: optional(parseRedirectUris, []),
    scopes: optional(scopesParser(scopes), []),
    grants: optional(parseGrants, null),
    secrets: optional(parseSecrets, []),
    consent: optional(oneOf<'remember' | false>('remember', false), undefined),
    roles: optional(oneOf(true), false),
    introspect: optional(listOf(oneOf(...resources)), [])
  })
}

const secretList = listOf((value, path) => digestOf(checkSecret(value, { minBytes: 16, path })))

const parseSecrets: Parser<readonly ClientSecret[]> = (value, option) => {
  const digests = secretList(value, option)
  if (digests.length < 1 || digests.length > 2 || new Set(digests).size < digests.length) {
    throw misconfigured(`${option} must have one secret, or two different ones while one replaces the other. Leave ` +
      'it out for a public client.')
  }
  return digests.map(digest => Object.freeze({ digest, expiresAt: null }))
}

function clientOf (id: string, entry: Entry, option: string): Client {
  const { name, redirectUris, scopes, secrets, introspect } = entry
  const isConfidential = secrets.length > 0
  if (introspect.length > 0 && !isConfidential) {
    throw misconfigured(`${option}.introspect needs a secret: a public client cannot prove who it is (RFC 7662, 2.1).`)
  }
  const grants = grantsOf({ grants: entry.grants, redirectUris, isConfidential }, option)
  if (grants.length === 0 && introspect.length === 0) {
    throw misconfigured(`${option} can do nothing: give it redirectUris, or grants such as ['client_credentials'].`)
  }
  return Object.freeze({ ...entry, id, name: name ?? id, scopes, grants, isConfidential })
}
