import swagger from '@fastify/swagger'
import type { FastifyInstance, RouteOptions } from 'fastify'
import {
  jsonSchemaTransform, jsonSchemaTransformObject, serializerCompiler, validatorCompiler, type ZodTypeProvider
} from 'fastify-type-provider-zod'
import t from 'tap'
import { z } from 'zod/v4'
import { as, group, route, authConfig, assertBootFails } from '../fixtures/policies.js'
import { describe, documentOf, registerSwagger, start, versions, type Document } from './document.js'

/** Returns `security` and the responses of GET, by path. */
function summary ({ paths }: Document) {
  return Object.fromEntries(
    Object.entries(paths).map(
      ([path, item]) => [path, [item.get?.security, Object.keys(item.get?.responses ?? {}).join()]]
    )
  )
}

const refused = '200,401,403,429,503'
const a = [[{ user: [] }], refused]

t.test('A document describes the access of each route', async t => {
  const declare = (app: FastifyInstance) => {
    route(app, [], '/a')
    route(app, [], '/open', false)
    app.register(async child => {
      group(child, 'web')
      route(child, [], '/b')
    }, { prefix: '/child' })
  }
  const expected = { '/a': a, '/open': [[], '200'], '/child/b': [[{ web: [] }], refused] }

  await t.test('with @fastify/swagger before or after the plugin, in every version of OpenAPI', async t => {
    for (const version of versions) {
      for (const first of [true, false]) {
        const { app, document, log } = await describe(t, declare, { version, first })
        t.strictSame(summary(document), expected, `${version} ${first ? 'first' : 'second'}`)
        t.same(app.gatehouse.audit().map(row => row.url), ['/a', '/child/b', '/open'])
        t.same(log, [])
      }
    }
  })

  await t.test('describes HEAD too, which @fastify/swagger copies if it has an operationId', async t => {
    for (const first of [true, false]) {
      const { document } = await describe(t, app => {
        app.get('/a', { schema: { operationId: 'getA' } as object }, async () => '')
        app.get('/b', async () => '')
        app.head('/c', { schema: { operationId: 'c' } as object, config: { auth: 'web' } }, async () => '')
        app.get('/open', { schema: { operationId: 'open' } as object, config: { auth: false } }, async () => '')
      }, { first, swagger: { exposeHeadRoutes: true } })
      const { '/a': one, '/b': other, '/c': own, '/open': open } = document.paths
      t.strictSame(one?.head, { ...one?.get, operationId: 'getA-head' })
      t.strictSame(other?.head, other?.get)
      t.strictSame([own?.head?.operationId, own?.head?.security], ['c-head', [{ web: [] }]])
      t.strictSame(open?.head?.security, [])
    }
  })

  await t.test('with @fastify/swagger in a child context', async t => {
    const { app, log } = await start(t, () => {})
    route(app, [], '/outside')
    let child: FastifyInstance | undefined
    app.register(async instance => {
      child = instance
      await registerSwagger(instance)
      declare(instance)
    }, { prefix: '/v1' })
    await app.ready()
    const document = await documentOf(t, child as FastifyInstance)
    t.strictSame(summary(document), { '/v1/a': a, '/v1/open': expected['/open'], '/v1/child/b': expected['/child/b'] })
    t.same(log, [])
  })

  await t.test('with two @fastify/swagger: siblings, nested, and one registered later', async t => {
    const { app, log } = await start(t, app => registerSwagger(app, '3.0.3'))
    await registerSwagger(app, '3.1.1', { decorator: 'second' as 'swagger' })
    route(app, [], '/a', { scopes: 'x' })
    let inner: FastifyInstance | undefined
    app.register(async child => {
      await registerSwagger(child, '3.2.0', { decorator: 'third' as 'swagger' })
      route(child, [], '/b', { scopes: 'y' })
      inner = child
    }, { prefix: '/child' })
    await app.ready()
    t.strictSame(
      summary(await documentOf(t, inner as FastifyInstance, 'third' as 'swagger')),
      { '/child/b': [[{ user: ['y'] }], refused] }
    )
    t.strictSame(summary(await documentOf(t, app)), { '/a': a, '/child/b': a })
    t.strictSame(
      summary(await documentOf(t, app, 'second' as 'swagger')),
      { '/a': [[{ user: ['x'] }], refused], '/child/b': [[{ user: ['y'] }], refused] }
    )
    t.same(log, [])
  })

  await t.test('returns the same as YAML, whichever form is requested first', async t => {
    const { app } = await start(t, app => registerSwagger(app))
    declare(app)
    await app.ready()
    const yaml = app.swagger({ yaml: true })
    t.match(yaml, /\/a:\n {4}get:\n {6}responses:[^]*security:\n {8}- user: \[\]/)
    t.strictSame(summary(await documentOf(t, app)), expected)
  })

  await t.test('works without @fastify/swagger', async t => {
    const { app, log } = await start(t, () => {})
    declare(app)
    await app.ready()
    t.equal((await app.inject({ url: '/a', headers: as() })).statusCode, 200)
    t.same(log, [])
    t.notMatch(app.printRoutes(), 'openapi')
  })

  await t.test('describes methods without a field in OpenAPI, several methods, and handwritten paths', async t => {
    const written = {
      '/a': { get: { responses: { 200: { description: 'By hand' } } } },
      '/far': { summary: 'Far', parameters: [], get: { responses: { 200: { description: 'Elsewhere' } } } }
    }
    const { document } = await describe(t, app => {
      app.addHttpMethod('PURGE')
      app.route({ method: ['PUT', 'PATCH'], url: '/a', handler: async () => '' })
      app.route({ method: 'PURGE' as 'GET', url: '/a', config: { auth: 'web' }, handler: async () => '' })
    }, { version: '3.2.0', swagger: { openapi: { paths: written } } })
    const item = document.paths['/a']
    t.strictSame(
      [item?.get?.security, item?.put?.security, item?.patch?.security], [undefined, [{ user: [] }], [{ user: [] }]]
    )
    t.match(item?.additionalOperations, { PURGE: { security: [{ web: [] }] } })
    t.strictSame(document.paths['/far'], written['/far'])
    t.same(Object.keys(written['/a']), ['get'], 'the options are as they were')
  })
})

t.test('Document transforms of an application still apply', async t => {
  await t.test('accepts a transform that moves routes, and a transformObject that clones', async t => {
    const { document } = await describe(t, app => {
      app.get('/a', { schema: { summary: 'A' } }, async () => '')
      app.get('/gone', { schema: { hide: true } }, async () => '')
    }, {
      swagger: {
        transform: ({ schema, url }) => ({ schema: { ...schema, description: 'transformed' }, url: `/moved${url}` }),
        transformObject: document => {
          const { openapiObject } = document as { openapiObject: Record<string, unknown> }
          return structuredClone({ ...openapiObject, 'x-object': true }) as object
        }
      }
    })
    t.strictSame(summary(document), { '/moved/a': a })
    t.match(
      document, { 'x-object': true, paths: { '/moved/a': { get: { summary: 'A', description: 'transformed' } } } }
    )
  })

  await t.test('accepts a transform that hides routes without a schema', async t => {
    const transform = ({ schema = { hide: true }, url }: { schema?: object, url: string }) => ({ schema, url })
    const { document } = await describe(t, app => {
      app.get('/shown', { schema: {} }, async () => '')
      app.get('/hidden', async () => '')
      app.get('/last', { schema: { summary: 'L' }, ...authConfig('web') }, async () => '')
    }, { swagger: { transform } })
    t.strictSame(summary(document), { '/shown': a, '/last': [[{ web: [] }], refused] })
  })

  await t.test('accepts a transform that returns only the fields that it knows', async t => {
    const { document } = await describe(t, app => {
      app.get('/a', { schema: { summary: 'A' } }, async () => '')
      app.get('/open', { schema: { summary: 'O' }, ...authConfig(false) }, async () => '')
    }, { swagger: { transform: ({ schema: { summary: text }, url }) => ({ schema: { summary: text }, url }) } })
    t.strictSame(summary(document), { '/a': a, '/open': [[], '200'] })
    t.equal(document.paths['/a']?.get?.summary, 'A')
  })

  await t.test('adds nothing to an operation that a transformObject adds', async t => {
    const added = { get: { responses: { 200: { description: 'Elsewhere' } } } }
    const { document } = await describe(t, app => { route(app, [], '/a') }, {
      swagger: {
        transformObject: document => {
          const { openapiObject } = document as { openapiObject: { paths: Record<string, object> } }
          openapiObject.paths['/added'] = structuredClone(added)
          return openapiObject
        }
      }
    })
    t.strictSame(summary(document)['/a'], a)
    t.strictSame(document.paths['/added'], added)
  })

  await t.test('accepts a transformObject that replaces the paths', async t => {
    const { app } = await start(t, app => registerSwagger(app, '3.0.3', {
      transformObject: document => Object.assign((document as { openapiObject: object }).openapiObject, { paths: {} })
    }))
    route(app, [], '/a')
    await app.ready()
    app.swagger()
    await new Promise(resolve => { setImmediate(resolve) })
    t.strictSame((await documentOf(t, app)).paths, {})
  })

  await t.test('accepts a transformObject that returns another document, or a frozen one', async t => {
    const transforms = {
      own: (document: object) => ({ ...document }),
      frozen: (document: object) => {
        Object.freeze((document as Document).paths)
        return Object.freeze(document)
      }
    }
    for (const [name, transform] of Object.entries(transforms)) {
      const { app } = await start(t, app => registerSwagger(app, '3.0.3', {
        transformObject: document => transform((document as { openapiObject: object }).openapiObject)
      }))
      route(app, [], '/a')
      await app.ready()
      const document = app.swagger() as unknown as Document
      await new Promise(resolve => { setImmediate(resolve) })
      t.strictSame(summary(document), { '/a': a }, name)
      if (name === 'own') t.equal(Object.getPrototypeOf(document.paths), Object.prototype)
    }
  })

  await t.test('accepts the transforms of zod, whose schemas are not JSON Schema', async t => {
    for (const version of versions) {
      const zod = { transform: jsonSchemaTransform, transformObject: jsonSchemaTransformObject }
      const { app, document } = await describe(t, app => {
        app.setValidatorCompiler(validatorCompiler)
        app.setSerializerCompiler(serializerCompiler)
        const typed = app.withTypeProvider<ZodTypeProvider>()
        typed.get(
          '/orders/:id',
          {
            schema: {
              params: z.object({ id: z.string() }),
              response: { 200: z.object({ id: z.string() }), 403: z.object({ own: z.string() }) }
            }
          },
          async request => ({ id: request.params.id })
        )
        route(app, [], '/bare', { roles: 'clerk' })
      }, { version, swagger: zod })
      t.strictSame(summary(document), { '/orders/{id}': a, '/bare': [[{ user: [] }], refused] })
      t.strictSame(document.paths['/bare']?.get?.['x-auth'], ['role clerk'])
      t.match(
        document.paths['/orders/{id}']?.get?.responses[403],
        { content: { 'application/json': { schema: { properties: { own: {} } } } } }
      )
      t.equal((await app.inject({ url: '/orders/7', headers: as() })).body, '{"id":"7"}')
    }
  })
})

t.test('What is the application\'s stays as it was', async t => {
  await t.test('leaves the schemas and options of routes unchanged', async t => {
    const schema = { summary: 'A' }
    const options: Array<{ schema?: unknown, url: string }> = []
    const { app } = await start(t, app => registerSwagger(app))
    app.addHook('onRoute', route => { options.push(route) })
    app.get('/a', { schema }, async () => '')
    app.get('/b', async () => '')
    await app.ready()
    app.swagger()
    await new Promise(resolve => { setImmediate(resolve) })
    const routes = options.filter(route => ['/a', '/b'].includes(route.url))
    t.equal(routes[0]?.schema, schema)
    t.same(Object.keys(schema), ['summary'])
    t.notOk(routes.some(route => route.url === '/b' && 'schema' in route))
    t.equal(
      Object.getPrototypeOf((app.swagger() as unknown as Document).paths),
      Object.prototype,
      'the paths are an ordinary object'
    )
  })

  await t.test('sees a route that an onRoute hook of another plugin declares', async t => {
    const { app } = await start(t, async app => {
      await registerSwagger(app)
      app.addHook('onRoute', function ({ url }) {
        if (url.includes('gatehouse-openapi')) this.get('/echo', async () => '')
      })
    })
    await app.ready()
    t.equal((await app.inject('/echo')).statusCode, 401)
  })

  await t.test('defaults may be set after it, and foreign routes still stop the boot', async t => {
    const declared: RouteOptions[] = []
    const { app } = await start(t, async app => {
      await registerSwagger(app)
      app.addHook('onRoute', route => { declared.push(route) })
    })
    group(app, { roles: 'clerk' })
    route(app, [], '/a')
    await app.ready()
    for (const url of [
      '/?gatehouse-openapi-1', '/%3Fgatehouse-openapi-1', '/%253Fgatehouse-openapi-1', '//?gatehouse-openapi-1'
    ]) {
      t.equal((await app.inject(url)).statusCode, 404, url)
    }
    t.strictSame(summary(await documentOf(t, app)), { '/a': a })
    const [hidden] = declared
    t.match(hidden?.url, '/?gatehouse-openapi-1')
    for (const run of [hidden?.handler, hidden?.onError]) {
      t.equal(Reflect.apply(run as () => void, app, []), undefined, 'a hidden route does nothing')
    }
    await assertBootFails(
      t,
      () => {},
      ['GET, HEAD /early is declared before'],
      { before: async app => { await registerSwagger(app); app.get('/early', async () => '') } }
    )
  })
})

t.test('Warnings about what a document cannot describe', async t => {
  await t.test('warns once about a document of Swagger 2.0', async t => {
    const { app, log } = await start(t, async app => {
      await app.register(swagger, { swagger: { info: { title: 'Old', version: '1' } } })
      await registerSwagger(app, '3.0.3', { decorator: 'newer' as 'swagger' })
    })
    route(app, [], '/a')
    await app.ready()
    const newer = (app as unknown as { newer: () => object }).newer()
    const old = JSON.parse(JSON.stringify(app.swagger())) as Document
    app.swagger({ yaml: true })
    t.equal((old as unknown as { swagger: string }).swagger, '2.0')
    t.strictSame(old.paths['/a']?.get, { responses: { 200: { description: 'Default Response' } } })
    t.match(JSON.stringify(newer), '"security":[{"user":[]}]')
    t.same(
      log.map(line => line.msg),
      [
        'fastify-gatehouse: a document of Swagger 2.0 cannot say who may call a route. ' +
        'Give @fastify/swagger the option openapi, so that it makes a document of OpenAPI 3'
      ]
    )
  })

  await t.test('warns about routes declared before @fastify/swagger, except hidden ones', async t => {
    const { app, log } = await start(t, () => {})
    app.get('/early', async () => '')
    app.post('/early', async () => '')
    app.get('/hidden', { schema: { hide: true } }, async () => '')
    await registerSwagger(app)
    route(app, [], '/late')
    await app.ready()
    t.strictSame(summary(await documentOf(t, app)), { '/late': a })
    t.match(
      log,
      [
        {
          routes: ['GET /early', 'POST /early'],
          msg: /was registered after these routes, and does not describe them. Register it before them/
        }
      ]
    )
    t.equal(log.length, 1)
  })

  await t.test('warns about a single route declared before @fastify/swagger', async t => {
    const { app, log } = await start(t, () => {})
    route(app, [], '/early')
    await registerSwagger(app)
    await app.ready()
    t.same(log.map(({ routes }) => routes), [['GET /early']])
  })

  await t.test('does not fail if every route is hidden, or there are none', async t => {
    const { document } = await describe(t, app => { route(app, [], '/a') }, { swagger: { hideUntagged: true } })
    t.strictSame(document.paths, {})
    const { document: empty } = await describe(t, () => {})
    t.strictSame(empty.paths, {})
  })
})
