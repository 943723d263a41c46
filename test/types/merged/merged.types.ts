import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import authPlugin, {
  type PlanName, type PrincipalOf, type RoleName, type RouteAuth, type SchemeName, type ScopeName
} from 'fastify-gatehouse'
import { describe, expect, test } from '../expect.js'
import { everybody, schemes as first } from './first.js'
import { schemes as second } from './second.js'

const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()

describe('augmentations of two packages', () => {
  test('merge: the routes of both know the schemes, scopes and roles of both', () => {
    expect<SchemeName>().type.toBe<'ops' | 'service'>()
    expect<ScopeName>().type.toBe<'orders:read' | 'reports:read'>()
    expect<RoleName>().type.toBe<'clerk' | 'auditor'>()
    expect<PlanName>().type.toBe<'pro'>()
    authPlugin(app, { schemes: { ...first, ...second }, default: everybody })
    expect<RouteAuth>().type.toBeAssignableFrom({ schemes: 'service' as const, roles: 'auditor' as const })
    expect<RouteAuth>().type.not.toBeAssignableFrom({ schemes: 'ops' as const, roles: 'admin' as const })
    app.get('/', { config: { auth: ['ops', 'service'] } }, async ({ principal }) => {
      expect(principal).type.toBe<PrincipalOf<'ops'> | PrincipalOf<'service'>>()
    })
    app.get('/', { config: { auth: 'service' } }, async ({ principal }) => {
      expect(principal.team).type.toBe<string>()
    })
    app.get('/', async ({ principal }) => { expect(principal.shift).type.toBe<number>() })
  })
})
