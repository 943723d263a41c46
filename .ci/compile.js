import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, '.tap/compiled')

/** Compiles all sources at once, so that processes that start together do not each do it. */
export async function compileSources () {
  const files = ['lib', 'types', 'test', 'examples'].flatMap(
    part => readdirSync(join(root, part), { recursive: true, encoding: 'utf8' }).map(name => join(root, part, name))
  )
  await Promise.all(files.filter(file => file.endsWith('.ts')).map(compile))
}

/** Returns the JavaScript of a TypeScript file, with its source map. Keeps it for other processes. */
export async function compile (path) {
  const source = readFileSync(path, 'utf8')
  const kept = join(folder, createHash('sha1').update(`${path}\n${source}`).digest('hex'))
  if (existsSync(kept)) return readFileSync(kept, 'utf8')
  // loaded only where something is to be compiled
  const { transform } = await import('esbuild')
  const { code } = await transform(source, {
    loader: 'ts',
    format: 'esm',
    target: 'node20',
    sourcefile: pathToFileURL(path).href,
    sourcemap: 'inline',
    // without these, coverage counts the ends of loops and of `finally` as branches, and `() => {}` as a function
    minifyWhitespace: true,
    keepNames: true,
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } }
  })
  mkdirSync(folder, { recursive: true })
  // other processes see all of the file or nothing
  writeFileSync(`${kept}.${process.pid}`, code)
  renameSync(`${kept}.${process.pid}`, kept)
  return code
}
