import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { size } from '../fixtures/size.js'
import { npmInstall, packAndInstall, shownFile } from './packed.js'
import { run } from './run.js'

/** Vitest is installed only for this test: it brings 40 packages that nothing else here needs. */
const packages = ['vitest@4']
const skip = size<string | false>({ test: 'Vitest is installed by npm run test:soak', short: false, full: false })

t.test('the test kit works in Vitest, with the application and the tests of the page', { skip }, async t => {
  const { stage, consumer } = await packAndInstall()
  t.teardown(() => { rmSync(stage, { recursive: true, force: true }) })
  const { code, output } = await npmInstall(consumer, packages)
  t.equal(code, 0, output)
  const suite = join(consumer, 'suite')
  mkdirSync(suite)
  for (const name of ['app.js', 'access.test.js']) writeFileSync(join(suite, name), shownFile('docs/testing.md', name))
  const secret = `SESSION_SECRET=${randomBytes(32).toString('base64url')}`
  const vitest = await run('env', [secret, join(consumer, 'node_modules/.bin/vitest'), 'run'], suite)
  t.equal(vitest.code, 0, vitest.output)
  // two tests of the page, and one of testAccess for each of the two routes
  t.match(vitest.output, /Tests +4 passed \(4\)/)
})
