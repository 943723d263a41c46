/**
 * The user or service that a valid credential belongs to. It is identified by the pair `(realm, id)`: `alice` of one
 * issuer is not `alice` of another.
 */
export interface Principal {
  /** The issuer of a token, or the name of the scheme. */
  readonly realm: string
  readonly id: string
  /** The permissions of the credential, compared exactly: there are no wildcards. */
  readonly scopes: readonly string[]
  /** The roles of the user or service. */
  readonly roles: readonly string[]
}

/**
 * A principal as an application's `verify`, table or mapping returns it. The scheme makes a frozen {@link Principal} of
 * it. Principals that are kept for many requests (from a table, and the owners of managed keys) are copies whose lists
 * and plain objects are deep-frozen. The result of a function is copied and frozen at the top level only: nested
 * objects still belong to the application, and are shared between requests if the function returns the same ones again.
 */
export interface PrincipalInput {
  readonly id: string
  /** Default: the realm of the scheme. */
  readonly realm?: string | undefined
  /** Default: none. */
  readonly scopes?: readonly string[] | undefined
  /** Default: none. */
  readonly roles?: readonly string[] | undefined
}

/** The principal that a scheme makes of an application's `P`: all fields of `P`, and those of {@link Principal}. */
export type PrincipalFrom<P extends PrincipalInput> = {
  readonly [K in keyof (Omit<P, keyof Principal> & Principal)]: (Omit<P, keyof Principal> & Principal)[K]
}

/** Describes a negative result of a function of the application. */
export type No = null | undefined | false | { readonly valid: false }

/** Describes a positive result: `T` without its falsy members and {@link No}. */
export type Right<T> = Exclude<T, No | 0 | '' | 0n | void>
