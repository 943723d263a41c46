import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import gatehouse, {
  AuthError,
  apiKey,
  type ApiKeyRecord,
  type GatehouseOptions,
  type Store
} from '../../../lib/index.js'
import type { ManagedApiKeyOptions } from '../../../lib/schemes/api-key/scheme.js'
import { memoryStore } from '../../../lib/stores/memory/index.js'

export const ann = { realm: 'staff', id: 'ann' }
export const bob = { realm: 'staff', id: 'bob' }

/** The stored form of a key of `acme`. */
export const stored = {
  prefix: 'acme',
  name: 'k',
  start: 'acme_0',
  scopes: [],
  roles: [],
  createdAt: new Date().toISOString(),
  expiresAt: null,
  lastUsedAt: null,
  rateLimit: null,
  replacedBy: null,
  replacedAt: null,
  sunsetAt: null
}

/** Returns a clock that a test moves. */
export function clock (t: Test) {
  const real = Date.now
  const self = { offset: 0, advance (seconds: number) { self.offset += seconds * 1000 } }
  Date.now = () => real() + self.offset
  t.teardown(() => { Date.now = real })
  return self
}

/** Creates a store that counts its calls, can be taken down, and notifies of changes if `tells` is true. */
export function tappedStore (inner: Store = memoryStore(), { reportsChanges = true } = {}) {
  const self = {
    calls: [] as string[],
    down: false,
    before: async (_method: string): Promise<void> => {},
    count: (method: string) => self.calls.filter(each => each === method).length
  }
  const { subscribe, ...rest } = inner
  const wrapped = Object.fromEntries(
    Object.entries(rest).map(([method, run]) => [
      method,
      async (...args: unknown[]) => {
        self.calls.push(method)
        if (self.down && method !== 'close') throw new AuthError('AUTH_UNAVAILABLE', 'the store is down')
        await self.before(method)
        return (run as (...args: unknown[]) => Promise<unknown>)(...args)
      }
    ])
  )
  const store = { ...wrapped, ...(reportsChanges && subscribe !== undefined ? { subscribe } : {}) } as unknown as Store
  return Object.assign(self, { store })
}

export interface LogLine { readonly level: number, readonly msg: string, readonly [field: string]: unknown }

/** Creates an instance of an application with managed keys. */
export async function createInstance (
  t: Test,
  key: Partial<ManagedApiKeyOptions> = {},
  options: Partial<GatehouseOptions> = {}
) {
  const log: LogLine[] = []
  const app = Fastify({
    logger: {
      level: 'trace',
      stream: {
        write: (line: string) => {
          log.push(JSON.parse(line) as LogLine)
        }
      }
    }
  }) as unknown as FastifyInstance
  await app.register(gatehouse, { schemes: { service: apiKey({ managed: { prefix: 'acme' }, ...key }) }, ...options })
  app.get('/', async ({ principal, auth }) => ({ principal, credential: auth.credential, expiresAt: auth.expiresAt }))
  await app.ready()
  t.teardown(() => app.close())
  const ask = async (sent: string, url = '/') => app.inject({ url, headers: { 'x-api-key': sent } })
  return {
    app,
    log,
    keys: app.gatehouse.apiKeys,
    ask,
    status: async (sent: string) => (await ask(sent)).statusCode,
    code: async (sent: string) => (await ask(sent)).json<{ code?: string }>().code ?? 'none'
  }
}

/** Returns a record without the fields that differ between runs. */
export function plain ({ id, start, createdAt, ...rest }: ApiKeyRecord): object {
  return rest
}
