import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import { build } from 'esbuild'

/**
 * Builds `dist`, by `npm run build`: a file for each entry point, and chunks for what several entry points share, so
 * that no module is in `dist` twice and a class is the same through every entry point. An application that imports the
 * package loads a few files instead of one for each of our modules. The declarations are those of the compiler.
 */
const { bin, exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const built = [...Object.values(exports).flatMap(entry => entry.default ?? []), ...Object.values(bin)]
const main = resolve('lib/index.ts')
/** Entry points of programs that may not need the plugin: scripts that hash passwords, and the command line. */
const independent = ['lib/passwords/index.ts', 'lib/cli/main.ts'].map(file => resolve(file))
const entryPoints = built.map(file => file.replace(/^\.\/dist\/(.+)\.js$/, '$1.ts'))

rmSync('dist', { recursive: true, force: true })
const compiler = ['node_modules/typescript-7/bin/tsc', '-p', 'tsconfig.build.json']
const { status } = spawnSync(process.execPath, compiler, { stdio: 'inherit' })
if (status !== 0) process.exit(1)
await build({
  entryPoints,
  outdir: 'dist',
  outbase: '.',
  chunkNames: 'lib/chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  define: { 'import.meta.url': 'moduleUrl' },
  inject: ['.ci/module-url.js'],
  plugins: [fewChunks()],
  // package.json says that our imports have no side effects, for bundlers of applications; here they are the point
  ignoreAnnotations: true,
  sourcemap: true,
  logLevel: 'warning'
})

/**
 * Lets the other entry points import the main one. Esbuild makes a chunk for every set of entry points that share a
 * module; without this there are 18 that the main entry point loads, and with it 3.
 */
function fewChunks () {
  const others = new Set(entryPoints.map(file => resolve(file)).filter(file => file !== main))
  for (const file of independent) others.delete(file)
  return {
    name: 'few-chunks',
    setup (build) {
      build.onLoad({ filter: /[\\/]index\.ts$/ }, ({ path }) => others.has(path)
        ? { loader: 'ts', contents: `${readFileSync(path, 'utf8')}\nimport ${JSON.stringify(main)}\n` }
        : null)
    }
  }
}
