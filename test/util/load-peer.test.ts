import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadPeer } from '../../lib/util/load-peer.js'

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })

t.test('loads a package', async t => {
  t.match(loadPeer('pg', 'sqlStore({ connectionString })'), { Pool: Function })
})

t.test('names a missing package, with the command that installs it', async t => {
  t.throws(() => loadPeer('no-such-package', 'sqlStore({ sqlite })'), {
    code: 'AUTH_MISCONFIGURED',
    message: "sqlStore({ sqlite }) needs the package 'no-such-package': npm install no-such-package"
  })
})

t.test('gives the reason why a package that is installed cannot be loaded', async t => {
  for (const [thrown, reason] of [["new TypeError('no binary')", 'no binary'], ["'nothing'", 'it threw']]) {
    const broken = join(folder, `${reason}.cjs`)
    writeFileSync(broken, `throw ${thrown}`)
    t.throws(() => loadPeer(broken, 'This password hash'), {
      code: 'AUTH_MISCONFIGURED',
      message: `This password hash needs the package '${broken}', which cannot be loaded: ${reason}`
    })
  }
})
