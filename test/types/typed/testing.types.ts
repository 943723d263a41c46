import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import type { LightMyRequestResponse } from 'fastify'
import { injectAs } from 'fastify-gatehouse/testing'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import type {} from './application.js'

const app = Fastify()
const ada = { id: 'ada', email: 'ada@example.com' }

describe('injectAs', () => {
  test('takes an application of any kind of server and type provider', () => {
    injectAs(app.withTypeProvider<TypeBoxTypeProvider>(), ada, { scheme: 'web' })
    injectAs(Fastify({ http2: true }), ada, { scheme: 'web' })
    expectTypeOf(injectAs(app, ada)('/')).toEqualTypeOf<Promise<LightMyRequestResponse>>()
  })

  test('knows the fields of the principals of a scheme', () => {
    injectAs(app, { ...ada, roles: ['clerk'], more: 1 }, { scheme: 'web' })
    injectAs(app, { id: 'ada' }, { scheme: ['web', 'user'] })
    // @ts-expect-error
    injectAs(app, { id: 'ada', email: 7 }, { scheme: 'web' })
    // @ts-expect-error
    injectAs(app, { email: 'ada@example.com' }, { scheme: 'web' })
  })

  test('knows the names of the schemes', () => {
    // @ts-expect-error
    injectAs(app, ada, { scheme: 'wbe' })
    // @ts-expect-error
    injectAs(app, ada, { scheme: ['wbe'] })
    // @ts-expect-error
    injectAs(app, ada, { schemes: 'web' })
  })
})
