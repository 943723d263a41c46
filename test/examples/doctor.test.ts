import { fileURLToPath } from 'node:url'
import t from 'tap'
import { build } from '../../examples/app.js'
import { run } from '../../lib/cli/run.js'
import type { Terminal } from '../../lib/cli/terminal.js'
import { folder } from './running.js'

t.test('the doctor finds nothing in the example', async t => {
  const { path, remove } = folder()
  t.teardown(remove)
  const environment = { DATA_DIR: path, PUBLIC_URL: 'https://orders.example.com' }
  Object.assign(globalThis, { audited: async () => (await build({ logger: false, environment })).app })
  let printed = ''
  const stdout = { write (text: string) { printed += text } }
  const terminal = { stdin: null as unknown as Terminal['stdin'], stdout, stderr: stdout }
  const code = await run(['doctor', fileURLToPath(new URL('../cli/apps/factory.ts', import.meta.url))], terminal)
  t.same({ code, printed }, { code: 0, printed: 'Nothing was found.\n' })
})
