// an application that fills the registries, as a user would; the tests beside it use its declarations
import type { FastifyRequest } from 'fastify'
import type { PrincipalFrom, PrincipalInput, Scheme, SchemeFactory, SchemesOf } from 'fastify-gatehouse'

type Verify<P extends PrincipalInput> = {
  hack (key: string, request: FastifyRequest): P | null | Promise<P | null>
}['hack']

/** A factory like those of schemes: the principal is inferred from a function of the application. */
declare function keyScheme<P extends PrincipalInput> (
  options: { verify: Verify<P> }
): SchemeFactory<PrincipalFrom<P>, { keyId: string }>
declare function tokenScheme<P extends PrincipalInput = PrincipalInput> (
  options: { issuer: string, principal?: (claims: Record<string, unknown>) => P }
): SchemeFactory<PrincipalFrom<P>, { claims: Record<string, unknown> }>

export interface WebPrincipal {
  readonly realm: string,
  readonly id: string,
  readonly scopes: readonly string[],
  readonly roles: readonly string[],
  readonly email: string
}
declare const web: Scheme<WebPrincipal, null>

export const schemes = {
  user: tokenScheme({
    issuer: 'https://id.example.com', principal: claims => ({ id: String(claims.sub), tenant: 'acme' })
  }),
  web,
  // A function that reads the request must not make the registry depend on itself.
  service: keyScheme({
    verify: async (key, request) => request.ip === '' || request.params === null ? null : { id: key, team: 7 }
  })
}

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<typeof schemes> {}
  interface Scopes { 'orders:read': true, 'orders:write': true }
  interface Roles { admin: true, clerk: true }
  interface Plans { free: true, pro: true }
}
