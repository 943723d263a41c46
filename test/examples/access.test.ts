import t from 'tap'
import { testAccess } from '../../lib/testing/index.js'
import { startQuiet } from './app.js'

const { app } = await startQuiet()
const { tests, unproven } = await testAccess(app, (title, run) => t.test(title, run))

t.test('testAccess proves most routes of the example', async t => {
  t.ok(tests > 20, `${tests} routes`)
  t.same(unproven, [])
})
