/**
 * Whom a valid credential belongs to. Its identity is the pair `(realm, id)`: `alice` of one issuer is not `alice` of
 * another.
 */
export interface Principal {
  /** The issuer of a token, or the name of the scheme. */
  readonly realm: string
  readonly id: string
  /** What it may do. Never a wildcard, never a pattern. */
  readonly scopes: readonly string[]
  /** What it is. */
  readonly roles: readonly string[]
}

/**
 * What an application's `verify`, table or mapping says of a principal; the scheme makes a frozen {@link Principal} of
 * it. What is kept for many requests (of a table, and of the owners of managed keys) is a copy, frozen all the way down
 * in its lists and plain objects. What a function returns is frozen at the top: what it holds stays the application's
 * own, and a function that returns one object twice shares what is within it between two requests.
 */
export interface PrincipalInput {
  readonly id: string
  /** Left out, it is the scheme's own. */
  readonly realm?: string | undefined
  /** Left out, none. */
  readonly scopes?: readonly string[] | undefined
  /** Left out, none. */
  readonly roles?: readonly string[] | undefined
}

/**
 * The principal that a scheme makes of an application's `P`: every field of `P`, with identity, scopes and roles
 * complete.
 */
export type PrincipalFrom<P extends PrincipalInput> = {
  readonly [K in keyof (Omit<P, keyof Principal> & Principal)]: (Omit<P, keyof Principal> & Principal)[K]
}
