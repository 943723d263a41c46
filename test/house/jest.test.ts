import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { size } from '../fixtures/size.js'
import { npmInstall, packAndInstall, shownFile } from './packed.js'
import { run } from './run.js'

/** Jest is installed only for this test: it brings 300 packages that nothing else here needs. */
const packages = ['jest@30', '@swc/core@1', '@swc/jest@0.2']
const skip = size<string | false>({ test: 'Jest is installed by npm run test:soak', short: false, full: false })

const suite = `
import { injectAs, testAccess } from 'fastify-gatehouse/testing'
import { build } from './app.js'

let app
beforeAll(async () => { app = await build() })
afterAll(() => app.close())

test('a clerk sees the desk', async () => {
  const ada = injectAs(app, { id: 'ada', roles: ['clerk'] }, { scheme: 'web' })
  expect((await ada('/desk')).body).toBe('hello, ada')
})

test('nobody else does', async () => {
  expect((await app.inject('/desk')).statusCode).toBe(401)
})

test('access', () => testAccess(app, (title, run) => run()))
`

t.test('the test kit works in Jest, with the configuration and the application of the page', { skip }, async t => {
  const { stage, consumer } = await packAndInstall()
  t.teardown(() => { rmSync(stage, { recursive: true, force: true }) })
  const { code, output } = await npmInstall(consumer, packages)
  t.equal(code, 0, output)
  const shown = (name: string) => shownFile('docs/testing.md', name)
  mkdirSync(join(consumer, 'suite'))
  writeFileSync(join(consumer, 'suite/package.json'), '{}')
  writeFileSync(join(consumer, 'suite/jest.config.cjs'), shown('jest.config.cjs'))
  writeFileSync(join(consumer, 'suite/app.js'), shown('app.js'))
  writeFileSync(join(consumer, 'suite/access.test.js'), suite)
  const secret = `SESSION_SECRET=${randomBytes(32).toString('base64url')}`
  const jest = await run('env', [secret, join(consumer, 'node_modules/.bin/jest')], join(consumer, 'suite'))
  t.equal(jest.code, 0, jest.output)
  t.match(jest.output, /Tests: +3 passed, 3 total/)
})
