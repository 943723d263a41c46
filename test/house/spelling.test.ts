import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { root } from '../fixtures/root.js'

t.test('the allowed words of the spell check are sorted and unique', async t => {
  const { words } = JSON.parse(readFileSync(join(root, '.cspell.json'), 'utf8')) as { words: readonly string[] }
  const sorted = [...new Set(words)].sort((one, other) => one.localeCompare(other, 'en'))
  t.same(words, sorted)
})
