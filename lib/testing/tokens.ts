import { constants, createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { getOrCreate } from '../util/objects.js'

const specs = {
  RS256: { digest: 'sha256', make: rsa },
  RS384: { digest: 'sha384', make: rsa },
  RS512: { digest: 'sha512', make: rsa },
  PS256: { digest: 'sha256', make: rsa },
  PS384: { digest: 'sha384', make: rsa },
  PS512: { digest: 'sha512', make: rsa },
  ES256: { digest: 'sha256', make: (): KeyPair => generateKeyPairSync('ec', { namedCurve: 'P-256' }) },
  ES384: { digest: 'sha384', make: (): KeyPair => generateKeyPairSync('ec', { namedCurve: 'P-384' }) },
  ES512: { digest: 'sha512', make: (): KeyPair => generateKeyPairSync('ec', { namedCurve: 'P-521' }) },
  EdDSA: { digest: null, make: ed25519 },
  Ed25519: { digest: null, make: ed25519 }
} as const

/** Names an algorithm with public keys, with which an issuer can sign. */
export type IssuerAlgorithm = keyof typeof specs

/** A published public key (RFC 7517). */
export type PublicJwk = Readonly<Record<string, unknown>>

interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

/** A key of the fake issuer, for one algorithm. */
export interface SigningKey extends KeyPair {
  readonly kid: string
  readonly algorithm: IssuerAlgorithm
}

function isIssuerAlgorithm (name: string): name is IssuerAlgorithm {
  return Object.hasOwn(specs, name)
}

/** All algorithms of {@link IssuerAlgorithm}. */
export const issuerAlgorithms = Object.freeze(Object.keys(specs).filter(isIssuerAlgorithm))

/** Generates key pairs when they are first used. All algorithms of RSA share one, because it takes long to generate. */
export class KeyPairs {
  readonly #pairs = new Map<() => KeyPair, KeyPair>()

  /** Returns the key pair for an algorithm. */
  of (algorithm: IssuerAlgorithm): KeyPair {
    const { make } = specs[algorithm]
    return getOrCreate(this.#pairs, make, make)
  }
}

/** Returns the JWK of the public key, with `kid`, `alg` and `use`. */
export function publicJwk ({ kid, algorithm, publicKey }: SigningKey): PublicJwk {
  return { ...publicKey.export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }
}

/** Encodes a segment of a token: a string as it is, any other value as JSON. */
function encoded (part: unknown): string {
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')
}

/** Joins a header and a payload to the input of a signature (RFC 7515, 5.1). */
function signingInput (header: unknown, payload: unknown): string {
  return `${encoded(header)}.${encoded(payload)}`
}

/** Signs with the algorithm of the key, or another algorithm that fits its kind. */
function signature (input: string, key: SigningKey, algorithm: IssuerAlgorithm = key.algorithm): Buffer {
  const padding = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : {}
  return sign(
    specs[algorithm].digest, Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363', ...padding }
  )
}

/** Signs a compact JWS. */
export function compactJws (header: unknown, payload: unknown, key: SigningKey): string {
  const input = signingInput(header, payload)
  return `${input}.${signature(input, key).toString('base64url')}`
}

function ed25519 (): KeyPair {
  return generateKeyPairSync('ed25519')
}

function rsa (): KeyPair {
  return generateKeyPairSync('rsa', { modulusLength: 2048 })
}

type Claims = Readonly<Record<string, unknown>>

/** Parameters of {@link badTokens}. */
export interface BadTokenSource {
  /** The published key that signs. */
  readonly key: SigningKey
  /** The claims of a valid token. */
  readonly claims: Claims & { readonly iat: number }
}

/** Holds the parts of a bad token: the header and claims of a valid token, and a function that signs. */
interface Recipe extends BadTokenSource {
  readonly header: Claims
  /** Signs with the published key. */
  readonly sign: (header: unknown, payload: unknown) => string
}

/** Creates each bad token. A route that accepts the valid token must refuse all of them. */
const recipes = {
  expired: ({ sign, header, claims }: Recipe) => sign(
    header, { ...claims, iat: claims.iat - 7200, exp: claims.iat - 3600 }
  ),
  notYetValid: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, nbf: claims.iat + 3600 }),
  issuedInTheFuture: ({ sign, header, claims }: Recipe) => sign(
    header, { ...claims, iat: claims.iat + 3600, exp: claims.iat + 7200 }
  ),
  withoutExpiry: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, exp: undefined }),
  infiniteExpiry: ({ sign, header, claims }: Recipe) => sign(
    header, JSON.stringify({ ...claims, exp: 0 }).replace('"exp":0', '"exp":1e999')
  ),
  textualExpiry: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, exp: String(claims.iat + 300) }),
  otherIssuer: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, iss: `${String(claims['iss'])}/other` }),
  withoutIssuer: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, iss: undefined }),
  otherAudience: ({ sign, header, claims }: Recipe) => sign(
    header, { ...claims, aud: `${String(claims['aud'])}/other` }
  ),
  withoutAudience: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, aud: undefined }),
  numericSubject: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, sub: 1 }),
  emptySubject: ({ sign, header, claims }: Recipe) => sign(header, { ...claims, sub: '' }),
  refreshToken: ({ sign, header, claims }: Recipe) => sign({ ...header, typ: 'refresh+jwt' }, claims),
  logoutToken: ({ sign, header, claims }: Recipe) => sign({ ...header, typ: 'logout+jwt' }, claims),
  boundToAKey: ({ sign, header, claims }: Recipe) => sign(
    header, { ...claims, cnf: { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' } }
  ),
  payloadIsAList: ({ sign, header, claims }: Recipe) => sign(header, [claims]),
  payloadIsNoJson: ({ sign, header }: Recipe) => sign(header, 'no JSON'),
  unknownExtension: ({ sign, header, claims }: Recipe) => sign({ ...header, crit: ['exp'], exp: 1 }, claims),
  unencodedPayload: ({ sign, header, claims }: Recipe) => sign({ ...header, b64: true }, claims),
  unknownKey: ({ header, claims, key }: Recipe) => compactJws({ ...header, kid: 'unknown' }, claims, stranger(key)),
  otherKeyUnderTheSameKid: ({ header, claims, key }: Recipe) => compactJws(header, claims, stranger(key)),
  keyInTheHeader: ({ header, claims, key }: Recipe) => compactJws(
    { ...header, kid: 'own', jwk: publicJwk(stranger(key)) }, claims, stranger(key)
  ),
  keyAtAnotherUrl: ({ header, claims, key }: Recipe) => compactJws(
    { ...header, kid: 'evil', jku: 'https://attacker.example/jwks.json' }, claims, stranger(key)
  ),
  kidIsAPath: ({ header, claims, key }: Recipe) => hmac(
    { ...header, alg: 'HS256', kid: '../../../../dev/null' }, claims, Buffer.alloc(1)
  ),
  publicKeyAsSecret: ({ header, claims, key }: Recipe) => hmac(
    { ...header, alg: 'HS256' }, claims, key.publicKey.export({ type: 'spki', format: 'pem' })
  ),
  unsigned: ({ header, claims }: Recipe) => `${signingInput({ ...header, alg: 'none' }, claims)}.`,
  unsignedInCapitals: ({ header, claims }: Recipe) => `${signingInput({ ...header, alg: 'NONE' }, claims)}.`,
  withoutAlgorithm: ({ sign, header, claims }: Recipe) => sign({ ...header, alg: undefined }, claims),
  withoutSignature: ({ sign, header, claims }: Recipe) => sign(header, claims).replace(/[^.]*$/, ''),
  zeroSignature: ({ header, claims, key }: Recipe) => withSignature(
    { header, claims, key }, bytes => Buffer.alloc(bytes.length)
  ),
  changedSignature: ({ header, claims, key }: Recipe) => withSignature(
    { header, claims, key }, bytes => Buffer.from(bytes.map((byte, i) => i === 0 ? byte ^ 1 : byte))
  ),
  longerSignature: ({ header, claims, key }: Recipe) => withSignature(
    { header, claims, key }, bytes => Buffer.concat([bytes, Buffer.alloc(1)])
  ),
  derSignature: ({ header, claims, key }: Recipe) => derSigned(header, claims, key),
  changedPayload: ({ sign, header, claims }: Recipe) => exchanged(
    sign(header, claims), encoded({ ...claims, sub: 'somebody-else' })
  ),
  paddedSegments: ({ sign, header, claims }: Recipe) => `${sign(header, claims)}=`,
  spacedSegments: ({ sign, header, claims }: Recipe) => sign(header, claims).replace('.', '.\t'),
  fourSegments: ({ sign, header, claims }: Recipe) => `${sign(header, claims)}.AAAA`
}

/** The name of a bad token, after its defect. */
export type BadTokenName = keyof typeof recipes

/** Creates all bad tokens. Some are only bad at the current time. */
export function badTokens (source: BadTokenSource): Readonly<Record<BadTokenName, string>> {
  const recipe: Recipe = {
    ...source,
    header: { alg: source.key.algorithm, kid: source.key.kid, typ: 'at+jwt' },
    sign: (header, payload) => compactJws(header, payload, source.key)
  }
  const made = Object.entries(recipes).map(([name, make]) => [name, make(recipe)])
  return Object.freeze(Object.fromEntries(made) as Record<BadTokenName, string>)
}

/** Key pairs that no issuer publishes. */
const strangers = new KeyPairs()

function stranger ({ algorithm }: SigningKey): SigningKey {
  return { kid: 'stranger', algorithm, ...strangers.of(algorithm) }
}

/** Signs by HMAC with a value that an attacker may know. */
function hmac (header: Claims, claims: Claims, secret: string | Buffer): string {
  const input = signingInput(header, claims)
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

function withSignature (
  { header, claims, key }: Pick<Recipe, 'header' | 'claims' | 'key'>, change: (bytes: Buffer) => Buffer
): string {
  const input = signingInput(header, claims)
  return `${input}.${change(signature(input, key)).toString('base64url')}`
}

/**
 * Signs with a signature in DER, which RFC 7518, 3.4 does not allow; for an algorithm without that form, with a
 * signature that is a byte short.
 */
function derSigned (header: Claims, claims: Claims, key: SigningKey): string {
  const input = signingInput(header, claims)
  const bytes = key.algorithm.startsWith('ES')
    ? sign('sha256', Buffer.from(input), key.privateKey)
    : signature(input, key).subarray(1)
  return `${input}.${bytes.toString('base64url')}`
}

function exchanged (token: string, payload: string): string {
  const [header = '', , signature = ''] = token.split('.')
  return `${header}.${payload}.${signature}`
}
