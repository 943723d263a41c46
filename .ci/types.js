import { once } from 'node:events'
import { start } from './children.js'

/*
 * Runs the compiler over everything but the benchmarks. The folders of `test/types` are applications with schemes,
 * scopes and roles of their own, so each is a program of its own.
 */

const projects = ['.', 'examples', 'test/types/typed', 'test/types/merged', 'test/types/defaults']

for (const project of projects) {
  const compiler = start(
    process.execPath, ['node_modules/typescript-7/bin/tsc', '--singleThreaded', '--project', project]
  )
  const [exitCode] = await once(compiler, 'close')
  process.exitCode ||= exitCode ?? 1
}
