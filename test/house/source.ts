import { readFileSync, readdirSync } from 'node:fs'
import { join, posix, relative, resolve, sep } from 'node:path'
import ts from 'typescript'
import { root } from '../fixtures/root.js'

export interface Import {
  /** The path from the root for a relative import (`lib/errors.ts`), the name for a package. */
  readonly target: string
  readonly typeOnly: boolean
}

export interface Source {
  /** The path from the root, with slashes. */
  readonly path: string
  readonly text: string
  readonly tree: ts.SourceFile
  readonly imports: readonly Import[]
}

/** Parses every TypeScript file below the folders. */
export function sources (...folders: readonly string[]): readonly Source[] {
  return folders.flatMap(folder => readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => posix.join(folder, name.split(sep).join('/')))
    .sort()
    .map(path => sourceOf(path, readFileSync(join(root, path), 'utf8'))))
}

export function sourceOf (path: string, text: string): Source {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const imports = nodes(tree).flatMap(node => importOf(path, node))
  return { path, text, tree, imports }
}

/** Returns the node and all its descendants. */
export function nodes (node: ts.Node): readonly ts.Node[] {
  const found: ts.Node[] = [node]
  for (const each of found) ts.forEachChild(each, child => { found.push(child) })
  return found
}

/** Returns the location of a node in the form that editors open: `path:line`. */
export function place (source: Source, node: ts.Node): string {
  return `${source.path}:${source.tree.getLineAndCharacterOfPosition(node.getStart()).line + 1}`
}

function importOf (path: string, node: ts.Node): readonly Import[] {
  if (ts.isImportDeclaration(node)) {
    return named(path, node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword)
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
    return named(path, node.moduleSpecifier, node.isTypeOnly)
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return named(path, node.argument.literal, true)
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    return named(path, node.arguments[0], false)
  }
  return []
}

function named (path: string, specifier: ts.Node | undefined, typeOnly: boolean): readonly Import[] {
  if (specifier === undefined || !ts.isStringLiteral(specifier)) return [{ target: `<computed in ${path}>`, typeOnly }]
  const name = specifier.text
  if (!name.startsWith('.')) return [{ target: name, typeOnly }]
  const target = relative(root, resolve(root, posix.dirname(path), name)).split(sep).join('/')
  return [{ target: target.replace(/\.js$/, '.ts'), typeOnly }]
}
