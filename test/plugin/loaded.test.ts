import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { bundle, spawnNode, typescript } from '../fixtures/programs.js'
import { root } from '../fixtures/root.js'

const program = 'test/plugin/loaded-program.ts'

async function run (...args: string[]) {
  return await read(spawnNode([bundle(program), ...args], { stdio: ['ignore', 'pipe', 'inherit'] }))
}

async function read (child: ChildProcess) {
  const [printed] = await Promise.all([text(child.stdout as NodeJS.ReadableStream), once(child, 'exit')])
  return JSON.parse(printed) as { readonly result: string, readonly loaded: readonly string[] }
}

/** The dependencies of the plugin other than `fastify-plugin`, with their own dependencies. */
const engines = [
  '@fastify/jwt', 'fast-jwt', '@fastify/rate-limit', 'ip-address', '@fastify/secure-session', '@fastify/cookie',
  'sodium-native'
]
const [token, limit, seal] = [engines.slice(0, 2), engines.slice(2, 4), engines.slice(4)]

t.test('An application loads the packages and addons that it uses, and no others', async t => {
  const table: [kind: string, result: string, engines: readonly string[]][] = [
    ['keys', '200', []],
    ['verification', '401', []],
    ['a limit', '200', limit],
    ['managed keys', '401', limit],
    ['signing', '401', token],
    ['sessions', '401', seal]
  ]
  await Promise.all(table.map(async ([kind, result, expected]) => {
    const { result: found, loaded } = await run(kind)
    t.strictSame([found, engines.filter(name => loaded.includes(name))], [result, expected], kind)
  }))
})

t.test('An addon that cannot be loaded stops only an application that needs it, with an error', async t => {
  t.equal((await run('keys', 'sodium-native')).result, '200')
  // not bundled, so that its coverage is recorded
  const sources = [typescript, join(root, program), 'sessions', 'sodium-native']
  t.equal(
    (await read(spawn(process.execPath, sources, { stdio: ['ignore', 'pipe', 'inherit'] }))).result,
    'schemes.web seals its cookies with the addon sodium-native, which cannot be loaded on this machine: Cannot find ' +
    "addon 'sodium-native'. Install the packages on the machine and with the version of Node that run them (npm ci, " +
    'or npm rebuild sodium-native). Schemes without a session do not need it.'
  )
})
