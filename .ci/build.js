import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { build } from 'esbuild'

/**
 * Builds `dist`, by `npm run build`: a file for each entry point, and chunks for what several entry points share, so
 * that no module is in `dist` twice and a class is the same through every entry point. An application that imports the
 * package loads a few files instead of one for each of our modules. The declarations are those of the compiler.
 */
const { bin, exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const built = [...Object.values(exports).flatMap(entry => entry.default ?? []), ...Object.values(bin)]

rmSync('dist', { recursive: true, force: true })
const compiler = ['node_modules/typescript-7/bin/tsc', '-p', 'tsconfig.build.json']
const { status } = spawnSync(process.execPath, compiler, { stdio: 'inherit' })
if (status !== 0) process.exit(1)
await build({
  entryPoints: built.map(file => file.replace(/^\.\/dist\/(.+)\.js$/, '$1.ts')),
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
  sourcemap: true,
  logLevel: 'warning'
})
