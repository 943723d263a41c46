import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { digestOf, isKeyId, isPrefix, KeyFormat } from '../../../lib/schemes/api-key/key.js'

const format = new KeyFormat('acme_live')
const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

t.test('a key consists of its prefix, 30 random characters and a checksum of 6', async t => {
  const keys = Array.from({ length: 2_000 }, () => format.generate())
  for (const key of keys) if (!/^acme_live_[0-9A-Za-z]{36}$/.test(key) || format.formOf(key) !== 'ours') t.fail(key)
  t.equal(new Set(keys).size, keys.length, 'all keys are different')
  const counts = new Map([...base62].map(each => [each, 0]))
  for (const key of keys) for (const each of key.slice(10, 40)) counts.set(each, (counts.get(each) ?? 0) + 1)
  const expected = (keys.length * 30) / 62
  t.ok(
    [...counts.values()].every(count => Math.abs(count - expected) < 6 * Math.sqrt(expected)),
    'each character is equally likely'
  )
})

t.test('computes the checksum as CRC-32 of everything before it, in base62, most significant first', async t => {
  const key = format.generate()
  const value = [...key.slice(-6)].reduce((sum, each) => sum * 62 + base62.indexOf(each), 0)
  t.equal(value, crc32(key.slice(0, -6)))
  t.equal(new KeyFormat('ghp').formOf('ghp_000000000000000000000000000000' + '0000000'.slice(1)), 'malformed')
})

t.test('a typo is malformed: a character changed, removed, added, or two swapped', async t => {
  const at = fc.nat(35).map(i => i + 10)
  fc.assert(fc.property(at, fc.constantFrom(...base62), (i, character) => {
    const key = format.generate()
    const typo = key.slice(0, i) + character + key.slice(i + 1)
    return typo === key || format.formOf(typo) === 'malformed'
  }))
  fc.assert(fc.property(at, i => {
    const key = format.generate()
    const swapped = key.slice(0, i) + key.charAt(i + 1) + key.charAt(i) + key.slice(i + 2)
    return swapped === key || format.formOf(swapped) === 'malformed'
  }))
  const key = format.generate()
  for (const wrong of [
    key.slice(0, -1),
    `${key}0`,
    key.slice(0, 10),
    `${key.slice(0, 20)}-${key.slice(21)}`,
    `${key.slice(0, 20)}é${key.slice(21)}`
  ]) { t.equal(format.formOf(wrong), 'malformed', wrong) }
  t.ok(['foreign', 'malformed'].includes(format.formOf(key.toUpperCase())))
})

t.test('a checksum makes no key of a text with another length or other characters', async t => {
  const signed = (body: string): string => {
    let text = ''
    for (let rest = crc32(body); text.length < 6; rest = Math.floor(rest / 62)) text = base62.charAt(rest % 62) + text
    return body + text
  }
  t.equal(format.formOf(signed(`acme_live_${'a'.repeat(30)}`)), 'ours')
  for (const tail of ['a'.repeat(29), 'a'.repeat(31), `${'a'.repeat(29)}-`, `${'a'.repeat(29)}é`]) {
    t.equal(format.formOf(signed(`acme_live_${tail}`)), 'malformed', tail)
  }
})

t.test('another prefix is foreign, even if it starts with the same letters', async t => {
  const short = new KeyFormat('acme')
  t.equal(short.formOf(format.generate()), 'foreign')
  t.equal(format.formOf(short.generate()), 'foreign')
  for (const other of [
    '',
    'acme_live',
    'eyJhbGciOiJub25lIn0.e30.',
    'ACME_LIVE_0',
    'xacme_live_0',
    'ghp_0',
    '_',
    ' acme_live_0'
  ]) { t.equal(format.formOf(other), 'foreign', other) }
  fc.assert(fc.property(fc.string(), text => format.formOf(text) === 'foreign'))
})

t.test('a checksum is not valid under another prefix', async t => {
  const other = new KeyFormat('acme_test')
  t.equal(other.formOf(format.generate().replace('live', 'test')), 'malformed')
})

t.test('the visible part of a key leaves more than 128 secret bits', async t => {
  const key = format.generate()
  t.equal(format.startOf(key), key.slice(0, 14))
  t.ok((30 - 4) * Math.log2(62) > 128)
})

t.test('distinguishes prefixes and ids from other text', async t => {
  for (const good of ['ab', 'acme', 'acme_live', 'a1_b2_c3', 'x'.repeat(32)]) t.ok(isPrefix(good), good)
  for (const bad of ['a', '', '1a', '_a', 'a_', 'a__b', 'a-b', 'a b', 'é1', 'x'.repeat(33), undefined, 7]) {
    t.notOk(isPrefix(bad), String(bad))
  }
  t.ok(isKeyId(digestOf('x')))
  for (const bad of ['', 'x'.repeat(42), 'x'.repeat(44), '!'.repeat(43), null, ['x'.repeat(43)]]) t.notOk(isKeyId(bad))
})
