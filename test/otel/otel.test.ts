import { channel } from 'node:diagnostics_channel'
import { FastifyOtelInstrumentation } from '@fastify/otel'
import { context, metrics, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader
} from '@opentelemetry/sdk-metrics'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import gatehouse, { apiKey, memoryStore, session } from '../../lib/index.js'
import { oidcLogin } from '../../lib/oidc/index.js'
import { startTelemetry } from '../../lib/otel/index.js'
import { scripted } from '../fixtures/schemes.js'
import { secretOf } from '../fixtures/tokens.js'

/** Collects metrics in memory, and returns a function that reads them by name. */
function meters (t: Test) {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const meterProvider = new MeterProvider({ readers: [reader] })
  t.teardown(() => meterProvider.shutdown())
  const points = async (name: string) => {
    exporter.reset()
    await reader.forceFlush()
    const all = exporter.getMetrics().flatMap(each => each.scopeMetrics)
    t.ok(all.every(({ scope }) => scope.name === 'fastify-gatehouse'))
    const found = all.flatMap(each => each.metrics).find(({ descriptor }) => descriptor.name === name)
    return (found?.dataPoints ?? []).map(({ attributes, value }) => ({ ...attributes, value }))
  }
  return { meterProvider, points }
}

/** Boots an application. Runs `prepare` before it registers the plugin. */
async function boot (t: Test, prepare: (app: FastifyInstance) => unknown = () => {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await prepare(app)
  await app.register(gatehouse, {
    store: memoryStore(),
    schemes: {
      own: scripted('own'),
      keys: apiKey({ managed: { prefix: 'acme' } }),
      web: session({ secret: secretOf() })
    },
    default: ['own', 'keys', 'web']
  })
  app.get('/orders/:id', async () => 'in')
  app.get('/admin', { config: { auth: { roles: 'admin' } } }, async () => 'in')
  app.get('/quiet', { config: { otel: false } as object }, async () => 'in')
  app.post('/login', { config: { auth: { public: 'logs in' } } }, async (_request, reply) => {
    await reply.login({ id: 'ada' })
  })
  await app.ready()
  return app
}

const own = (value: string) => ({ 'x-own': value })

t.test('counts the decisions about requests, by bounded labels', async t => {
  const { meterProvider, points } = meters(t)
  const app = await boot(t)
  const stop = startTelemetry({ meterProvider })
  t.teardown(stop)
  for (const id of [1, 2]) t.equal((await app.inject({ url: `/orders/${id}`, headers: own('ann') })).statusCode, 200)
  t.equal((await app.inject('/orders/1')).statusCode, 401)
  t.equal((await app.inject({ url: '/orders/1', headers: own('invalid') })).statusCode, 401)
  t.equal((await app.inject({ url: '/admin', headers: own('bob') })).statusCode, 403)
  t.equal((await app.inject({ url: '/orders/1', headers: own('unavailable') })).statusCode, 503)
  t.equal((await app.inject({ url: '/orders/1', headers: own('throw') })).statusCode, 500)
  const request = (route: string) => ({ 'http.request.method': 'GET', 'http.route': route })
  const [orders, admin] = [request('/orders/:id'), request('/admin')]
  const of = (outcome: string, code: string, scheme?: string) => ({
    'gatehouse.outcome': outcome, 'gatehouse.code': code, ...scheme === undefined ? {} : { 'gatehouse.scheme': scheme }
  })
  t.same(await points('gatehouse.requests'), [
    { 'gatehouse.outcome': 'authenticated', 'gatehouse.scheme': 'own', ...orders, value: 2 },
    { ...of('refused', 'AUTH_REQUIRED'), ...orders, value: 1 },
    { ...of('refused', 'AUTH_INVALID_CREDENTIALS', 'own'), ...orders, value: 1 },
    { ...of('denied', 'AUTH_ACCESS_DENIED', 'own'), ...admin, value: 1 },
    { ...of('unavailable', 'AUTH_UNAVAILABLE', 'own'), ...orders, value: 1 },
    { ...of('fault', 'AUTH_FAULT'), ...orders, value: 1 }
  ])
  stop()
  await app.inject({ url: '/orders/3', headers: own('ann') })
  t.equal((await points('gatehouse.requests'))[0]?.value, 2, 'nothing more once it is stopped')
})

t.test('leaves the route out where there is none', async t => {
  const { meterProvider, points } = meters(t)
  t.teardown(startTelemetry({ meterProvider }))
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(gatehouse, { schemes: { own: scripted('own') } })
  app.setNotFoundHandler({ preHandler: app.gatehouse.guard({ schemes: 'own' }) }, async () => 'nothing')
  t.equal((await app.inject('/anything/a/client/writes')).statusCode, 401)
  const labels = { 'gatehouse.outcome': 'refused', 'gatehouse.code': 'AUTH_REQUIRED', 'http.request.method': 'GET' }
  t.match(await points('gatehouse.requests'), [{ ...labels, 'http.route': undefined }])
})

t.test('counts what happens to sessions, keys and the store, and how long the store was down', async t => {
  const { meterProvider, points } = meters(t)
  const app = await boot(t)
  t.teardown(startTelemetry({ meterProvider }))
  await app.inject({ method: 'POST', url: '/login' })
  await app.gatehouse.apiKeys.of({ realm: 'own', id: 'ann' }).create({ name: 'laptop' })
  channel('fastify-gatehouse:store-down').publish({ reason: 'the test says so' })
  channel('fastify-gatehouse:store-up').publish({ downFor: 1_500 })
  t.same(await points('gatehouse.events'), [
    { 'gatehouse.event': 'login', 'gatehouse.scheme': 'web', value: 1 },
    { 'gatehouse.event': 'key-created', 'gatehouse.scheme': 'keys', value: 1 },
    { 'gatehouse.event': 'store-down', value: 1 },
    { 'gatehouse.event': 'store-up', value: 1 }
  ])
  t.match(await points('gatehouse.store.outage.duration'), [{ value: { count: 1, sum: 1.5 } }])
})

t.test('counts each event once, among the requests or among the other events', async t => {
  const { meterProvider, points } = meters(t)
  t.teardown(startTelemetry({ meterProvider }))
  const requests = ['authenticated', 'refused', 'denied', 'throttled', 'unavailable', 'fault']
  const others = [
    'login', 'logout', 'key-created', 'key-rotated', 'key-revoked', 'key-used-after-end', 'store-down', 'store-up',
    'token-issued', 'token-refreshed', 'token-reused', 'token-revoked', 'code-reused', 'consent-given',
    'client-refused', 'keys-fetched', 'keys-failed'
  ]
  for (const name of [...requests, ...others]) {
    channel(`fastify-gatehouse:${name}`).publish({ scheme: 'own', method: 'GET', route: '/', code: null, downFor: 500 })
  }
  const counted = async (name: string, label: string) =>
    (await points(name)).map(point => [(point as Record<string, unknown>)[label], point.value])
  t.same(await counted('gatehouse.requests', 'gatehouse.outcome'), requests.map(name => [name, 1]))
  t.same(await counted('gatehouse.events', 'gatehouse.event'), others.map(name => [name, 1]))
  t.match(await points('gatehouse.store.outage.duration'), [{ value: { count: 1, sum: 0.5 } }])
})

t.test('names units and meanings, and removes everything once it is stopped', async t => {
  const described: Record<string, unknown> = {}
  const callbacks = new Set<unknown>()
  const instrument = (name: string, options: object) => {
    described[name] = options
    return {
      addCallback: (each: unknown) => { callbacks.add(each) },
      removeCallback: (each: unknown) => { callbacks.delete(each) },
      record: () => {}
    }
  }
  const meter = { createObservableCounter: instrument, createHistogram: instrument }
  const stop = startTelemetry({ meterProvider: { getMeter: () => meter } as never })
  t.match(described, {
    'gatehouse.requests': { description: /decision/, unit: '{request}' },
    'gatehouse.events': { description: /sessions, keys, tokens/, unit: '{event}' },
    'gatehouse.store.outage.duration': { description: /store did not answer/, unit: 's' }
  })
  t.equal(callbacks.size, 2)
  const observed = () => ['refused', 'login', 'keys-failed'].map(
    name => channel(`fastify-gatehouse:${name}`).hasSubscribers
  )
  t.same(observed(), [true, true, true])
  stop()
  t.equal(callbacks.size, 0)
  t.same(observed(), [false, false, false])
})

t.test('uses the global provider unless another is given, and stops the boot for anything else', async t => {
  const { meterProvider, points } = meters(t)
  metrics.setGlobalMeterProvider(meterProvider)
  t.teardown(() => { metrics.disable() })
  t.teardown(startTelemetry())
  const app = await boot(t)
  await app.inject('/orders/1')
  t.equal((await points('gatehouse.requests')).length, 1)
  for (const wrong of [null, {}, 'global']) {
    t.throws(() => startTelemetry({ meterProvider: wrong as never }), { code: 'AUTH_MISCONFIGURED' })
  }
})

/** Collects spans in memory, and returns what an application needs to create them. */
function tracing (t: Test) {
  const contexts = new AsyncLocalStorageContextManager().enable()
  context.setGlobalContextManager(contexts)
  const exporter = new InMemorySpanExporter()
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  trace.setGlobalTracerProvider(tracerProvider)
  t.teardown(async () => {
    context.disable()
    trace.disable()
    await tracerProvider.shutdown()
  })
  const instrumentation = new FastifyOtelInstrumentation()
  instrumentation.setTracerProvider(tracerProvider)
  return { exporter, instrumentation }
}

t.test('writes the decision on the span of the request that @fastify/otel made', async t => {
  const { exporter, instrumentation } = tracing(t)
  const { meterProvider } = meters(t)
  t.teardown(startTelemetry({ meterProvider }))
  const app = await boot(t, async app => { await app.register(instrumentation.plugin()) })
  const decisionOf = async (url: string, value?: string) => {
    exporter.reset()
    await app.inject({ url, ...value === undefined ? {} : { headers: own(value) } })
    const spans = exporter.getFinishedSpans().filter(({ name }) => name === 'request')
    t.equal(spans.length, 1, url)
    return Object.entries(spans[0]?.attributes ?? {}).filter(([name]) => name.startsWith('gatehouse.'))
  }
  t.same(await decisionOf('/orders/1', 'ann'), [['gatehouse.outcome', 'authenticated'], ['gatehouse.scheme', 'own']])
  t.same(await decisionOf('/orders/1'), [['gatehouse.outcome', 'refused'], ['gatehouse.code', 'AUTH_REQUIRED']])
  t.same(await decisionOf('/admin', 'ann'), [
    ['gatehouse.outcome', 'denied'], ['gatehouse.scheme', 'own'], ['gatehouse.code', 'AUTH_ACCESS_DENIED']
  ])

  exporter.reset()
  const bare = await boot(t)
  const tracer = trace.getTracer('test')
  await tracer.startActiveSpan('active', async span => {
    await bare.inject({ url: '/orders/1', headers: own('ann') })
    span.end()
  })
  t.match(exporter.getFinishedSpans(), [{ name: 'active', attributes: { 'gatehouse.outcome': 'authenticated' } }])
  t.equal((await app.inject({ url: '/quiet', headers: own('ann') })).statusCode, 200, 'a route without telemetry')
})

t.test('leaves no credential of a query in the spans of @fastify/otel', async t => {
  const { exporter, instrumentation } = tracing(t)
  const [key, other] = [secretOf(), secretOf()]
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(instrumentation.plugin())
  await app.register(gatehouse, {
    schemes: {
      service: apiKey({ from: 'query:key', keys: { [key]: { id: 'ann' } } }),
      web: session({ secret: secretOf(), loginPath: '/login/idp' })
    },
    default: 'service'
  })
  await app.register(oidcLogin, {
    redirectUri: 'https://app.example.com/login/idp/callback',
    issuer: 'https://id.example.com',
    clientId: 'app',
    clientSecret: secretOf(),
    session: 'web',
    person: () => null
  })
  app.get('/orders', async () => 'in')
  app.get('/quiet', { config: { otel: false } as object }, async () => 'in')
  const statuses: Readonly<Record<string, number>> = {
    [`/orders?a=b&key=${key}`]: 200,
    [`/orders?key=${other}`]: 401,
    [`/quiet?key=${key}`]: 200,
    [`/nowhere?key=${key}`]: 404,
    [`/login/idp/callback?code=${other}&state=${key}&key=${key}`]: 400
  }
  for (const [url, status] of Object.entries(statuses)) t.equal((await app.inject(url)).statusCode, status, url)
  const spans = exporter.getFinishedSpans()
  const written = JSON.stringify(spans.map(({ name, attributes, events }) => ({ name, attributes, events })))
  for (const secret of [key, other]) t.notOk(written.includes(secret.slice(0, 8)))
  t.same(spans.filter(({ name }) => name === 'request').map(({ attributes }) => attributes['http.route']), [
    '/orders?a=b&key=[hidden]', '/orders?key=[hidden]', '/nowhere?key=[hidden]',
    '/login/idp/callback?code=[hidden]&state=[hidden]&key=[hidden]'
  ])
})
