import { readFileSync } from 'node:fs'
import t from 'tap'

/**
 * The modules of the OpenID conformance suite for the grants of the server. Each has the title of the test that covers
 * it here, or the reason why it does not apply. Modules for clients, for national profiles and for other protocols are
 * left out.
 */
const modules = JSON.parse(
  readFileSync(new URL('conformance.json', import.meta.url), 'utf8')
) as Readonly<Record<string, { readonly test?: string, readonly why?: string }>>

t.test('every module names a test that exists, or a reason', async t => {
  t.ok(Object.keys(modules).length > 100)
  for (const [name, { test, why }] of Object.entries(modules)) {
    t.equal([test, why].filter(each => each !== undefined).length, 1, name)
    if (test === undefined) continue
    const [file = '', title = ''] = test.split(/: (.*)/)
    t.match(readFileSync(new URL(file, import.meta.url), 'utf8'), `t.test('${title}'`, `${name}: ${test}`)
  }
})
