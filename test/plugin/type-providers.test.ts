import type { JsonSchemaToTsProvider } from '@fastify/type-provider-json-schema-to-ts'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import t, { type Test } from 'tap'
import { z } from 'zod/v4'
import gatehouse, { apiKey, basic } from '../../lib/index.js'
import { injectAs } from '../../lib/testing/index.js'

/**
 * Checks at run time what test/types/typed/providers.types.ts and test/types/merged/ check of the types, under the same
 * titles.
 */

const boxParams = Type.Object({ id: Type.Number() })
const zodParams = z.object({ id: z.coerce.number() })
const jsonParams = {
  type: 'object', properties: { id: { type: 'number' } }, required: ['id'], additionalProperties: false
} as const

type OwnRequest = FastifyRequest<{ Params: { id: number } }>

const when = ({ id }: { readonly id: string }, { params }: OwnRequest): boolean => id === 'ann' && params.id > 1

/** Adds a route with the params of a type provider, and one whose `when` reads them. */
type Routes = (app: FastifyInstance) => void

const providers: Readonly<Record<string, Routes>> = {
  TypeBox: app => {
    const typed = app.withTypeProvider<TypeBoxTypeProvider>()
    const schema = { params: boxParams }
    typed.get('/:id', { schema }, async ({ principal, params }) => [principal?.id, params.id + 1])
    typed.get('/own/:id', { schema, config: { auth: { when } } }, async ({ params }) => params.id)
  },
  zod: app => {
    app.setValidatorCompiler(validatorCompiler)
    app.setSerializerCompiler(serializerCompiler)
    const typed = app.withTypeProvider<ZodTypeProvider>()
    const schema = { params: zodParams }
    typed.get('/:id', { schema }, async ({ principal, params }) => [principal?.id, params.id + 1])
    typed.get('/own/:id', { schema, config: { auth: { when } } }, async ({ params }) => params.id)
  },
  'JSON Schema to TS': app => {
    const typed = app.withTypeProvider<JsonSchemaToTsProvider>()
    const schema = { params: jsonParams }
    typed.get('/:id', { schema }, async ({ principal, params }) => [principal?.id, params.id + 1])
    typed.get('/own/:id', { schema, config: { auth: { when } } }, async ({ params }) => params.id)
  }
}

async function appWith (t: Test, routes: Routes): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { ops: basic({ verify: () => null }) } })
  routes(app)
  return app
}

t.test('a type provider', async t => {
  for (const [name, routes] of Object.entries(providers)) {
    t.test(`infers the params beside the principal: ${name}`, async t => {
      const ann = injectAs(await appWith(t, routes), { id: 'ann' })
      t.same((await ann('/7')).json(), ['ann', 8])
      t.equal((await ann('/x')).statusCode, 400)
    })
  }

  t.test('lets when read the params that the schema describes', async t => {
    for (const routes of Object.values(providers)) {
      const ann = injectAs(await appWith(t, routes), { id: 'ann' })
      t.same([(await ann('/own/1')).statusCode, (await ann('/own/2')).statusCode], [403, 200])
      t.equal((await ann('/own/x')).statusCode, 400, 'the params are validated first')
    }
  })

  t.test('leaves injectAs as it is', async t => {
    for (const [name, routes] of Object.entries(providers)) {
      const app = await appWith(t, routes)
      const typed = name === 'zod' ? app.withTypeProvider<ZodTypeProvider>() : app
      t.equal((await injectAs(typed, { id: 'bob' })('/own/2')).statusCode, 403)
    }
  })
})

t.test('augmentations of two packages', async t => {
  t.test('merge: the routes of both know the schemes, scopes and roles of both', async t => {
    const first = { ops: basic({ verify: async username => ({ id: username, shift: 1 }) }) }
    const second = { service: apiKey({ verify: async key => ({ id: key, roles: ['auditor'] }) }) }
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(gatehouse, {
      schemes: { ...first, ...second }, default: ['ops', 'service'], roles: { clerk: {}, auditor: {} }
    })
    app.get('/', { config: { auth: { roles: 'auditor' } } }, async ({ principal }) => principal?.id)
    t.equal((await app.inject({ url: '/', headers: { 'x-api-key': 'billing' } })).body, 'billing')
    t.equal((await injectAs(app, { id: 'ann' }, { scheme: 'ops' })('/')).statusCode, 403)
  })
})
