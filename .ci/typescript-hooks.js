import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { compile } from './compile.js'

/*
 * Customization hooks of Node's module loader, see typescript.js. `npm run types` checks what they do not: types.
 */

const root = new URL('..', import.meta.url)
const { name: packageName, exports } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))

/** Finds a TypeScript file by the name of its compiled form, and the entry points of this package in `lib`. */
export async function resolve (specifier, context, next) {
  const { parentURL = '' } = context
  if (specifier.startsWith('.') && specifier.endsWith('.js') && parentURL.endsWith('.ts')) {
    const url = new URL(specifier.replace(/\.js$/, '.ts'), parentURL)
    if (existsSync(url)) return { url: url.href, format: 'module', shortCircuit: true }
  } else if (specifier === packageName || specifier.startsWith(`${packageName}/`)) {
    const entry = exports[`.${specifier.slice(packageName.length)}`]?.default
    if (entry !== undefined) return { url: sourceOf(entry), format: 'module', shortCircuit: true }
  }
  return await next(specifier, context)
}

function sourceOf (entry) {
  return new URL(entry.replace('./dist/', '').replace(/\.js$/, '.ts'), root).href
}

export async function load (url, context, next) {
  if (!url.startsWith('file:') || !new URL(url).pathname.endsWith('.ts')) return await next(url, context)
  return { format: 'module', source: await compile(fileURLToPath(url)), shortCircuit: true }
}
