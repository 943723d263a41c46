import { basename } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { nodes, place, root, sourceOf, sources, type Source } from './source.js'

/** What a scheme author is given: files of `lib/schemes` that are no scheme. Everything else there is one. */
const kit = new Set(['outcome', 'places', 'principal', 'read', 'secrets'])
/** What every room may use. Any other file beside `errors.ts` is a part of the plugin's wiring. */
const helpers = new Set(['address', 'answer', 'duration', 'parsers', 'private-slot', 'property', 'response', 'response-work', 'shape', 'thenable'])
/** Rooms that hold what a credential means and where state rests: a scheme opens them, the guard never. */
const rooms = new Set(['api-keys', 'tokens', 'sessions', 'stores', 'passwords', 'oauth'])

/** The zone of a file: a name of the table below. */
function zone (path: string): string {
  const [top = '', room = '', file = ''] = path.split('/')
  const name = basename(room, '.ts')
  if (top === 'types') return 'types'
  if (top !== 'lib') return 'package'
  if (name === 'errors' || name === 'index' || name === 'guard' || name === 'routes') return name
  if (name === 'schemes') return kit.has(basename(file, '.ts')) ? 'kit' : `scheme ${basename(file, '.ts')}`
  if (name === 'recall') return 'recall'
  if (rooms.has(name)) return 'room'
  if (helpers.has(name)) return 'helper'
  if (name === 'cli') return 'cli'
  if (path === 'lib/context.ts') return 'context'
  return room.endsWith('.ts') || name === 'plugin' ? 'plugin' : 'feature'
}

const base = ['types', 'errors', 'helper', 'kit']
/** What a process remembers of records and whom it tells of their end, whatever they are: it knows no other room. */
const recall = ['types', 'errors', 'helper']

/** What each zone may import, itself included. `index` may import everything. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  types: ['types'],
  errors: ['types'],
  helper: ['types', 'errors', 'helper'],
  kit: base,
  room: [...base, 'room', 'recall'],
  recall,
  scheme: [...base, 'room'],
  guard: [...base, 'guard'],
  routes: [...base, 'guard', 'routes'],
  feature: [...base, 'guard', 'routes', 'feature'],
  cli: [...base, 'room', 'cli'],
  // The one part of the wiring that opens a room: the store that everything is given.
  context: [...base, 'guard', 'feature', 'plugin', 'room'],
  plugin: [...base, 'guard', 'routes', 'feature', 'context', 'plugin']
}

/** Packages that `types` may name, as types. Elsewhere package.json says what may be imported. */
const typePackages = new Set(['fastify'])

function violations (source: Source): readonly string[] {
  const from = zone(source.path)
  if (from === 'index') return []
  return source.imports.flatMap(({ target, typeOnly }) => {
    const to = zone(target)
    if (from === 'types' && !typeOnly) return [`${source.path} imports ${target} as a value: types are types only`]
    if (to === 'package') return from === 'types' && !typePackages.has(target) ? [`${source.path} imports ${target}`] : []
    const list = allowed[from.startsWith('scheme ') ? 'scheme' : from] ?? []
    return to === from || list.includes(to) ? [] : [`${source.path} (${from}) imports ${target} (${to})`]
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
    ['lib/errors.ts', "import { seconds } from './duration.js'"],
    ['lib/duration.ts', "import { absent } from './schemes/outcome.js'"],
    ['lib/schemes/read.ts', "import { jwt } from './jwt.js'"],
    ['lib/schemes/jwt.ts', "import { session } from './session.js'"],
    ['lib/schemes/jwt/claims.ts', "export { basic } from '../basic.js'"],
    ['lib/schemes/jwt.ts', "import type { Policy } from '../guard/policy.js'"],
    ['lib/tokens/verify.ts', "const jwt = await import('../schemes/jwt.js')"],
    ['lib/guard/guard.ts', "import type { Options } from '../schemes/basic.js'"],
    ['lib/guard/guard.ts', "let keeper: import('../sessions/keeper.js').Keeper"],
    ['lib/guard/guard.ts', "import { plugin } from '../plugin.js'"],
    ['lib/routes/book.ts', "import { plugin } from '../plugin.js'"],
    ['lib/facade.ts', "import { verify } from './tokens/verify.js'"],
    ['lib/plugin.ts', "import { session } from './schemes/session.js'"],
    ['lib/plugin.ts', "import { memory } from './stores/memory.js'"],
    ['lib/guard/view.ts', "import { plugin } from '../index.js'"],
    ['lib/recall/memo.ts', "import type { Session } from '../sessions/payload.js'"],
    ['lib/guard/guard.ts', "import { Memo } from '../recall/memo.js'"]
  ]
  for (const [path, text] of wrong) t.equal(violations(sourceOf(path, text)).length, 1, `${path} may not say ${text}`)

  t.same(violations(sourceOf('lib/schemes/jwt.ts', "import { verify } from '../tokens/verify.js'\nimport { absent } from './outcome.js'\nimport { claims } from './jwt/claims.js'")), [])
})

t.test('no two files of lib need each other to load', async t => {
  const graph = new Map(lib.map(source => [source.path, source.imports.filter(each => !each.typeOnly).map(each => each.target)]))
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

t.test('every relative import names a file that exists', async t => {
  const paths = new Set(all.map(source => source.path))
  const missing = all.flatMap(source => source.imports.filter(each => /^(?:lib|types)\//.test(each.target) && !paths.has(each.target)).map(each => `${source.path} -> ${each.target}`))
  t.same(missing, [])
})

t.test('the doorway only re-exports', async t => {
  const doorway = lib.find(source => source.path === 'lib/index.ts')
  if (doorway === undefined) return t.fail('lib/index.ts is missing')
  const others = doorway.tree.statements.filter(statement => !ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement) &&
    !(ts.isExportAssignment(statement) && ts.isIdentifier(statement.expression)))
  t.same(others.map(statement => place(doorway, statement)), [])
})

t.test('types hold no code', async t => {
  const code = all.filter(source => source.path.startsWith('types/')).flatMap(source => source.tree.statements
    .filter(statement => !ts.isInterfaceDeclaration(statement) && !ts.isTypeAliasDeclaration(statement) && !ts.isImportDeclaration(statement) &&
      !(ts.isExportDeclaration(statement) && statement.isTypeOnly) && !isAmbient(statement))
    .map(statement => place(source, statement)))
  t.same(code, [])
})

function isAmbient (statement: ts.Statement): boolean {
  return ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.some(modifier => modifier.kind === ts.SyntaxKind.DeclareKeyword) === true
}

t.test('no file is longer than 250 lines, no function longer than a screen', async t => {
  const prose = all.filter(source => source.path !== 'lib/schemes/secrets/known-digests.ts')
  t.same(prose.filter(source => lines(source.text) > 250).map(source => `${source.path}: ${lines(source.text)} lines`), [])
  // A contract that other people run is a list of tests: what is long there is the list.
  const long = lib.filter(source => !source.path.startsWith('lib/stores/testing/')).flatMap(source => nodes(source.tree)
    .filter(node => ts.isFunctionLike(node) && lines(node.getText()) > 60)
    .map(node => `${place(source, node)}: ${lines(node.getText())} lines`))
  t.same(long, [])
})

function lines (text: string): number {
  return text.trimEnd().split('\n').length
}

t.test('lib says nothing with `any`, and switches no check off', async t => {
  t.same(all.flatMap(anys), [])
  t.same(anys(sourceOf('lib/a.ts', 'export const a = (b: any) => b')), ['lib/a.ts:1'])
  const switches = /@ts-(?:ignore|expect-error|nocheck)|eslint-disable|[cv]8 ignore|istanbul ignore/
  t.same(lib.filter(source => switches.test(source.text)).map(source => source.path), [])
})

function anys (source: Source): readonly string[] {
  return nodes(source.tree).filter(node => node.kind === ts.SyntaxKind.AnyKeyword).map(node => place(source, node))
}

t.test('lib names no folder of the machine it was written on', async t => {
  const folders = /(?:^|[\s'"`(])\/(?:home|Users|root|tmp|mnt|var|private)\//m
  const own = root.length > 1 ? all.filter(source => source.text.includes(`${root}/`)) : []
  t.same([...own, ...all.filter(source => folders.test(source.text))].map(source => source.path), [])
})
