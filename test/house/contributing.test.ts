import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../fixtures/root.js'

const guide = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8')
const { scripts } = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8')
) as { scripts: Readonly<Record<string, string>> }

t.test('every path that CONTRIBUTING.md names exists', async t => {
  const paths = [...guide.matchAll(/`((?:lib|test|types|docs|\.ci)\/[\w./-]+)`/g)].flatMap(([, path]) => path ?? [])
  t.ok(paths.length > 12, 'the paths were found')
  t.same(paths.filter(path => !existsSync(join(root, path))), [])
})

t.test('the layout of CONTRIBUTING.md names every room of lib', async t => {
  const rooms = [...guide.matchAll(/^ {2}([a-z]+)\/ /gm)].map(([, room]) => join(root, 'lib', room ?? ''))
  t.ok(rooms.length > 10, 'the rooms were found')
  t.same(rooms.filter(room => !existsSync(room)), [])
})

t.test('every npm script that CONTRIBUTING.md names exists', async t => {
  const names = [...guide.matchAll(/npm run ([\w:]+)/g)].flatMap(([, name]) => name ?? [])
  t.same(names.filter(name => scripts[name] === undefined), [])
})
