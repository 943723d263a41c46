import fc from 'fast-check'
import t from 'tap'
import { parseDuration } from '../../lib/util/options.js'

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
