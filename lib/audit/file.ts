import { readFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'

/**
 * Returns the path of a file relative to its package, with slashes: `routes/orders.ts`. The path of a library's file
 * begins with the library's name, without the folder in which a package manager keeps it.
 */
export function fileInPackage (path: string): string {
  const slashed = path.replaceAll('\\', '/')
  const library = slashed.lastIndexOf('/node_modules/')
  if (library !== -1) return slashed.slice(library + '/node_modules/'.length)
  const folder = packageOf(dirname(path))
  return folder === null ? basename(path) : relative(folder, path).replaceAll('\\', '/')
}

const packages = new Map<string, string | null>()

/** Returns the root folder of the package that a folder belongs to; `null` if there is none. */
function packageOf (folder: string): string | null {
  const cached = packages.get(folder)
  if (cached !== undefined) return cached
  const above = dirname(folder)
  const found = isPackage(folder) ? folder : above === folder ? null : packageOf(above)
  packages.set(folder, found)
  return found
}

/** Returns true for a folder with a package.json that has a name. Builds have one with only a `type`. */
function isPackage (folder: string): boolean {
  try {
    const text = readFileSync(join(folder, 'package.json'), 'utf8')
    return typeof (JSON.parse(text) as { readonly name?: unknown }).name === 'string'
  } catch {
    return false
  }
}
