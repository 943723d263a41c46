import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { sqlStore } from '../../lib/stores/sql/index.js'
import { size } from '../fixtures/size.js'
import { passesStoreContract } from './contract.js'

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
const make = () => sqlStore({ sqlite: join(folder, 'state.sqlite') })

passesStoreContract(t, { make, another: make, rounds: size({ test: 20, short: 300, full: 1_000 }) })
