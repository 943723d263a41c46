import fc from 'fast-check'
import t from 'tap'
import { misconfigured } from '../../lib/errors.js'
import { describeValue, didYouMean, joinNames } from '../../lib/util/describe.js'
import { deepFreeze, deepFrozenCopy, isObject, jsonObject } from '../../lib/util/objects.js'
import { duration, oneOf, parseDuration, readOptions, wholeNumber } from '../../lib/util/options.js'

const secret = 'hunter2-hunter2-hunter2'

t.test('readOptions', async t => {
  t.test('returns the fields of an object that has only known keys', t => {
    const value = { a: 1, b: null }
    t.strictSame({ ...readOptions(value, ['a', 'b', 'c'], 'here') }, value)
    t.strictSame({ ...readOptions({}, ['a'], 'here') }, {})
    t.strictSame({ ...readOptions(Object.assign(Object.create(null), value), ['a', 'b'], 'here') }, value)
    t.equal(Object.getPrototypeOf(readOptions({}, ['a'], 'here')), null, 'inherited properties are not options')
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
    t.throws(() => readOptions({ secret: 'a' }, ['from', 'keys'], 'The option place'), /Did you mean 'keys'\? Known/)
    t.throws(() => readOptions({ validate: 1 }, ['keys', 'verify'], 'The option place'), /Did you mean 'verify'\?/)
    t.throws(
      () => readOptions({ maxAge: 1 }, ['from'], 'The option place'),
      misconfigured("The option place has an unknown key 'maxAge'. Known: from.")
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

t.test('one of a few values: names all of them, and does not show a secret that was given', async t => {
  const parse = oneOf('authorization_code', 'refresh_token')
  t.equal(parse('refresh_token', 'here'), 'refresh_token')
  const message = /^here must be 'authorization_code' or 'refresh_token'\. Got a text of 23 characters\.$/
  t.throws(() => parse(secret, 'here'), { code: 'AUTH_MISCONFIGURED', message })
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
  const cyclic: Record<string, unknown> = {}
  cyclic['self'] = [cyclic]
  const copy = deepFrozenCopy(cyclic)
  t.equal((copy['self'] as readonly unknown[])[0], copy, 'the copy of a cyclic value is cyclic')
  t.ok(Object.isFrozen(copy['self']) && !Object.isFrozen(cyclic), 'the original is as it was')
  t.ok(Object.isFrozen(deepFreeze(cyclic)['self']))
})

t.test('copies what JSON carries to a depth of 32, and fails for what is deeper or holds itself', async t => {
  const nested = (depth: number, wrap: (value: unknown) => unknown) => {
    let value: unknown = 'end'
    for (let level = 0; level < depth; level++) value = wrap(value)
    return { value }
  }
  for (const wrap of [(value: unknown) => [value], (value: unknown) => ({ value })]) {
    const fine = nested(32, wrap)
    t.strictSame(jsonObject(fine, 'data'), fine)
    t.throws(() => jsonObject(nested(33, wrap), 'data'), { code: 'AUTH_FAULT', detail: /nested too deeply/ })
  }
  const list: unknown[] = []
  list.push(list)
  t.throws(() => jsonObject({ list }, 'data'), {
    code: 'AUTH_FAULT', detail: /^data\.list\[0\].* is nested too deeply/
  })
  const given = { list: [{ a: [1] }], left: undefined }
  const copy = jsonObject(given, 'data') as { readonly list: readonly [{ readonly a: unknown }] }
  t.strictSame(copy, { list: [{ a: [1] }] })
  t.ok([copy, copy.list, copy.list[0], copy.list[0].a].every(each => Object.isFrozen(each)))
})

t.test('reads a duration as seconds, or as a number with its unit', async t => {
  for (const [written, length] of [
    [0, 0],
    [1.5, 1.5],
    [3600, 3600],
    ['30s', 30],
    ['15m', 900],
    ['12h', 43_200],
    ['7d', 604_800],
    ['1.5h', 5400],
    ['0s', 0]
  ] as const) { t.equal(parseDuration(written, 'x'), length, String(written)) }
  fc.assert(
    fc.property(
      fc.nat({ max: 100_000 }),
      fc.constantFrom('s', 'm', 'h', 'd'),
      (n, unit) => parseDuration(`${n}${unit}`, 'x') === n * { s: 1, m: 60, h: 3600, d: 86_400 }[unit]
    )
  )
})

t.test('takes the ends of a range, and nothing beyond them', async t => {
  const years = 300 * 365 * 86_400
  for (const [parse, fine, wrong] of [
    [wholeNumber(), [1, Number.MAX_SAFE_INTEGER], [0, 2 ** 53]],
    [wholeNumber({ min: 0, max: 5 }), [0, 5], [-1, 6, 4.5, '5']],
    [duration(), [0, years, '109500d'], [years + 1, -1]],
    [duration({ min: 60, max: 86_400 }), [60, '1m', '1d'], [59.9, 86_400.1]],
    [duration({ positive: true, max: 5 }), [0.1, 5], [0, '0s', 5.1]]
  ] as const) {
    for (const value of fine) t.type(parse(value, 'x'), 'number', String(value))
    for (const value of wrong) t.throws(() => parse(value, 'x'), { code: 'AUTH_MISCONFIGURED' }, String(value))
  }
  t.throws(
    () => duration({ min: 60, max: 86_400, reason: 'So it is.' })(1, 'x'),
    { message: 'x must be at least 1 minute and at most 1 day. Got 1. So it is.' }
  )
  t.throws(() => duration({ min: 60 })(1, 'x'), { message: 'x must be at least 1 minute. Got 1.' })
  t.throws(
    () => duration({ positive: true, max: 5 })(0, 'x'),
    { message: 'x must be more than 0 seconds and at most 5 seconds. Got 0.' }
  )
  t.throws(() => wholeNumber({ min: 2, max: 5 })(1, 'x'), { message: 'x must be a whole number from 2 to 5. Got 1.' })
})

t.test('stops the boot for an invalid duration, and names the option', async t => {
  const wrong = [
    -1,
    NaN,
    Infinity,
    -Infinity,
    '',
    '30',
    's',
    '30 s',
    ' 30s',
    '30S',
    '-30s',
    '+30s',
    '1e3s',
    '0x10s',
    '.5h',
    '5.h',
    '30ms',
    '1w',
    '30s30s',
    '30s\n',
    `${'9'.repeat(400)}s`,
    1e10,
    '109501d',
    '1e9h',
    null,
    undefined,
    true,
    {},
    [],
    ['30s'],
    new Date(0)
  ]
  for (const value of wrong) {
    t.throws(
      () => parseDuration(value, 'The option ttl of here'),
      {
        code: 'AUTH_MISCONFIGURED',
        message: /^The option ttl of here must be a number of seconds, or a duration such as '30s'/
      },
      String(value)
    )
  }
})
