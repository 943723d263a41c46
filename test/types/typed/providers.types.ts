import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type, type Static } from '@sinclair/typebox'
import Fastify, { type FastifyRequest } from 'fastify'
import type { AnyPrincipal, PrincipalOf } from 'fastify-gatehouse'
import { injectAs, type InjectedAs } from 'fastify-gatehouse/testing'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { FromSchema } from 'json-schema-to-ts'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import { z } from 'zod/v4'
import type { WebPrincipal } from './application.js'

const app = Fastify()
const box = app.withTypeProvider<TypeBoxTypeProvider>()
const zod = app.withTypeProvider<ZodTypeProvider>()
const json = app.withTypeProvider<JsonSchemaToTsProvider>()

const boxParams = Type.Object({ id: Type.Number() })
const zodParams = z.object({ id: z.number() })
const jsonParams = {
  type: 'object', properties: { id: { type: 'number' } }, required: ['id'], additionalProperties: false
} as const

type User = PrincipalOf<'user'>
interface Id { id: number }

declare function helper (request: FastifyRequest): string

describe('a type provider', () => {
  test('infers the params beside the principal: TypeBox', () => {
    box.get('/:id', { schema: { params: boxParams }, config: { auth: 'user' } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
      expectTypeOf(request.params).toEqualTypeOf<Id>()
      helper(request)
    })
    box.get('/:id', {
      schema: { params: boxParams }, config: { auth: { schemes: 'web', mode: 'optional' } }
    }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal | null>()
      expectTypeOf(request.params).toEqualTypeOf<Id>()
    })
  })

  test('infers the params beside the principal: zod', () => {
    zod.get('/:id', { schema: { params: zodParams }, config: { auth: 'user' } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
      expectTypeOf(request.params).toEqualTypeOf<Id>()
      helper(request)
    })
    zod.get('/:id', {
      schema: { params: zodParams }, config: { auth: { schemes: 'web', mode: 'optional' } }
    }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal | null>()
      expectTypeOf(request.params).toEqualTypeOf<Id>()
    })
  })

  test('infers the params beside the principal: JSON Schema to TS', () => {
    json.get('/:id', { schema: { params: jsonParams }, config: { auth: 'user' } }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
      expectTypeOf(request.params).toEqualTypeOf<Id>()
      helper(request)
    })
    json.get('/:id', {
      schema: { params: jsonParams }, config: { auth: { schemes: 'web', mode: 'optional' } }
    }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<WebPrincipal | null>()
      expectTypeOf(request.params).toEqualTypeOf<Id>()
    })
  })

  test('lets when read the params that the schema describes', () => {
    const byBox = (user: User, request: FastifyRequest<{ Params: Static<typeof boxParams> }>) =>
      user.tenant === 'acme' && request.params.id > 1
    const byZod = (user: User, request: FastifyRequest<{ Params: z.infer<typeof zodParams> }>) =>
      user.tenant === 'acme' && request.params.id > 1
    const byJson = (user: User, request: FastifyRequest<{ Params: FromSchema<typeof jsonParams> }>) =>
      user.tenant === 'acme' && request.params.id > 1
    box.get('/:id', {
      schema: { params: boxParams }, config: { auth: { schemes: 'user', when: byBox } }
    }, async request => { expectTypeOf(request.principal).toEqualTypeOf<User>() })
    zod.get('/:id', {
      schema: { params: zodParams }, config: { auth: { schemes: 'user', when: byZod } }
    }, async request => {
      expectTypeOf(request.principal).toEqualTypeOf<User>()
      expectTypeOf(request.params).toEqualTypeOf<Id>()
    })
    json.get('/:id', {
      schema: { params: jsonParams }, config: { auth: { schemes: 'user', when: byJson } }
    }, async request => { expectTypeOf(request.principal).toEqualTypeOf<User>() })
    zod.get('/:id', {
      schema: { params: zodParams },
      config: {
        auth: {
          schemes: 'user',
          when: (principal, request) => {
            expectTypeOf(principal).toEqualTypeOf<AnyPrincipal>()
            return helper(request) !== ''
          }
        }
      }
    }, async request => { expectTypeOf(request.params).toEqualTypeOf<Id>() })
  })

  test('leaves injectAs as it is', () => {
    const ada = { id: 'ada', email: 'ada@example.com' }
    for (const each of [box, zod, json]) {
      expectTypeOf(injectAs(each, ada, { scheme: 'web' })).toEqualTypeOf<InjectedAs>()
    }
    // @ts-expect-error
    injectAs(zod, { id: 'ada', email: 7 }, { scheme: 'web' })
    // @ts-expect-error
    injectAs(json, ada, { scheme: 'wbe' })
  })
})
