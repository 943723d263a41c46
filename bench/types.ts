import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { median } from './measure.js'

/**
 * Measures what a typed route costs the compiler: instantiations and check time over the same application of 500 routes
 * without `config.auth`, as medians of interleaved runs of tsc with `--extendedDiagnostics`.
 * `npm run bench types`; set `LIB` to the `lib/index.ts` of another working tree to measure that.
 */
const routes = 500
const runs = 7
const compiler = 'node_modules/typescript-7/bin/tsc'
const library = resolve(process.env.LIB ?? 'lib/index.ts')

/** A list of objects, which TypeScript compares with all methods of a list, since Fastify intersects its type. */
const anyOf = "{ anyOf: [{ roles: 'admin' }, { scopes: 'orders:read' }] }"

/** The other forms, which the routes have in turn. */
const policies = [
  "'user'",
  "{ scopes: 'orders:read' }",
  "{ schemes: ['user', 'service'], roles: { any: ['clerk', 'admin'] } }",
  'false',
  "{ schemes: 'service', scopes: { all: ['orders:read', 'orders:write'] } }",
  "{ mode: 'optional', schemes: 'user' }",
  "{ when: principal => principal.id === 'alice' }",
  "{ public: 'load balancer probe' }",
  "{ roles: 'clerk', maxAge: '15m' }"
]

const head = `import Fastify from 'fastify'
import type { Principal, Scheme } from 'fastify-gatehouse'
interface Person extends Principal { readonly name: string }
declare const schemes: { user: Scheme<Person, { sub: string }>, service: Scheme<Principal, { key: string }> }
declare module 'fastify-gatehouse' {
  interface Schemes extends SchemesOf<typeof schemes> {}
  interface Scopes { 'orders:read': true, 'orders:write': true }
  interface Roles { clerk: true, admin: true }
}
import type { SchemesOf } from 'fastify-gatehouse'
const app = Fastify()
`

const kinds = [
  'without config.auth', 'with config.auth', 'with a handler that reads the principal', 'with anyOf'
] as const
type Kind = typeof kinds[number]

/** Writes an application of one kind. */
function application (kind: Kind): string {
  const lines = Array.from({ length: routes }, (_, i) => {
    const policy = kind === 'with anyOf' ? anyOf : String(policies[i % policies.length])
    const auth = kind === 'without config.auth' ? '' : `auth: ${policy}, `
    const answer = kind === 'with a handler that reads the principal' ? 'request.principal' : 'request.url'
    return `app.get('/r${i}', { config: { ${auth}} }, async request => ${answer})`
  })
  return `${head}${lines.join('\n')}\n`
}

interface Cost {
  readonly instantiations: number
  readonly ms: number
}

function compile (folder: string): Cost {
  const flags = ['-p', folder, '--singleThreaded', '--extendedDiagnostics']
  const report = execFileSync(process.execPath, [compiler, ...flags], { encoding: 'utf8' })
  const figure = (name: string): number => Number(new RegExp(`^${name}:\\s+([\\d.]+)`, 'm').exec(report)?.[1])
  return { instantiations: figure('Instantiations'), ms: figure('Check time') * 1000 }
}

const root = mkdtempSync(join('bench/.build', 'types-'))
const folders = kinds.map(kind => {
  const folder = mkdtempSync(join(root, 'application-'))
  writeFileSync(join(folder, 'app.ts'), application(kind))
  const paths = { 'fastify-gatehouse': [library] }
  const compilerOptions = { paths, noEmit: true }
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: resolve('tsconfig.json'), compilerOptions, include: ['app.ts'], exclude: [] })
  )
  return folder
})
const costs = kinds.map((): Cost[] => [])
for (let run = 0; run < runs; run++) folders.forEach((folder, i) => costs[i]?.push(compile(folder)))
rmSync(root, { recursive: true })

const [bare = []] = costs
console.log(`${routes} routes, medians of ${runs} runs of tsc 7, over the same routes without config.auth:`)
for (const [i, kind] of kinds.entries()) {
  const over = (cost: keyof Cost): string => {
    const differences = bare.map((each, run) => (costs[i]?.[run]?.[cost] ?? NaN) - each[cost])
    return (median(differences) / routes).toFixed(2)
  }
  if (i > 0) console.log(`${kind}: ${over('instantiations')} instantiations and ${over('ms')} ms a route`)
}
