import t from 'tap'
import { misconfigured } from '../../lib/errors.js'
import { describeValue, didYouMean, joinNames } from '../../lib/util/describe.js'
import { deepFreeze, isObject } from '../../lib/util/objects.js'
import { readOptions } from '../../lib/util/options.js'

const secret = 'hunter2-hunter2-hunter2'

t.test('readOptions', async t => {
  t.test('returns the fields of an object that has only known keys', t => {
    const value = { a: 1, b: null }
    t.strictSame({ ...readOptions(value, ['a', 'b', 'c'], 'here') }, value)
    t.strictSame({ ...readOptions({}, ['a'], 'here') }, {})
    t.equal(Object.getPrototypeOf(readOptions({}, ['a'], 'here')), null, 'what every object inherits is no option')
    t.end()
  })

  t.test('refuses anything else, naming the option', t => {
    for (const value of [undefined, null, 'a', 1, true, [], () => {}]) {
      t.throws(
        () => readOptions(value, ['a', 'b'], 'The option place'),
        misconfigured('The option place must be an object with one or more of a or b.')
      )
    }
    t.throws(
      () => readOptions({ aa: 1 }, ['a', 'long'], 'The option place'),
      misconfigured("The option place has an unknown key 'aa'. Did you mean 'a'? Known: a or long.")
    )
    t.throws(
      () => readOptions({ unheard: 1 }, ['a'], 'The option place'),
      misconfigured("The option place has an unknown key 'unheard'. Known: a.")
    )
    t.throws(
      () => readOptions({ a: undefined }, ['a'], 'The option place'),
      misconfigured(
        "The option place has 'a' set to undefined. " +
          'Set it, or the environment variable that it comes from, or leave the key out.'
      )
    )
    t.throws(() => readOptions(JSON.parse('{"__proto__":1}'), ['a'], 'The option place'), /unknown key '__proto__'/)
    t.end()
  })
})

t.test('joins names, and suggests the nearest one', async t => {
  t.strictSame(
    [joinNames([]), joinNames(['a']), joinNames(['a', 'b']), joinNames(['a', 'b', 'c'], 'and')],
    ['', 'a', 'a or b', 'a, b and c']
  )
  t.equal(didYouMean('role', ['mode', 'roles']), " Did you mean 'roles'?", 'the nearest, not the first')
  t.equal(didYouMean('SCOPE', ['scopes']), " Did you mean 'scopes'?")
  t.equal(didYouMean('anything', ['scopes', 'a']), '')
  t.equal(didYouMean('x', []), '')
  t.strictSame([{}, [], null, 1, () => {}, Object.create(null)].map(isObject), [true, false, false, false, false, true])
})

t.test('describes any wrong value briefly, without failing and without showing a secret', async t => {
  const cyclic: Record<string, unknown> = { toJSON () { throw new Error('own') }, toString: null }
  cyclic['self'] = cyclic
  const cases: [unknown, string][] = [
    ['soon', "'soon'"],
    ['', "''"],
    ['a"b\n', "'a\"b\\n'"],
    [secret, 'a text of 23 characters'],
    ['é'.repeat(6), 'a text of 6 characters'],
    ['x'.repeat(11), `'${'x'.repeat(11)}'`],
    [-1, '-1'],
    [NaN, 'NaN'],
    [true, 'true'],
    [undefined, 'undefined'],
    [null, 'null'],
    [10n ** 400n, 'a bigint'],
    [Symbol('secret'), 'a symbol'],
    [() => secret, 'a function'],
    [cyclic, 'an object'],
    [[cyclic], 'a list']
  ]
  for (const [value, text] of cases) t.equal(describeValue(value), text)
})

t.test('deepFreeze freezes recursively, and leaves functions unchanged', async t => {
  const when = () => true
  const shape = deepFreeze({ list: [{ when }], text: 'x', nothing: null, missing: undefined })
  t.ok(Object.isFrozen(shape) && Object.isFrozen(shape.list) && Object.isFrozen(shape.list[0]))
  t.notOk(Object.isFrozen(when))
})
