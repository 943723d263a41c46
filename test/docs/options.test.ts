import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t, { type Test } from 'tap'
import ts from 'typescript'
import { root } from '../fixtures/root.js'
import { textOf } from './blocks.js'

/** The page of each exported function. A new function needs one. */
const pageOf: Readonly<Record<string, string>> = {
  default: 'docs/options.md',
  redactRequest: 'docs/options.md',
  apiKey: 'docs/api-key.md',
  apiKeyRoutes: 'docs/api-key.md',
  basic: 'docs/basic.md',
  jwt: 'docs/jwt.md',
  session: 'docs/session.md',
  memoryStore: 'docs/stores.md',
  sqlStore: 'docs/stores.md',
  redisStore: 'docs/stores.md',
  withDeadline: 'docs/stores.md',
  storeContract: 'docs/stores.md',
  passwords: 'docs/passwords.md',
  hashPassword: 'docs/passwords.md',
  verifyPassword: 'docs/passwords.md',
  passwordProblem: 'docs/passwords.md',
  secretsFromEnvironment: 'docs/environment.md',
  oauthServer: 'docs/oauth.md',
  oidcLogin: 'docs/oidc.md',
  startTelemetry: 'docs/otel.md',
  fakeIssuer: 'docs/testing.md',
  injectAs: 'docs/testing.md',
  schemeContract: 'docs/testing.md',
  testAccess: 'docs/testing.md',
  absent: 'docs/custom-scheme.md',
  authenticated: 'docs/custom-scheme.md',
  crossSite: 'docs/custom-scheme.md',
  expired: 'docs/custom-scheme.md',
  foreign: 'docs/custom-scheme.md',
  invalid: 'docs/custom-scheme.md',
  limited: 'docs/custom-scheme.md',
  unavailable: 'docs/custom-scheme.md',
  read: 'docs/custom-scheme.md'
}

/** Options that are described on a page of their own. */
const elsewhere: Readonly<Record<string, string>> = {
  'default.doctor': 'docs/doctor.md',
  'default.limits': 'docs/limits.md',
  'default.default': 'docs/routes.md',
  'jwt.sign': 'docs/tokens.md',
  'jwt.openapi': 'docs/openapi.md',
  'oauthServer.clients': 'docs/oauth.md'
}

/** The page with the calls of each member of `app.gatehouse`. */
const pageOfCalls: Readonly<Record<string, string>> = {
  default: 'docs/routes.md',
  guard: 'docs/routes.md',
  authenticate: 'docs/websockets.md',
  audit: 'docs/audit.md',
  doctor: 'docs/doctor.md',
  guesses: 'docs/limits.md',
  tokens: 'docs/tokens.md',
  sessions: 'docs/session.md',
  apiKeys: 'docs/api-key.md',
  oauth: 'docs/oauth.md'
}

/** Types that are not options, although they are arguments of functions. */
const notOptions = [
  'AnyKysely', 'AuthError', 'Fastify', 'Gatehouse', 'Jwk', 'OpenApiSecurityScheme', 'Principal', 'Scheme', 'Store',
  'TestedApp'
]

interface Option { readonly name: string, readonly page: string }

const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Readonly<Record<string, { readonly types?: string }>>
}
const entries = Object.values(exports).flatMap(
  ({ types }) => types === undefined ? [] : [join(root, types.replace('./dist/', '').replace('.d.ts', '.ts'))]
)
const config = ts.readConfigFile(join(root, 'tsconfig.json'), path => ts.sys.readFile(path)).config as object
const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
const host = ts.createCompilerHost(options)
/** Types of other packages take three quarters of the time, and only those of Fastify lead to options. */
host.resolveModuleNameLiterals = (names, file) => names.map(({ text: name }) =>
  /^(?:\.|fastify)/.test(name) ? ts.resolveModuleName(name, file, options, host) : { resolvedModule: undefined })
const program = ts.createProgram(entries, { ...options, types: [] }, host)
const checker = program.getTypeChecker()

t.test('every exported function has a page, and each of its options is on it', async t => {
  const documented = entries.flatMap(entry => exportedFunctions(entry))
  t.ok(documented.length > 25, 'the functions were found')
  for (const { name, type } of documented) {
    const page = pageOf[name]
    if (page === undefined) t.fail(`${name} has no page: add it to ${relative(root, import.meta.filename)}`)
    else checkOptions(t, name, optionsOf(type, name, page))
  }
})

t.test('every option of a call of app.gatehouse is on the page of its member', async t => {
  const source = program.getSourceFile(join(root, 'types/gatehouse.ts'))
  const [declaration] = source?.statements.filter(
    each => ts.isInterfaceDeclaration(each) && each.name.text === 'Gatehouse'
  ) ?? []
  t.ok(declaration !== undefined, 'the type was found')
  if (declaration === undefined) return
  for (const member of checker.getTypeAtLocation(declaration).getProperties()) {
    const page = pageOfCalls[member.name]
    if (page === undefined) t.fail(`app.gatehouse.${member.name} has no page`)
    else {
      for (const each of callsOf(checker.getTypeOfSymbol(member))) {
        checkOptions(t, `app.gatehouse.${member.name}`, optionsOf(each, member.name, page))
      }
    }
  }
})

function checkOptions (t: Test, owner: string, found: readonly Option[]): void {
  for (const { name, page } of found) {
    t.ok(codeOf(page).has(name.split('.').at(-1) ?? ''), `${page} has the option ${name} of ${owner}`)
  }
}

/** Returns the words of all inline and fenced code on a page. */
function codeOf (page: string): ReadonlySet<string> {
  const code = textOf(page).match(/^```[\s\S]*?^```$|`[^`\n]+`/gm) ?? []
  return new Set(code.join('\n').match(/[\w$]+/g))
}

function exportedFunctions (entry: string): ReadonlyArray<{ readonly name: string, readonly type: ts.Type }> {
  const source = program.getSourceFile(entry)
  const module = source === undefined ? undefined : checker.getSymbolAtLocation(source)
  if (module === undefined) throw new Error(`${entry} is not a module`)
  return checker.getExportsOfModule(module).flatMap(each => {
    const symbol = (each.flags & ts.SymbolFlags.Alias) !== 0 ? checker.getAliasedSymbol(each) : each
    if ((symbol.flags & ts.SymbolFlags.Value) === 0) return []
    const type = checker.getTypeOfSymbol(symbol)
    return type.getCallSignatures().length === 0 ? [] : [{ name: each.name, type }]
  })
}

/** Returns a function, or the methods of an object and of the objects that they return. */
function callsOf (type: ts.Type, depth = 0): readonly ts.Type[] {
  if (depth > 3 || !isObject(type)) return []
  const signatures = type.getCallSignatures()
  if (signatures.length > 0) return [type, ...signatures.flatMap(each => callsOf(each.getReturnType(), depth + 1))]
  return ownProperties(type).flatMap(each => callsOf(checker.getTypeOfSymbol(each), depth + 1))
}

function optionsOf (type: ts.Type, name: string, page: string): readonly Option[] {
  const found = new Map<string, Option>()
  for (const signature of type.getCallSignatures()) {
    for (const parameter of signature.getParameters()) collect(checker.getTypeOfSymbol(parameter), name, page, found)
  }
  return [...found.values()]
}

function collect (type: ts.Type, path: string, page: string, found: Map<string, Option>): void {
  if (type.isUnionOrIntersection()) {
    for (const each of type.types) collect(each, path, page, found)
    return
  }
  if (checker.isArrayType(type)) {
    for (const each of checker.getTypeArguments(type as ts.TypeReference)) collect(each, path, page, found)
    return
  }
  const name = (type.aliasSymbol ?? type.getSymbol())?.name ?? ''
  if (!isObject(type) || type.getCallSignatures().length > 0 || notOptions.some(each => name.startsWith(each))) return
  for (const property of ownProperties(type)) {
    const own = `${path}.${property.name}`
    const of = checker.getTypeOfSymbol(property)
    if (found.has(own) || isRefused(of)) continue
    found.set(own, { name: own, page })
    collect(of, own, elsewhere[own] ?? page, found)
  }
}

function isObject (type: ts.Type): boolean {
  return (type.flags & ts.TypeFlags.Object) !== 0
}

/** Returns true for a misspelled name, such as `scope`, that the types refuse. */
function isRefused (type: ts.Type): boolean {
  const rest = checker.getNonNullableType(type)
  return (rest.flags & ts.TypeFlags.Never) !== 0 || checker.typeToString(rest).startsWith('DidYouMean')
}

/** Returns the properties that this package declares, without those of Fastify, Node and the OpenAPI specification. */
function ownProperties (type: ts.Type): readonly ts.Symbol[] {
  return type.getProperties().filter(each => {
    const file = each.declarations?.[0]?.getSourceFile().fileName ?? ''
    return !file.includes('node_modules') && /^(?:lib|types)\/(?!openapi\.ts)/.test(relative(root, file))
  })
}
