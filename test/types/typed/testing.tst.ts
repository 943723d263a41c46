import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import type { LightMyRequestResponse } from 'fastify'
import { injectAs } from 'fastify-gatehouse/testing'
import { describe, expect, test } from 'tstyche'
import type {} from './application.js'

const app = Fastify()
const ada = { id: 'ada', email: 'ada@example.com' }

describe('injectAs', () => {
  test('takes an application of any kind of server and type provider', () => {
    expect(injectAs).type.toBeCallableWith(app.withTypeProvider<TypeBoxTypeProvider>(), ada, { scheme: 'web' })
    expect(injectAs).type.toBeCallableWith(Fastify({ http2: true }), ada, { scheme: 'web' })
    expect(injectAs(app, ada)('/')).type.toBe<Promise<LightMyRequestResponse>>()
  })

  test('knows the fields of the principals of a scheme', () => {
    expect(injectAs).type.toBeCallableWith(app, { ...ada, roles: ['clerk'], more: 1 }, { scheme: 'web' })
    expect(injectAs).type.toBeCallableWith(app, { id: 'ada' }, { scheme: ['web', 'user'] })
    expect(injectAs).type.not.toBeCallableWith(app, { id: 'ada', email: 7 }, { scheme: 'web' })
    expect(injectAs).type.not.toBeCallableWith(app, { email: 'ada@example.com' }, { scheme: 'web' })
  })

  test('knows the names of the schemes', () => {
    expect(injectAs).type.not.toBeCallableWith(app, ada, { scheme: 'wbe' })
    expect(injectAs).type.not.toBeCallableWith(app, ada, { scheme: ['wbe'] })
    expect(injectAs).type.not.toBeCallableWith(app, ada, { schemes: 'web' })
  })
})
