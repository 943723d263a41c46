import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { manifest, packAndInstall } from './packed.js'
import { firstExample, start } from './readme.js'
import { run } from './run.js'
import { root } from '../fixtures/root.js'
import { onlyInSoak } from '../fixtures/size.js'

const { stage, tarball, consumer, installed: how } = await packAndInstall()
const installed = join(consumer, 'node_modules/fastify-gatehouse')

t.before(async () => {
  t.comment(`the tarball was installed ${how}`)
  mkdirSync(join(consumer, 'node_modules/@types'), { recursive: true })
  if (!existsSync(join(consumer, 'node_modules/@types/node'))) {
    symlinkSync(join(root, 'node_modules/@types/node'), join(consumer, 'node_modules/@types/node'))
  }
})

t.after(() => { rmSync(stage, { recursive: true, force: true }) })

t.test('the tarball contains only the library, its types and its licence', async t => {
  const files = readdirSync(
    installed, { recursive: true, encoding: 'utf8' }
  ).filter(name => /\.\w+$|LICENSE/.test(name)).sort()
  t.ok(
    files.includes('dist/lib/index.js') && files.includes('dist/lib/index.d.ts') && files.includes('LICENSE'),
    'the package has its entry point and its license'
  )
  const code = /^dist\/(?:lib|types)\/.*\.(?:js|js\.map|d\.ts)$/
  const other = /^(?:docs\/.*\.(?:md|svg)|LICENSE|README\.md|package\.json)$/
  t.same(files.filter(name => !code.test(name) && !other.test(name)), [])
})

/** Returns the library files that a file imports, directly or not, including itself. */
function importedBy (file: string, files = new Set<string>()): ReadonlySet<string> {
  if (files.has(file)) return files
  files.add(file)
  const code = readFileSync(file, 'utf8')
  for (const [, path = ''] of code.matchAll(/^(?:import|\} from) ?(?:.* from )?"(\.{1,2}\/[^"]+)";$/gm)) {
    importedBy(join(file, '..', path), files)
  }
  return files
}

t.test('an import loads a few files, and each module is in one file, which maps to its source', async t => {
  const folder = join(installed, 'dist')
  const { size } = importedBy(join(folder, 'lib/index.js'))
  t.ok(size > 1 && size <= 25, String(size))
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.js'))
  const modules = files.flatMap(name => {
    const map = JSON.parse(readFileSync(join(folder, `${name}.map`), 'utf8')) as {
      readonly sources: readonly string[], readonly sourcesContent: readonly string[]
    }
    t.equal(map.sourcesContent.length, map.sources.length, name)
    return map.sources.map(source => join(folder, name, '..', source))
  })
  t.ok(modules.length > 100)
  t.strictSame(modules.filter((each, i) => modules.indexOf(each) !== i), [])
})

t.test('the declarations name no inferred type of Node, which other versions may not have', async t => {
  const folder = join(installed, 'dist')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.d.ts'))
  t.ok(files.length > 100)
  t.strictSame(files.filter(name => readFileSync(join(folder, name), 'utf8').includes('import("crypto")')), [])
})

t.test('publint finds no problem in the tarball', async t => {
  const { code, output } = await run('publint', ['run', '--strict', tarball], stage)
  t.equal(code, 0, output)
  t.match(output, /All good/, output)
})

/** attw resolves every entry point with an older compiler, for each kind of resolution. */
const skipAttw = onlyInSoak('runs attw')

t.test('attw finds no problem in the tarball', { skip: skipAttw }, async t => {
  const options = ['--profile', 'esm-only', '--no-definitely-typed', '--no-emoji']
  const { code, output } = await run('attw', [...options, tarball], stage)
  t.equal(code, 0, output)
})

t.test('the package has Fastify as a peer dependency, and four dependencies', async t => {
  t.same(
    Object.keys(manifest.dependencies).sort(),
    ['@fastify/jwt', '@fastify/rate-limit', '@fastify/secure-session', 'fastify-plugin']
  )
  const optional = Object.keys(manifest.peerDependenciesMeta).filter(
    name => manifest.peerDependenciesMeta[name]?.optional === true
  )
  t.same(Object.keys(manifest.peerDependencies).filter(name => !optional.includes(name)), ['fastify'])
})

t.test('require returns the same as import, and Fastify accepts it directly', async t => {
  writeFileSync(join(consumer, 'require.cjs'), `
    const required = require('fastify-gatehouse')
    const app = require('fastify')()
    app.register(required, { schemes: { service: required.apiKey({ verify: () => ({ id: 'robot' }) }) } })
    import('fastify-gatehouse').then(async imported => {
      await app.ready()
      const other = Object.keys(imported).filter(name => imported[name] !== required[name])
      console.log(app.gatehouse.audit().length, other.join())
    })`)
  const { stdout, output } = await run(process.execPath, ['require.cjs'], consumer)
  t.equal(stdout.trim(), '0', output)
})

/** Each takes seconds of a compiler or of a bundler. */
const skipOtherBuilds = onlyInSoak('builds applications in other ways')

t.test('an application that esbuild bundles as CommonJS runs', { skip: skipOtherBuilds }, async t => {
  writeFileSync(join(consumer, 'bundled.js'), `
    import Fastify from 'fastify'
    import authPlugin, { jwt, session } from 'fastify-gatehouse'

    const [secret, keys] = ['seal', 'sign'].map(() => crypto.randomUUID() + crypto.randomUUID())
    const app = Fastify()
    app.register(authPlugin, {
      schemes: {
        web: session({ secret }),
        user: jwt({ keys, issuer: 'https://id.test', audience: 'api', sign: true })
      },
      default: { schemes: ['web', 'user'], rateLimit: { max: 9, window: '1m' } }
    })
    app.register(async child => { child.get('/', async request => request.principal) })
    app.ready().then(async () => {
      const authorization = 'Bearer ' + await app.gatehouse.tokens.issue({ id: 'ada' })
      console.log((await app.inject({ url: '/', headers: { authorization } })).json().id)
    }).catch(console.error)`)
  const options = ['--bundle', '--platform=node', '--outfile=bundled.cjs']
  const { code, output } = await run('esbuild', ['bundled.js', ...options], consumer)
  t.equal(code, 0, output)
  const bundled = await run(process.execPath, ['bundled.cjs'], consumer)
  t.equal(bundled.stdout.trim(), 'ada', bundled.output)
})

const application = `
import Fastify from 'fastify'
import authPlugin, { apiKey, type SchemesOf } from 'fastify-gatehouse'

const schemes = { service: apiKey({ verify: async key => key === 'k' ? { id: 'robot', desk: 4 } : null }) }

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<typeof schemes> {}
  interface Scopes { 'orders:read': true }
}

const app = Fastify()
await app.register(authPlugin, { schemes })
app.get('/desk', { config: { auth: 'service' } }, async (request): Promise<number> => request.principal.desk)
app.get(
  '/feed',
  { config: { auth: { mode: 'optional' } } },
  async (request): Promise<number | undefined> => request.principal?.desk
)
app.get(
  '/orders',
  { config: { auth: { scopes: 'orders:read' } } },
  async (request): Promise<string> => request.principal.id
)
// @ts-expect-error a scope that is not declared
app.get('/typo', { config: { auth: { scopes: 'orders:raed' } } }, async () => 'never')
// @ts-expect-error a scheme that is not registered
app.get('/stranger', { config: { auth: 'sevrice' } }, async () => 'never')
`

const settings = {
  compilerOptions: {
    target: 'ES2022',
    lib: ['ES2023'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    types: ['node'],
    strict: true,
    declaration: true,
    rootDir: '.',
    outDir: 'out'
  }
}

const compilers = { 5.9: 'typescript', 7: 'typescript-7' }

interface CompilerSettings {
  readonly type?: 'module' | 'commonjs'
  readonly version?: 5.9 | 7
  /** Checks the declarations of all packages as well. This is slow, so each compiler does it for one application. */
  readonly checkPackages?: boolean
}

async function compile (
  folder: string, code: string, { type = 'module', version = 7, checkPackages = false }: CompilerSettings = {}
): Promise<void> {
  mkdirSync(join(consumer, folder))
  writeFileSync(join(consumer, folder, 'package.json'), JSON.stringify({ type }))
  writeFileSync(join(consumer, folder, 'app.ts'), code)
  writeFileSync(join(consumer, folder, 'tsconfig.json'), JSON.stringify({ ...settings, include: ['app.ts'] }))
  const compiler = join(root, 'node_modules', compilers[version], 'bin/tsc')
  const options = ['-p', folder, '--skipLibCheck', String(!checkPackages), ...version === 7 ? ['--singleThreaded'] : []]
  const { code: exit, output } = await run(process.execPath, [compiler, ...options], consumer)
  if (exit !== 0) throw new Error(output)
}

t.test('an application compiles with skipLibCheck off, and typos in it do not', async () => {
  await compile('typed', application, { checkPackages: true })
})

/** The older compiler takes three times as long. */
const skipOld = onlyInSoak('runs TypeScript 5.9')

t.test('an application compiles with TypeScript 5.9', { skip: skipOld }, async () => {
  await compile('typed-5.9', application, { version: 5.9, checkPackages: true })
})

/** An application whose declarations the compiler can write only if this package exports the types that they name. */
const exported = `
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import authPlugin, {
  apiKey, basic, jwt, memoryStore, read, session, withDeadline, type Principal, type SchemesOf
} from 'fastify-gatehouse'
import type { OAuthServerOptions } from 'fastify-gatehouse/oauth'
import type { OidcLoginOptions } from 'fastify-gatehouse/oidc'
import { passwords, type HashOptions } from 'fastify-gatehouse/passwords'

export const store = withDeadline(memoryStore())
export const schemes = {
  service: apiKey({ verify: async (key: string) => key === 'k' ? { id: 'robot', desk: 4 } : null }),
  managed: apiKey({ managed: { prefix: 'acme' } }),
  user: jwt({ issuer: 'https://id.example.com', audience: 'api' }),
  mapped: jwt({
    issuer: 'https://id.example.com', audience: 'api', principal: claims => ({ id: String(claims.sub), team: 4 })
  }),
  web: session({ secret: 'x'.repeat(32) }),
  ops: basic({ verify: async (name: string) => ({ id: name, ops: true }) })
}

declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<typeof schemes> {}
}

export async function createApp () {
  const app = Fastify()
  await app.register(authPlugin, { schemes, default: 'user', store })
  return app
}

export const api = (app: FastifyInstance) => app.gatehouse
export const audit = (app: FastifyInstance) => app.gatehouse.audit()
export const grant = (app: FastifyInstance, owner: Principal) => app.gatehouse.tokens.grant(owner)
export const listGrants = (app: FastifyInstance, owner: Principal) => app.gatehouse.tokens.of(owner).list()
export const keys = (app: FastifyInstance, owner: Principal) => app.gatehouse.apiKeys.of(owner).list()
export const newKey = (app: FastifyInstance, owner: Principal) => app.gatehouse.apiKeys.of(owner).create({ name: 'x' })
export const sessions = (app: FastifyInstance, owner: Principal) => app.gatehouse.sessions.of(owner).list()
export const caller = (request: FastifyRequest) => request.principal
export const credential = (request: FastifyRequest) => request.auth.credential
export const key = (request: FastifyRequest) => read(request, 'header:x-key')

export const hash = { algorithm: 'bcrypt', cost: 12 } satisfies HashOptions
export const people = passwords({ hash })
export const server = {
  session: 'web', resources: ['user'], clients: { spa: { redirectUris: ['https://spa.example.com/cb'] } }
} satisfies OAuthServerOptions
export const login = {
  redirectUri: 'https://app.example.com/login/callback',
  issuer: 'https://id.example.com',
  clientId: 'app',
  session: 'web',
  person: async ({ claims }) => ({ id: claims.sub })
} satisfies OidcLoginOptions
`

t.test('the compiler writes declarations for an application that exports its instances', {
  skip: skipOtherBuilds
}, async () => {
  await compile('declared', exported)
})

t.test('TypeScript 5.9 writes these declarations too', { skip: skipOld }, async () => {
  await compile('declared-5.9', exported, { version: 5.9 })
})

t.test('TypeScript output in CommonJS runs', { skip: skipOtherBuilds }, async t => {
  await compile('common', `
import Fastify from 'fastify'
import authPlugin, { apiKey } from 'fastify-gatehouse'

const app = Fastify()
app.register(authPlugin, { schemes: { service: apiKey({ verify: () => ({ id: 'robot' }) }) } })
app.register(async child => { child.get('/', async request => request.principal) })
app.inject({ url: '/', headers: { 'x-api-key': 'k' } }).then(answer => { console.log(answer.json().id) }, console.error)
`, { type: 'commonjs' })
  const { stdout, output } = await run(process.execPath, ['common/out/app.js'], consumer)
  t.equal(stdout.trim(), 'robot', output)
})

const readme = existsSync(join(root, 'README.md')) ? readFileSync(join(root, 'README.md'), 'utf8') : ''
const example = firstExample(readme)

t.test("the README's first example compiles and runs in an empty project", async t => {
  if (example === null) return t.fail('README.md has no example: the first ts or js block is it')
  await compile('example', example.code)
  const running = await start(join(consumer, 'example/out/app.js'), consumer)
  try {
    for (const { line, path, status, ...init } of example.calls) {
      const answer = await fetch(
        `http://127.0.0.1:${running.port}${path}`, { ...init, body: init.body ?? null, redirect: 'manual' }
      )
      t.equal(answer.status, status, line)
    }
    if (example.calls.length === 0) {
      t.not(Math.trunc((await fetch(`http://127.0.0.1:${running.port}/`)).status / 100), 5)
    }
  } finally {
    await running.stop()
  }
})

t.test('the README test parses a curl line as a shell would', async t => {
  const text = [
    '# x',
    '```ts',
    'const a = 1',
    '```',
    'then',
    '```sh',
    'curl localhost:3000/me   # 401',
    "$ curl -X POST -H 'x-api-key: a: b' -u 'a:b c' --json '{\"a\": 1}' http://localhost:3000/o?x=1  # 403: no scope",
    '```',
    '## next',
    '```sh',
    'curl localhost:3000/no # 500',
    '```',
    ''
  ].join('\n')
  const calls = firstExample(text)?.calls.map(({ line, ...call }) => call)
  t.same(firstExample(text)?.code, 'const a = 1\n')
  t.same(calls, [
    { path: '/me', method: 'GET', headers: {}, body: undefined, status: 401 },
    {
      path: '/o?x=1',
      method: 'POST',
      headers: { 'x-api-key': 'a: b', authorization: 'Basic YTpiIGM=', 'content-type': 'application/json' },
      body: '{"a": 1}',
      status: 403
    }
  ])
  t.equal(firstExample('no block'), null)
})
