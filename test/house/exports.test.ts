import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { root } from '../fixtures/root.js'
import { sourceOf } from './source.js'

/** The checked-in list of the exports of each entry point. A change of the public API changes this file. */
const listed = readFileSync(join(root, 'test/house/exports.txt'), 'utf8')
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Readonly<Record<string, { readonly types?: string }>>
}

t.test('the entry points export exactly what test/house/exports.txt lists', async t => {
  const entries = Object.entries(exports).flatMap(
    ([name, { types }]) => types === undefined ? [] : [{ name, path: sourcePath(types) }]
  )
  t.ok(entries.length > 4, 'the entry points were found')
  t.equal(entries.map(({ name, path }) => section(name, exportsOf(path))).join('\n'), listed)
})

t.test('only interfaces that applications extend are exported by a star', async t => {
  const stars = readFileSync(join(root, 'lib/index.ts'), 'utf8').match(/^export .*\*.*$/gm)
  t.same(stars, ["export type * from '../types/registry.js'"])
})

/** Returns the source of declarations, such as `lib/index.ts` for `./dist/lib/index.d.ts`. */
function sourcePath (types: string): string {
  return types.replace(/^\.\/dist\//, '').replace(/\.d\.ts$/, '.ts')
}

function section (name: string, exported: readonly string[]): string {
  return `${name.replace(/^\./, 'fastify-gatehouse')}\n${[...exported].sort().map(each => `  ${each}\n`).join('')}`
}

function exportsOf (path: string): readonly string[] {
  return sourceOf(path, readFileSync(join(root, path), 'utf8')).tree.statements.flatMap(statement => {
    if (ts.isExportDeclaration(statement)) return reexports(path, statement)
    if (!ts.canHaveModifiers(statement) || !ts.getModifiers(statement)?.some(
      each => each.kind === ts.SyntaxKind.ExportKeyword
    )) {
      return []
    }
    if (ts.isVariableStatement(statement)) {
      return statement.declarationList.declarations.map(each => each.name.getText())
    }
    const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)
    const { name } = statement as ts.DeclarationStatement
    return name === undefined ? [] : [`${isType ? 'type ' : ''}${name.getText()}`]
  })
}

function reexports (
  path: string, { exportClause, isTypeOnly, moduleSpecifier }: ts.ExportDeclaration
): readonly string[] {
  if (exportClause !== undefined && ts.isNamedExports(exportClause)) {
    return exportClause.elements.map(each => `${isTypeOnly || each.isTypeOnly ? 'type ' : ''}${each.name.text}`)
  }
  const target = moduleSpecifier !== undefined && ts.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : ''
  return exportsOf(posix.join(posix.dirname(path), target).replace(/\.js$/, '.ts'))
}
