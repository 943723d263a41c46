import type { FastifyInstance, FastifySchema } from 'fastify'
import t from 'tap'
import { as, route } from '../fixtures/policies.js'
import { describe, start } from './document.js'

const ours = ['AuthUnauthorized', 'AuthForbidden', 'AuthRateLimited', 'AuthUnavailable']

t.test('The responses of an operation', async t => {
  await t.test('describe the refusals of the guard that the route does not declare', async t => {
    const own = (response: object): { schema: FastifySchema } => ({ schema: { response } })
    const { document } = await describe(t, app => {
      route(app, [], '/none')
      app.get('/one', own({ 200: { type: 'string' }, 401: { description: 'Ours', type: 'string' } }), async () => '')
      app.get('/range', own({ '4xx': { description: 'Ours', type: 'string' } }), async () => '')
      app.get('/default', own({ default: { description: 'Ours', type: 'string' } }), async () => '')
      route(app, [], '/try', { mode: 'try' })
      route(app, [], '/optional', { mode: 'optional' })
      route(app, [], '/public', false)
    })
    const statuses = Object.entries(document.paths).map(
      ([path, item]) => [path, ...Object.keys(item.get?.responses ?? {})].join(' ')
    )
    t.same(
      statuses,
      [
        '/none 200 401 403 429 503', '/one 200 401 403 429 503', '/range 503 4XX', '/default default',
        '/try 200 403 429 503', '/optional 200 401 403 429 503', '/public 200'
      ]
    )
    t.match(document.paths['/one']?.get?.responses[401], { description: 'Ours' })
    t.strictSame(document.paths['/none']?.get?.responses[401], { $ref: '#/components/responses/AuthUnauthorized' })
    t.same(Object.keys(document.components.responses ?? {}), ours)
  })

  await t.test('describe the format of refusals', async t => {
    const forms: Array<[unknown, string | null]> = [
      ['fastify', 'application/json'], ['problem', 'application/problem+json'], ['oauth', 'application/json'],
      [() => ({}), null]
    ]
    for (const [errors, type] of forms) {
      const { app, document } = await describe(
        t, app => { route(app, [], '/a', { roles: 'clerk' }) }, { version: '3.1.1', options: { errors } }
      )
      const responses = document.components.responses ?? {}
      t.same(
        Object.values(responses).map(each => Object.keys(each.headers as object)),
        [
          ['WWW-Authenticate'],
          ['WWW-Authenticate'],
          ['Retry-After', 'RateLimit-Policy', 'RateLimit'],
          ['Retry-After']
        ]
      )
      for (const [name, headers, status] of [
        ['AuthUnauthorized', {}, 401], ['AuthForbidden', as({ id: 'ann' }), 403],
        ['AuthUnavailable', { 'x-user': 'down' }, 503]
      ] as const) {
        const answer = await app.inject({ url: '/a', headers })
        t.equal(answer.statusCode, status)
        const content = responses[name]?.content as Record<string, {
          schema: { properties: Record<string, { enum?: unknown[] }>, required?: string[] }
        }> | undefined
        if (type === null) {
          t.equal(content, undefined)
          continue
        }
        t.ok(String(answer.headers['content-type']).startsWith(type))
        const schema = content?.[type]?.schema
        const body = answer.json<Record<string, unknown>>()
        t.same(Object.keys(schema?.properties ?? {}).sort(), Object.keys(body).sort())
        for (const [key, { enum: values }] of Object.entries(schema?.properties ?? {})) {
          if (values !== undefined) t.ok(values.includes(body[key]), `${key} is ${String(body[key])}`)
        }
        t.same(schema?.required, errors === 'fastify' ? undefined : Object.keys(schema?.properties ?? {}))
      }
    }
  })

  await t.test('name every code and every header of a refusal, and what they mean', async t => {
    const { document } = await describe(
      t, app => { route(app, [], '/a') }, { version: '3.1.1', options: { errors: 'problem' } }
    )
    const responses = Object.entries(document.components.responses ?? {}).map(([name, each]) => {
      const content = each.content as Record<string, { schema: { properties: Record<string, { enum?: unknown }> } }>
      const { status, code } = content['application/problem+json']?.schema.properties ?? {}
      return [name, each.description, status?.enum, code?.enum, each.headers]
    })
    const header = (description: string) => ({ description, schema: { type: 'string' } })
    t.strictSame(responses, [
      [
        'AuthUnauthorized', 'The credential is missing or invalid.', [401],
        ['AUTH_REQUIRED', 'AUTH_INVALID_CREDENTIALS', 'AUTH_TOKEN_EXPIRED', 'AUTH_STEP_UP_REQUIRED'],
        { 'WWW-Authenticate': header('The ways to authenticate.') }
      ],
      [
        'AuthForbidden', 'The caller may not do this.', [403], ['AUTH_ACCESS_DENIED', 'AUTH_CROSS_SITE'],
        { 'WWW-Authenticate': header('The scopes that another token would need.') }
      ],
      [
        'AuthRateLimited', 'Too many requests, or too many wrong passwords.', [429], ['AUTH_RATE_LIMITED'],
        {
          'Retry-After': header('Seconds to wait.'),
          'RateLimit-Policy': header('The limits of requests, if there are any.'),
          RateLimit: header('The requests that are left, and the seconds until the limits start anew.')
        }
      ],
      [
        'AuthUnavailable', 'The caller cannot be authenticated at the moment.', [503], ['AUTH_UNAVAILABLE'],
        { 'Retry-After': header('Seconds to wait.') }
      ]
    ])
  })

  await t.test("are the application's own, by their names in the components", async t => {
    const own = { description: 'Ours' }
    const { document } = await describe(
      t,
      app => { route(app, [], '/a') },
      { swagger: { openapi: { components: { responses: { AuthForbidden: own, Other: own } } } } }
    )
    t.strictSame(document.components.responses?.AuthForbidden, own)
    t.same(Object.keys(document.components.responses ?? {}).sort(), ['Other', ...ours].sort())
  })

  await t.test('do not change the bodies of the application', async t => {
    const declare = (app: FastifyInstance) => {
      for (const status of [401, 403, 429, 503]) {
        app.get(`/${status}`, {
          schema: { response: { 200: { type: 'object', properties: { a: { type: 'string' } } } } },
          config: { auth: false }
        }, async (_request, reply) =>
          reply.code(status as 200).send({ error: 'own', detail: { nested: [status] }, z: 1 }))
      }
      app.setErrorHandler(
        (error, _request, reply) => {
          reply.code((error as { statusCode: number }).statusCode).send({ message: 'own', more: { of: 'it' } })
        }
      )
      route(app, [], '/guarded')
    }
    const { app: without } = await start(t, () => {})
    declare(without)
    const { app: described } = await describe(t, declare)
    for (const url of ['/401', '/403', '/429', '/503', '/guarded']) {
      const [a, b] = await Promise.all([without.inject(url), described.inject(url)])
      t.equal(a.body, b.body)
      t.equal(a.statusCode, b.statusCode)
    }
    described.swagger()
    t.equal((await described.inject('/guarded')).body, '{"message":"own","more":{"of":"it"}}')
  })
})
