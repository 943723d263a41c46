/** An operation of a document (Operation Object). Its other fields are the application's. */
export interface Operation {
  security?: unknown
  responses: Readonly<Record<string, unknown>>
  [field: string]: unknown
}

/** The operations of one path, by method in lower case (Path Item Object). */
export type PathItem = Readonly<Record<string, unknown>>

/** A document of OpenAPI 3 that `@fastify/swagger` is making. */
export interface OpenApiDocument {
  readonly openapi: string
  readonly security?: unknown
  readonly components: Record<string, Readonly<Record<string, unknown>>>
  paths: Readonly<Record<string, PathItem>>
}

/** Returns the minor version of a document: 1 for 3.1.0. */
export function minorVersion ({ openapi }: OpenApiDocument): number {
  return Number(openapi.split('.')[1])
}
