import t from 'tap'
import { accountTag, normalizeName } from '../../lib/limits/guesses.js'
import { createCountMinSketch } from '../../lib/limits/reservations.js'
import { addressOf } from '../../lib/util/client-address.js'

t.test('treats spelling variants of a name as one account', async t => {
  const variants = [
    'alice',
    'Alice',
    'ALICE',
    ' alice ',
    'alice\t',
    '\u00a0alice',
    'ａｌｉｃｅ',
    'ⓐⓛⓘⓒⓔ',
    'al\u200bice',
    'al\u00adice',
    '\ufeffalice',
    'álice',
    'a\u0301lice',
    'alićè',
    'alice\0',
    '𝐚𝐥𝐢𝐜𝐞',
    'ali\u202ece'
  ]
  t.same([...new Set(variants.map(normalizeName))], ['alice'])
  t.same(['straße', 'STRASSE', 'Strasse'].map(normalizeName), Array(3).fill('strasse'))
  t.same(['ὈΔΥΣΣΕΎΣ', 'ὀδυσσεύς'].map(normalizeName)[0], normalizeName('ὀδυσσεύς'))
  t.equal(normalizeName('a  b\n c'), 'a b c')
  t.equal(
    normalizeName('x'.repeat(2_000) + 'a'),
    normalizeName('x'.repeat(2_000) + 'b'),
    'very long names that begin alike are one'
  )
  t.equal(normalizeName('\ufdfa'.repeat(1_024)).length, 1_024, 'of a character that becomes 18 too')
  t.not(normalizeName('alice'), normalizeName('alicf'))
  t.not(normalizeName('alice1'), normalizeName('alice2'))
})

t.test('treats as one account what a loose collation of a database finds equal', async t => {
  const variants = [
    'bob31', 'bøb31', 'b\u1dc4ob31', 'bo\u05b0b31', 'bob\u20d031', 'bob٣١', '🅑ob31', 'bob\u064b31', 'bo\u0e48b31'
  ]
  for (const name of variants) t.equal(normalizeName(name), 'bob31', name)
  t.same(['æsop', 'aesop', 'Ǽsop', 'AESOP'].map(normalizeName), Array(4).fill('aesop'))
  t.same(["o'brien", 'o’brien', 'o\u2018brien'].map(normalizeName), Array(3).fill("o'brien"))
  for (const [one, two] of [['bоb', 'bob'], ['иван', 'иван2'], ['ぽち', 'まち'], ['राम', 'रम'], ['bob-1', 'bob1']]) {
    t.not(normalizeName(String(one)), normalizeName(String(two)), `${one} and ${two}`)
  }
  const began = performance.now()
  normalizeName('٣\u05b0'.repeat(512))
  t.comment(`the longest name takes ${performance.now() - began} ms`)
})

t.test('separates realms, and joins the parts of an account unambiguously', async t => {
  const tags = [
    ['ops', 'alice'],
    ['', 'alice'],
    ['ops","', 'alice'],
    ['opsa', 'lice']
  ].map(([realm = '', name = '']) => accountTag(realm, name).toString('hex'))
  t.equal(new Set(tags).size, 4)
  t.equal(accountTag('ops', 'alice').length, 32)
  t.same(accountTag('ops', 'Alice'), accountTag('ops', 'alice'))
})

t.test('normalizes addresses: IPv4 whole, IPv6 by its /64, IPv4 within IPv6 as IPv4', async t => {
  const table: ReadonlyArray<readonly [string | undefined, string]> = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::FFFF:c000:0201', '192.0.2.1'],
    ['0:0:0:0:0:ffff:192.0.2.1', '192.0.2.1'],
    ['64:ff9b::192.0.2.1', '192.0.2.1'],
    ['::ffff:255.129.200.254', '255.129.200.254'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:DB8:0:0:ffff:ffff:ffff:ffff', '2001:db8:0:0::/64'],
    ['2001:0db8:0000:0000::', '2001:db8:0:0::/64'],
    ['2001:db8:0:1::1', '2001:db8:0:1::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4::/64'],
    ['1:2:3:4:5:6:7::', '1:2:3:4::/64'],
    [undefined, 'unknown'],
    ['', 'unknown'],
    ['unknown', 'unknown'],
    ['_hidden', 'unknown'],
    ['192.0.2.1:8080', 'unknown'],
    ['[::1]', 'unknown']
  ]
  for (const [ip, counted] of table) t.equal(addressOf(ip), counted, String(ip))
})

t.test('the sketch never undercounts, releases reservations, and resets after its window', async t => {
  const realNow = Date.now
  let time = 1_000
  Date.now = () => time
  t.teardown(() => { Date.now = realNow })
  const sketch = createCountMinSketch(60_000)
  t.equal(sketch.end(), 0, 'nothing is held before it is needed')
  t.equal(sketch.estimate('victim'), 0)
  sketch.decrement('victim', 0)
  for (let i = 0; i < 5; i++) t.ok(sketch.increment('victim', 5))
  t.notOk(sketch.increment('victim', 5))
  t.equal(sketch.end(), 61_000)
  for (let i = 0; i < 100_000; i++) sketch.increment(`other ${i}`, 5)
  t.notOk(sketch.increment('victim', 5), 'others give it none back')
  t.ok(sketch.estimate('victim') >= 5)
  sketch.decrement('victim', 60_999)
  t.ok(sketch.estimate('victim') >= 5, 'a count of another window is not released from this one')
  const before = sketch.estimate('victim')
  sketch.decrement('victim', 61_000)
  t.equal(sketch.estimate('victim'), before - 1)
  time = 61_000
  t.equal(sketch.estimate('victim'), 0)
  t.ok(sketch.increment('victim', 1))
  t.notOk(sketch.increment('victim', 1))
  t.equal(sketch.end(), 121_000)
})
