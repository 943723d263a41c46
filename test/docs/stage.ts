import { generateKeyPairSync, randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import * as gatehouse from '../../lib/index.js'

const { default: authPlugin, apiKey, basic, jwt, session } = gatehouse

/**
 * Prepares what an example assumes: an application, the exports of the package, and values of the reader, except names
 * that it declares itself. An example that registers the plugin gets a bare application; any other gets one with the
 * usual four schemes.
 */
export async function stage (code: string): Promise<{ app: FastifyInstance, close: () => Promise<void> }> {
  const secret = randomBytes(32).toString('base64url')
  const app = Fastify()
  const found = {
    find: async () => ({ id: 'a' }),
    isOwner: async () => true,
    check: async () => ({ id: 'a', name: 'Ada', role: 'clerk', roles: [] })
  }
  const handler = async () => ({})
  const shown: Record<string, unknown> = {
    ...gatehouse,
    authPlugin,
    app,
    secret,
    keys: { [secret]: { id: 'billing' } },
    machines: found,
    accounts: found,
    users: found,
    orders: found,
    operators: found,
    owns: () => true,
    devices: new Map([['dev-1', { id: 'one' }]]),
    queueBoard: async (board: FastifyInstance) => { board.get('/queues', handler) },
    ...Object.fromEntries(['status', 'feed', 'create', 'remove', 'loginPage', 'page'].map(name => [name, handler])),
    full: () => ({}),
    summary: () => ({})
  }
  const before = { ...globalThis } as Record<string, unknown>
  const environment = { ...process.env }
  Object.assign(
    process.env,
    {
      SESSION_SECRET: secret,
      JWT_SECRET: randomBytes(32).toString('base64url'),
      ISSUER_CLIENT_SECRET: randomBytes(16).toString('base64url'),
      SHOP_KEY: randomBytes(16).toString('base64url'),
      OPS_PASSWORD: 'correct horse battery',
      GOOGLE_CLIENT_ID: 'google',
      GOOGLE_CLIENT_SECRET: randomBytes(16).toString('base64url'),
      GITHUB_CLIENT_ID: 'github',
      GITHUB_CLIENT_SECRET: randomBytes(16).toString('base64url'),
      SESSION_SECRET_NEW: randomBytes(32).toString('base64url'),
      SESSION_SECRET_OLD: randomBytes(32).toString('base64url'),
      PASSWORD_PEPPER_2025: randomBytes(32).toString('base64url'),
      PASSWORD_PEPPER_2026: randomBytes(32).toString('base64url'),
      JWT_KEYS: JSON.stringify({ keys: [{ ...signingKey(), alg: 'ES256', kid: '1' }] })
    }
  )
  Object.assign(globalThis, shown)
  if (!code.includes('authPlugin')) {
    await app.register(authPlugin, {
      schemes: {
        user: jwt({ keys: secret, issuer: 'https://id.example.com', audience: 'https://api.example.com', sign: true }),
        web: session({ secret, loginPath: '/login' }),
        service: apiKey({ keys: { [secret]: { id: 'billing' } } }),
        ops: basic({ users: { ada: { password: 'correct horse battery' } } })
      },
      default: ['user', 'web', 'service'],
      publicPaths: ['/login']
    })
  }
  return {
    app,
    async close () {
      for (const name of Object.keys(shown)) {
        if (name in before) Object.assign(globalThis, { [name]: before[name] })
        else Reflect.deleteProperty(globalThis, name)
      }
      process.env = environment
      await app.close()
    }
  }
}

function signingKey () {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
}
