import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import gatehouse, { apiKey, AuthError, type RouteAuth } from '../../lib/index.js'

type Decorator = (target: object, key?: string, descriptor?: PropertyDescriptor) => void

interface Common {
  Controller (): Decorator
  Get (path: string): Decorator
  Module (options: object): Decorator
  Req (): (target: object, key: string, index: number) => void
}

interface Core {
  readonly NestFactory: { create (module: object, adapter: object, options: object): Promise<NestApplication> }
}

interface PlatformFastify {
  readonly FastifyAdapter: new () => object
  RouteConfig (config: { readonly auth: RouteAuth }): Decorator
}

interface NestApplication {
  getHttpAdapter (): { getInstance (): FastifyInstance }
  init (): Promise<unknown>
  close (): Promise<void>
}

/** Imports a package, typed as the part of it that this file uses. */
const load = async <T>(name: string): Promise<T> => await import(name) as T

const key = randomBytes(24).toString('base64url')

/** Creates a NestJS application with routes for keys. Decorators are called as functions, as compiled code does. */
async function createApplication (): Promise<FastifyInstance> {
  await load('reflect-metadata')
  const { Controller, Get, Module, Req } = await load<Common>('@nestjs/common')
  const { NestFactory } = await load<Core>('@nestjs/core')
  const { FastifyAdapter, RouteConfig } = await load<PlatformFastify>('@nestjs/platform-fastify')
  class Orders {
    list (request: FastifyRequest): unknown { return { id: request.principal?.id } }
    status (): unknown { return { up: true } }
    write (): unknown { return {} }
    broken (): unknown { throw new AuthError('AUTH_FAULT', 'a secret reason') }
  }
  const route = (method: keyof Orders, auth: RouteAuth): void => {
    for (const decorate of [Get(method), RouteConfig({ auth })]) {
      decorate(Orders.prototype, method, Object.getOwnPropertyDescriptor(Orders.prototype, method))
    }
  }
  route('list', true)
  Req()(Orders.prototype, 'list', 0)
  route('status', { public: 'a probe' })
  route('write', { scopes: 'orders:write' })
  route('broken', { public: 'fails' })
  Controller()(Orders)
  class Root {}
  Module({ controllers: [Orders] })(Root)
  const application = await NestFactory.create(Root, new FastifyAdapter(), { logger: false })
  const app = application.getHttpAdapter().getInstance()
  await app.register(gatehouse, { schemes: { service: apiKey({ keys: { [key]: { id: 'billing' } } }) } })
  await application.init()
  await app.ready()
  return app
}

/**
 * Sends the port and the key to the test. This is a separate program, because the loader of the test runner does not
 * resolve the exports of NestJS.
 */
const app = await createApplication()
const address = await app.listen({ port: 0, host: '127.0.0.1' })
process.once('disconnect', () => { process.exit() })
process.send?.({ port: Number(new URL(address).port), key })
