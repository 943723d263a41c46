import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import authPlugin, {
  type PlanName, type PrincipalOf, type RoleName, type RouteAuth, type SchemeName, type ScopeName
} from 'fastify-gatehouse'
import { expectTypeOf } from 'expect-type'
import { describe, test } from '../titles.js'
import { everybody, schemes as first } from './first.js'
import { schemes as second } from './second.js'

const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()

describe('augmentations of two packages', () => {
  test('merge: the routes of both know the schemes, scopes and roles of both', () => {
    expectTypeOf<SchemeName>().toEqualTypeOf<'ops' | 'service'>()
    expectTypeOf<ScopeName>().toEqualTypeOf<'orders:read' | 'reports:read'>()
    expectTypeOf<RoleName>().toEqualTypeOf<'clerk' | 'auditor'>()
    expectTypeOf<PlanName>().toEqualTypeOf<'pro'>()
    authPlugin(app, { schemes: { ...first, ...second }, default: everybody })
    expectTypeOf({ schemes: 'service' as const, roles: 'auditor' as const }).toExtend<RouteAuth>()
    expectTypeOf({ schemes: 'ops' as const, roles: 'admin' as const }).not.toExtend<RouteAuth>()
    app.get('/', { config: { auth: ['ops', 'service'] } }, async ({ principal }) => {
      expectTypeOf(principal).toEqualTypeOf<PrincipalOf<'ops'> | PrincipalOf<'service'>>()
    })
    app.get('/', { config: { auth: 'service' } }, async ({ principal }) => {
      expectTypeOf(principal.team).toEqualTypeOf<string>()
    })
    app.get('/', async ({ principal }) => { expectTypeOf(principal.shift).toEqualTypeOf<number>() })
  })
})
