import { randomBytes } from 'node:crypto'
import Module, { createRequire } from 'node:module'
import Fastify from 'fastify'
import gatehouse, { apiKey, jwt, session, type GatehouseOptions } from '../../lib/index.js'

/**
 * Boots an application of one kind in a process of its own, and prints the packages and addons that were loaded. The
 * package in the second argument, if any, cannot be loaded.
 */
const [kind = '', broken] = process.argv.slice(2)
const require = createRequire(import.meta.url)

interface Report { readonly sharedObjects: readonly string[] }

function loaded (): Set<string> {
  const files = [...Object.keys(require.cache), ...(process.report.getReport() as unknown as Report).sharedObjects]
  return new Set(files.flatMap(file => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []))
}

if (broken !== undefined) {
  const loader = Module as unknown as { _load (this: void, request: string, ...more: unknown[]): unknown }
  const { _load: load } = loader
  loader._load = (request, ...more) => {
    if (request === broken) throw new Error(`Cannot find addon '${broken}'\nat some place`)
    return load(request, ...more)
  }
}

const key = randomBytes(32).toString('base64url')
const service = apiKey({ keys: { [key]: { id: 'a' } } })
const token = { keys: key, issuer: 'https://id.example.com', audience: 'api' }
const kinds: Readonly<Record<string, GatehouseOptions>> = {
  keys: { schemes: { service } },
  'managed keys': { schemes: { service: apiKey({ managed: { prefix: 'acme' } }) } },
  'a limit': { schemes: { service }, limits: { requests: { max: 9, window: 1 } } },
  verification: { schemes: { user: jwt(token) } },
  signing: { schemes: { user: jwt({ ...token, sign: true }) } },
  sessions: { schemes: { web: session({ secret: key }) } }
}
const app = Fastify()
let result: string
try {
  await app.register(gatehouse, kinds[kind] as GatehouseOptions)
  app.get('/', async () => 'in')
  await app.ready()
  result = String((await app.inject({ url: '/', headers: { 'x-api-key': key } })).statusCode)
  await app.close()
} catch (error) {
  result = (error as Error).message
}
console.log(JSON.stringify({ result, loaded: [...loaded()] }))
