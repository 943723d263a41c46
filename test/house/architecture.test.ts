import { basename } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { root } from '../fixtures/root.js'
import { nodes, place, sourceOf, sources, type Source } from './source.js'

/**
 * The rooms of `lib` by floor, from the lowest. A room imports from lower floors only, and a scheme imports no other
 * scheme. `lib/schemes/*` and `types` are rooms too; `errors` and `plugin` share their floors with the files of these
 * names.
 */
const floors: ReadonlyArray<readonly string[]> = [
  ['types'],
  ['errors'],
  ['util'],
  ['events'],
  ['secrets', 'policy', 'stores', 'kit'],
  ['jose', 'passwords', 'guard'],
  ['limits', 'routes', 'schemes/*'],
  ['audit'],
  ['openapi', 'cli', 'doctor'],
  ['plugin'],
  ['oauth', 'oidc', 'otel', 'testing'],
  ['index']
]

/** Returns the room of a file, or `package` for one outside of the project. */
function roomOf (path: string): string {
  const [top = '', room = '', name = ''] = path.split('/')
  if (top === 'types') return 'types'
  if (top !== 'lib') return 'package'
  return room === 'schemes' ? `schemes/${name}` : basename(room, '.ts')
}

function floorOf (room: string): number {
  return floors.findIndex(rooms => rooms.includes(room.startsWith('schemes/') ? 'schemes/*' : room))
}

/** Packages from which `types` may import types. For the other folders, package.json lists the packages. */
const typePackages = new Set(['fastify'])

function violations (source: Source): readonly string[] {
  const room = roomOf(source.path)
  const floor = floorOf(room)
  if (floor < 0) return [`${source.path} is in no room of the table`]
  return source.imports.flatMap(({ target, typeOnly }) => {
    const to = roomOf(target)
    if (room === 'types' && !typeOnly) return [`${source.path} imports ${target} as a value: types are types only`]
    if (to === 'package') {
      return room === 'types' && !typePackages.has(target) ? [`${source.path} imports ${target}`] : []
    }
    return to === room || floorOf(to) < floor ? [] : [`${source.path} (${room}) imports ${target} (${to})`]
  })
}

const all = sources('lib', 'types')
const lib = all.filter(source => source.path.startsWith('lib/'))

t.test('every import follows the direction of dependency', async t => {
  t.ok(lib.length > 20, 'the sources were found')
  t.same(all.flatMap(violations), [])

  const wrong: ReadonlyArray<readonly [path: string, text: string]> = [
    ['types/scheme.ts', "import type { AuthError } from '../lib/errors.js'"],
    ['types/scheme.ts', "import { Principal } from './principal.js'"],
    ['types/scheme.ts', "import type { KeyObject } from 'node:crypto'"],
    ['lib/errors.ts', "import { duration } from './util/options.js'"],
    ['lib/util/objects.ts', "import { absent } from '../kit/outcome.js'"],
    ['lib/kit/read-credential.ts', "import { jwt } from '../schemes/jwt/scheme.js'"],
    ['lib/schemes/jwt/scheme.ts', "import { session } from '../session/scheme.js'"],
    ['lib/schemes/jwt/claims.ts', "export { basic } from '../basic/scheme.js'"],
    ['lib/jose/verify.ts', "const jwt = await import('../schemes/jwt/scheme.js')"],
    ['lib/guard/guard.ts', "import type { Options } from '../schemes/basic/scheme.js'"],
    ['lib/guard/guard.ts', "let manager: import('../schemes/session/manager.js').Manager"],
    ['lib/guard/guard.ts', "import { plugin } from '../plugin.js'"],
    ['lib/policy/resolve.ts', "import type { Guard } from '../guard/guard.js'"],
    ['lib/routes/hooks.ts', "import { plugin } from '../plugin.js'"],
    ['lib/audit/rows.ts', "import { plugin } from '../index.js'"],
    ['lib/util/cache.ts', "import type { Session } from '../schemes/session/session.js'"],
    ['lib/attic/chest.ts', 'export const chest = 1']
  ]
  for (const [path, text] of wrong) t.equal(violations(sourceOf(path, text)).length, 1, `${path} may not say ${text}`)

  const right = [
    "import { verify } from '../../jose/verify.js'",
    "import { absent } from '../../kit/outcome.js'",
    "import { claims } from './claims.js'"
  ].join('\n')
  t.same(violations(sourceOf('lib/schemes/jwt/scheme.ts', right)), [])
})

t.test('lib has no import cycles', async t => {
  const graph = new Map(
    lib.map(source => [source.path, source.imports.filter(each => !each.typeOnly).map(each => each.target)])
  )
  const loaded = new Set<string>()
  const circles: string[] = []
  const visit = (path: string, above: readonly string[]): void => {
    if (above.includes(path)) { circles.push([...above.slice(above.indexOf(path)), path].join(' -> ')); return }
    if (loaded.has(path)) return
    for (const target of graph.get(path) ?? []) visit(target, [...above, path])
    loaded.add(path)
  }
  for (const path of graph.keys()) visit(path, [])
  t.same(circles, [])
})

t.test('every relative import names an existing file', async t => {
  const paths = new Set(all.map(source => source.path))
  const missing = all.flatMap(
    source => source.imports.filter(
      each => /^(?:lib|types)\//.test(each.target) && !paths.has(each.target)
    ).map(each => `${source.path} -> ${each.target}`)
  )
  t.same(missing, [])
})

t.test('the doorway only re-exports', async t => {
  const doorway = lib.find(source => source.path === 'lib/index.ts')
  if (doorway === undefined) return t.fail('lib/index.ts is missing')
  const others = doorway.tree.statements.filter(
    statement => !ts.isImportDeclaration(statement) &&
      !ts.isExportDeclaration(statement) &&
      !(ts.isExportAssignment(statement) && ts.isIdentifier(statement.expression))
  )
  t.same(others.map(statement => place(doorway, statement)), [])
})

t.test('types hold no code', async t => {
  const code = all.filter(source => source.path.startsWith('types/')).flatMap(
    source => source.tree.statements.filter(
      statement => !ts.isInterfaceDeclaration(statement) &&
        !ts.isTypeAliasDeclaration(statement) &&
        !ts.isImportDeclaration(statement) &&
        !(ts.isExportDeclaration(statement) && statement.isTypeOnly) &&
        !isAmbient(statement)
    ).map(statement => place(source, statement))
  )
  t.same(code, [])
})

function isAmbient (statement: ts.Statement): boolean {
  return ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.some(
    modifier => modifier.kind === ts.SyntaxKind.DeclareKeyword
  ) === true
}

t.test('lib has no loose files', async t => {
  const loose = lib.map(source => source.path).filter(path => path.split('/').length === 2)
  t.same(loose, ['lib/errors.ts', 'lib/index.ts', 'lib/plugin.ts'])
})

t.test('no file is longer than 400 lines, no function longer than a screen or with four parameters', async t => {
  t.same(
    all.filter(source => lines(withoutData(source)) > 400).map(source => `${source.path}: ${lines(source.text)} lines`),
    []
  )
  // the store contract is one long list of tests
  const long = lib.filter(source => !source.path.startsWith('lib/stores/testing/')).flatMap(source => nodes(source.tree)
    .filter(node => ts.isFunctionLike(node) && lines(node.getText()) > 45)
    .map(node => `${place(source, node)}: ${lines(node.getText())} lines`))
  t.same(long, [])
  t.same(lib.flatMap(wide), ['lib/errors.ts: AuthError.constructor', 'lib/routes/hooks.ts: RouteHooks.preParsing'])
  const four = '(a: 1, b: 2, c: 3, d: 4)'
  for (const text of [
    `function f ${four} {}`, `class C { m ${four} {} }`, `class C { constructor ${four} {} }`,
    `interface I { m ${four}: void }`, `const f = async ${four} => {}`
  ]) t.equal(wide(sourceOf('lib/a.ts', text)).length, 1, text)
  const right = `function f (this: 0, a: 1, b: 2, c: 3) {}\napp.addHook('onSend', ${four} => {})`
  t.same(wide(sourceOf('lib/a.ts', right)), [])
})

/**
 * Returns the functions with more than three parameters. Callbacks and function types are left out, because their
 * callers decide the parameters. Two are expected: Fastify decides the parameters of a hook, and the constructor of the
 * error takes everything that describes an error.
 */
function wide (source: Source): readonly string[] {
  return nodes(source.tree).filter(ts.isFunctionLike)
    .filter(node => ts.isFunctionDeclaration(node) || ts.isMethodSignature(node) || ts.isConstructorDeclaration(node) ||
      ts.isClassLike(node.parent) || (ts.isVariableDeclaration(node.parent) && node.parent.type === undefined))
    .filter(({ parameters }) => parameters.filter(each => each.name.getText() !== 'this').length > 3)
    .map(node => `${source.path}: ${nameOf(node.parent)}${nameOf(node)}`)
}

function nameOf (node: ts.Node): string {
  if (ts.isConstructorDeclaration(node)) return '.constructor'
  const name = ts.getNameOfDeclaration(node as ts.Declaration)?.getText() ?? ''
  return ts.isMethodSignature(node) || ts.isMethodDeclaration(node) ? `.${name}` : name
}

/** Returns the text of a file without its template literals, which may contain tables of data. */
function withoutData (source: Source): string {
  return nodes(source.tree).filter(ts.isNoSubstitutionTemplateLiteral).reduce(
    (text, node) => text.replace(node.getText(), ''), source.text
  )
}

function lines (text: string): number {
  return text.trimEnd().split('\n').length
}

t.test('lib uses no `any` and no disabled checks', async t => {
  t.same(all.flatMap(anys), [])
  t.same(anys(sourceOf('lib/a.ts', 'export const a = (b: any) => b')), ['lib/a.ts:1'])
  const switches = /@ts-(?:ignore|expect-error|nocheck)|(?:es|ox)lint-disable|[cv]8 ignore|istanbul ignore/
  t.same(lib.filter(source => switches.test(source.text)).map(source => source.path), [])
})

function anys (source: Source): readonly string[] {
  return nodes(source.tree).filter(node => node.kind === ts.SyntaxKind.AnyKeyword).map(node => place(source, node))
}

t.test('lib names no local path', async t => {
  const folders = /(?:^|[\s'"`(])\/(?:home|Users|root|tmp|mnt|var|private)\//m
  const own = root.length > 1 ? all.filter(source => source.text.includes(`${root}/`)) : []
  t.same([...own, ...all.filter(source => folders.test(source.text))].map(source => source.path), [])
})
