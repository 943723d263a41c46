import { randomUUID } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { createRequire } from 'node:module'
import type { SignOptions } from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import type { Principal, PrincipalInput } from '../../../types/principal.js'
import type { TokenFeature } from '../../../types/tokens.js'
import { callFunction, internalError, misconfigured } from '../../errors.js'
import { publish } from '../../events/events.js'
import type { Algorithm } from '../../jose/algorithms.js'
import { dateOf } from '../../jose/claims.js'
import { parseVerificationKey, type PublishedKey, type VerificationKey } from '../../jose/jwk.js'
import { verifyCompact } from '../../jose/jws.js'
import { readKey, unwrap } from '../../jose/key-material.js'
import { principalFrom } from '../../kit/principal.js'
import { describeValue, joinNames } from '../../util/describe.js'
import { hasFields, isMap, isObject, jsonObject } from '../../util/objects.js'
import { atRunTime, isScopeToken } from '../../util/options.js'
import { checkGuessable } from './issuers.js'
import type { Trust } from './issuers.js'
import { parseLifetime } from './sign-options.js'
import type { SignSettings } from './sign-options.js'

const require = createRequire(import.meta.url)

/** Configuration of the signer of a scheme. */
export interface SignSetup {
  readonly sign: SignSettings
  readonly trust: Trust
  readonly name: string
  /** The path of the options of the scheme, for messages. */
  readonly path: string
}

interface SigningKey {
  readonly algorithm: Algorithm
  readonly kid: string | null
  readonly key: KeyObject
  readonly signing: KeyObject
}

type Sign = (payload: Readonly<Record<string, unknown>>) => string

/** The content of a token before it is signed. */
export interface TokenContent {
  readonly principal: Principal
  readonly scopes: readonly string[]
  /** `null` if the token is not issued to a client. */
  readonly client: string | null
  /** The id of the grant that the token belongs to; `null` if it belongs to none. */
  readonly grant: string | null
  /** `true` if a client acts for the person. Default: `false`. */
  readonly delegated?: boolean
  /** Milliseconds since 1970; `null` if unknown. */
  readonly authenticatedAt: number | null
  /** Seconds. Default: those of the scheme. */
  readonly expiresIn?: number
  readonly claims?: Readonly<Record<string, unknown>>
}

/** Signs tokens that the scheme itself accepts. */
export interface Signer {
  /** The `client_id` of tokens that are not issued to a client. */
  readonly client: string
  /** The realm of the people who get tokens. */
  readonly realm: string
  /** The lifetime of a token in seconds. */
  readonly expiresIn: number
  /** The keys of the scheme, those that do not sign included. */
  readonly keys: readonly PublishedKey[]
  /**
   * Completes the principal of a person who gets a token.
   * @throws {AuthError} `AUTH_FAULT` for a principal of another realm, or with the id of a client.
   */
  person (input: PrincipalInput): Principal
  sign (content: TokenContent): Promise<SignedToken>
}

/** A signed token, before it is sent and announced. */
export interface SignedToken {
  readonly accessToken: string
  readonly expiresIn: number
  /** Publishes that the token was issued. */
  readonly announce: () => void
}

/**
 * Creates the signer of a scheme.
 * @throws {AuthError} `AUTH_MISCONFIGURED` if no key can sign, or the scheme would not accept the tokens.
 */
export async function createSigner (app: FastifyInstance, setup: SignSetup): Promise<Signer> {
  const { sign, trust, name, path } = setup
  const key = signingKey(setup)
  const kid = sign.kid ?? key.kid
  const header = { ...algorithmOf(key), typ: 'at+jwt', ...kid === null ? {} : { kid } }
  const engine = await signEngine(app, key, { name, header })
  checkAccepted(engine({ probe: true }), trust, path)
  const { issuer: iss, audience } = trust.rules
  const fixed = { ...iss === null ? {} : { iss }, ...audience === null ? {} : { aud: audience[0] } }
  const realm = sign.realm ?? iss ?? name
  return Object.freeze({
    client: sign.client,
    realm,
    expiresIn: sign.expiresIn,
    keys: trust.ring?.keys ?? [{ ...key, kid }],
    person: (input: PrincipalInput) => personOf(input, realm, path),
    sign: async (content: TokenContent) => {
      const { principal, claims = {}, expiresIn = sign.expiresIn } = content
      const further = await furtherClaims(sign, principal, path)
      const issued = issuedNow(content.client ?? sign.client, expiresIn)
      // accessors among the claims are the application's
      const accessToken = await callFunction(`writing a token of ${path} with the claims that were given`, () => {
        const more = jsonObject({ ...further, ...claims }, `${path}: claims`)
        checkClaims(more)
        return engine({ ...more, ...fixed, ...claimsOf(content, issued) })
      })
      const event = { scheme: name, issuer: iss, ...eventOf(content, issued, sign) }
      return { accessToken, expiresIn, announce: () => { publish('token-issued', event) } }
    }
  })
}

/**
 * Returns the claims that the option `claims` adds.
 * @throws {AuthError} `AUTH_FAULT` for an error that it throws, and for a result that is neither an object nor nothing.
 */
async function furtherClaims ({ claims }: SignSettings, principal: Principal, path: string): Promise<object> {
  if (claims === null) return {}
  const more: unknown = await callFunction(`the function ${path}.sign.claims`, () => claims(principal))
  if (more === null || more === undefined || more === false) return {}
  if (isObject(more) && hasFields(more)) return more
  throw internalError(`the function ${path}.sign.claims must return an object of claims, or null for none`)
}

/** The claims that differ for each token. */
interface Issued {
  readonly client_id: string
  readonly iat: number
  readonly exp: number
  readonly jti: string
}

function issuedNow (client: string, expiresIn: number): Issued {
  const iat = Math.floor(Date.now() / 1000)
  return { client_id: client, iat, exp: iat + expiresIn, jti: randomUUID() }
}

/** Returns the claims that differ from token to token, without those that the application adds. */
function claimsOf ({ principal, scopes, grant, delegated, authenticatedAt }: TokenContent, issued: Issued): object {
  return {
    sub: principal.id,
    ...issued,
    ...scopeClaim(scopes),
    ...principal.roles.length === 0 ? {} : { roles: principal.roles },
    ...grant === null ? {} : { sid: grant },
    ...delegated === true ? { delegated } : {},
    ...authenticatedAt === null ? {} : { auth_time: Math.floor(authenticatedAt / 1000) }
  }
}

/** Returns the fields of the event `token-issued`, except for the scheme and its issuer. */
function eventOf ({ principal, scopes, client, grant }: TokenContent, { jti, exp }: Issued, sign: SignSettings) {
  const { realm, id } = principal
  return {
    realm,
    id,
    client: client === sign.client ? null : client,
    scopes,
    tokenId: jti,
    grant,
    expiresAt: dateOf(exp).toISOString()
  }
}

/** The prefix of the `sub` of tokens that clients get for themselves, which no person may have. */
export const clientPrefix = 'client:'

/** Creates the function `issue` of a scheme. */
export function createIssue (signer: Signer): TokenFeature['issue'] {
  return async (input, { expiresIn, claims = {} }) => {
    const principal = signer.person(input)
    const lifetime = expiresIn === undefined ? {} : { expiresIn: ownLifetime(expiresIn) }
    const content = {
      principal, scopes: principal.scopes, client: null, grant: null, authenticatedAt: null, claims, ...lifetime
    }
    const { accessToken, announce } = await signer.sign(content)
    announce()
    return accessToken
  }
}

function personOf (input: PrincipalInput, realm: string, path: string): Principal {
  const principal = principalFrom(input, realm) as Principal
  if (principal.realm !== realm) {
    throw internalError(`the principal has the realm ${describeValue(principal.realm)}, but ${path} signs for the ` +
      `realm ${describeValue(realm)}. Set sign.realm`)
  }
  if (!principal.id.startsWith(clientPrefix)) return principal
  throw internalError("the id of the principal begins with 'client:', which is reserved for clients")
}

function ownLifetime (expiresIn: unknown): number {
  return atRunTime(() => parseLifetime(expiresIn, 'The option tokens.issue().expiresIn'))
}

function signingKey ({ sign, trust, path }: SignSetup): SigningKey {
  const own = sign.key !== undefined
    ? ownKey(sign.key, trust, `${path}.sign.key`)
    : firstSigningKey(trust, path)
  if (own === undefined) {
    throw misconfigured(`${path} has no key to sign with: its keys are public, found by a function, or have ` +
      'next: true. Set sign.key to a secret or private key.')
  }
  const { algorithm, kid, key, signing, next } = own
  if (next) throw misconfigured(`${path}.sign.key has next: true, so it does not sign yet. Name the key that signs.`)
  if (signing === null) throw misconfigured(`${path}.sign.key is a public key. Signing needs the private key.`)
  return { algorithm, kid, key, signing }
}

/**
 * Returns the first private key of `keys`. Rejects names that consist of digits, because JavaScript sorts these in an
 * object.
 */
function firstSigningKey ({ ring, given }: Trust, path: string): VerificationKey | undefined {
  const signing = ring?.keys.filter(key => key.signing !== null && !key.next) ?? []
  const keys = unwrap(given, path)
  const isRecord = isObject(keys) && !Array.isArray(keys) && !isMap(keys)
  if (signing.length > 1 && isRecord && Object.keys(keys).some(name => /^\d+$/.test(name))) {
    throw misconfigured(`${path}.keys has names that consist of digits, which JavaScript sorts by value: the first ` +
      "key, which signs, may not be the one that is written first. Name them like '2026-02', or set sign.key.")
  }
  return signing[0]
}

/** Returns the key of `sign.key` with the algorithm and kid of the key that verifies its signatures. */
function ownKey (material: unknown, trust: Trust, path: string): VerificationKey {
  if (trust.ring === null) {
    const key = parseVerificationKey(material, { algorithms: trust.algorithms, path })
    checkGuessable(key, path)
    return key
  }
  const { key, signing } = readKey(material, path)
  const verifier = trust.ring.keys.find(known => known.key.type === key.type && known.key.equals(key))
  if (verifier === undefined) {
    throw misconfigured(
      `${path} belongs to none of the keys, so the scheme would refuse its own tokens. Add the public key to keys.`
    )
  }
  return { ...verifier, signing }
}

interface EngineOptions {
  /** The name of the scheme. */
  readonly name: string
  /** The header of every token, as options of `@fastify/jwt`. */
  readonly header: Partial<SignOptions>
}

/** Returns the options of `@fastify/jwt` for the algorithm of a key. It does not know the names of RFC 9864. */
function algorithmOf ({ algorithm: alg }: SigningKey): Partial<SignOptions> {
  return alg === 'Ed25519' || alg === 'Ed448' ? { algorithm: 'EdDSA', header: { alg } } : { algorithm: alg }
}

/**
 * Registers `@fastify/jwt` in a child context of its own, so that its decorators do not conflict with those of an
 * application that uses it too. It is loaded only if a scheme signs.
 */
async function signEngine (
  app: FastifyInstance, { key, signing }: SigningKey, { name, header }: EngineOptions
): Promise<Sign> {
  const { default: fastifyJwt }: typeof import('@fastify/jwt') = require('@fastify/jwt')
  const secret = key.type === 'secret'
    ? signing.export()
    : { private: signing.export({ type: 'pkcs8', format: 'pem' }), public: key.export({ type: 'spki', format: 'pem' }) }
  const own = `gatehouse:${name}`
  let engine = app.jwt
  await app.register(async function gatehouseSigner (child) {
    await child.register(
      fastifyJwt,
      {
        secret,
        sign: header,
        decoratorName: own,
        jwtDecode: `${own}:decode`,
        jwtVerify: `${own}:verify`,
        jwtSign: `${own}:sign`
      }
    )
    engine = child.jwt
  })
  return payload => engine.sign(payload)
}

/** Checks that the scheme accepts its own tokens, so that a wrong `kid` stops the boot. */
function checkAccepted (token: string, trust: Trust, path: string): void {
  if (trust.ring === null || typeof verifyCompact(token, trust.ring) !== 'string') return
  throw misconfigured(`${path} would not accept its own tokens: ${path}.sign.kid must be the kid of the key in keys ` +
    'that signs.')
}

const reservedClaims = [
  'iss', 'aud', 'sub', 'exp', 'nbf', 'iat', 'jti', 'scope', 'scp', 'roles', 'client_id', 'sid', 'delegated'
]

function checkClaims (claims: Readonly<Record<string, unknown>>): void {
  const taken = reservedClaims.filter(name => Object.hasOwn(claims, name))
  if (claims['cnf'] !== undefined) {
    throw internalError('the option claims of a token has cnf, but the scheme refuses tokens that are bound to a key')
  }
  if (taken.length > 0) {
    throw internalError(`the option claims of a token has ${joinNames(taken, 'and')}, which the scheme sets itself ` +
      'from its own options, the principal and expiresIn')
  }
}

/** Returns the claim `scope`. Rejects a scope with a space, which would be read as two (RFC 6749, 3.3). */
function scopeClaim (scopes: readonly string[]): { readonly scope?: string } {
  if (!scopes.every(isScopeToken)) {
    throw internalError('a scope of the principal has characters that a token cannot carry (RFC 6749, 3.3), such as ' +
      'spaces, quotes or non-ASCII characters')
  }
  return scopes.length === 0 ? {} : { scope: scopes.join(' ') }
}
