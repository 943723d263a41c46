import t from 'tap'
import { isSameSecret } from '../../lib/util/encoding.js'

t.test('compares secret texts of any length and any characters', async t => {
  for (const [one, other, same] of [
    ['', '', true], ['secret', 'secret', true], ['ü', 'ü', true],
    ['secret', 'secreT', false], ['secret', 'secret1', false], ['secret', '', false],
    // the same number of UTF-16 units, but not of bytes
    ['ü', 'u', false]
  ] as const) {
    t.equal(isSameSecret(one, other), same, `${one} and ${other}`)
    t.equal(isSameSecret(other, one), same, `${other} and ${one}`)
  }
})
