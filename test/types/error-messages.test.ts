import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { run } from '../house/run.js'
import { root } from '../fixtures/root.js'

const here = join(root, 'test/types')
/** Copies at the same depth as `test/types`, so that their imports work. */
const copies = join(root, '.tap/types')
const directive = /\/\/ @ts-expect-error (\S.*)/

interface Expected {
  readonly at: string
  readonly message: string
}

/** Removes the directives with an expected message, and returns the messages with their lines. */
function withoutDirectives (name: string): readonly Expected[] {
  const lines = readFileSync(join(copies, name), 'utf8').split('\n')
  writeFileSync(join(copies, name), lines.map(line => line.replace(directive, '//')).join('\n'))
  return lines.flatMap((line, i) => {
    const message = directive.exec(line)?.[1]
    return message === undefined ? [] : [{ at: `.tap/types/${name}(${i + 2},`, message }]
  })
}

t.test('the compiler says what is wrong in the words after @ts-expect-error', async t => {
  rmSync(copies, { recursive: true, force: true })
  for (const name of ['typed', 'titles.ts']) cpSync(join(here, name), join(copies, name), { recursive: true })
  const names = readdirSync(join(copies, 'typed')).filter(name => name.endsWith('.ts'))
  const expected = names.flatMap(name => withoutDirectives(`typed/${name}`))
  const { stdout } = await run('node', [
    'node_modules/typescript-7/bin/tsc', '--singleThreaded', '--pretty', 'false', '--project', '.tap/types/typed'
  ], root)
  // an error begins in the first column, and its other lines are indented
  const errors = stdout.trimEnd().split(/\n(?=\S)/)
  t.ok(expected.length > 5)
  for (const { at, message } of expected) {
    t.ok(errors.some(error => error.startsWith(at) && error.includes(message)), `${at} ${message}`)
  }
  t.same(errors.filter(error => !expected.some(({ at }) => error.startsWith(at))), [])
})
