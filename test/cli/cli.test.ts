import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import { calculateJwkThumbprint } from 'jose'
import t, { type Test } from 'tap'
import { run } from '../../lib/cli/run.js'
import type { Terminal } from '../../lib/cli/terminal.js'
import { internalError } from '../../lib/errors.js'
import authPlugin, { jwt } from '../../lib/index.js'
import { verifyPassword } from '../../lib/passwords/index.js'
import { typescript } from '../fixtures/programs.js'

interface Ran { readonly code: number | null, readonly stdout: string, readonly stderr: string }

const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))

/** Runs the command as a process of its own. */
function spawnCommand (args: readonly string[], input = ''): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [typescript, main, ...args], { stdio: 'pipe' })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => { stdout += String(chunk) })
    child.stderr.on('data', (chunk: Buffer) => { stderr += String(chunk) })
    child.once('error', reject)
    child.once('close', code => { resolve({ code, stdout, stderr }) })
    child.stdin.end(input)
  })
}

/** Runs the command in this process. Its input consists of chunks that are piped in, or typed at a terminal. */
async function runInProcess (
  args: readonly string[], input: ReadonlyArray<string | Buffer> = [], isTTY = false
): Promise<Ran & { readonly modes: readonly string[] }> {
  const output = { stdout: '', stderr: '' }
  const modes: string[] = []
  const into = (name: 'stdout' | 'stderr') => ({
    write (text: string) { if (isTTY && name === 'stderr') modes.push(text); output[name] += text }
  })
  const stdin = Object.assign(
    new PassThrough(), { isTTY, setRawMode (raw: boolean) { modes.push(raw ? 'silent' : 'echo') } }
  )
  if (!isTTY) { for (const chunk of input) stdin.write(chunk); stdin.end() }
  const running = run(
    args, { stdin: stdin as unknown as Terminal['stdin'], stdout: into('stdout'), stderr: into('stderr') }
  )
  if (isTTY) {
    for (const chunk of input) {
      await new Promise(resolve => { setImmediate(resolve) })
      if (chunk === 'END') stdin.end()
      else stdin.write(chunk)
    }
  }
  return { code: await running, ...output, modes }
}

t.test('prints only the requested output to standard output when run as a process', async t => {
  const [secret, hashed, wrong] = await Promise.all([
    spawnCommand(['secret']), spawnCommand(['hash'], 'correct horse\n'), spawnCommand(['hash', 'hunter2hunter2'])
  ])
  t.match(secret, { code: 0, stdout: /^[\w-]{43}\n$/, stderr: '' })
  t.match(hashed, { code: 0, stdout: /^\$argon2id\$v=19\$m=19456,t=2,p=1\$\S+\n$/, stderr: '' })
  t.match(await verifyPassword('correct horse', hashed.stdout.trim()), { valid: true, needsRehash: false })
  t.match(wrong, { code: 2, stdout: '', stderr: /never reads a password from its arguments/ })
  t.notMatch(wrong.stderr, /hunter2/)
})

t.test('reports a write error in one message and exits with code 1', {
  skip: existsSync('/dev/full') ? false : 'this system has no /dev/full'
}, async t => {
  const full = openSync('/dev/full', 'w')
  t.teardown(() => { closeSync(full) })
  const child = spawn(process.execPath, [typescript, main, 'secret'], { stdio: ['ignore', full, 'pipe'] })
  let output = ''
  child.stderr?.on('data', (chunk: Buffer) => { output += String(chunk) })
  const [code] = await once(child, 'close') as [number]
  t.same([code, output], [1, 'Standard output cannot be written (ENOSPC).\n'])
})

t.test('generates a secret with the requested number of random bytes', async t => {
  const one = await runInProcess(['secret'])
  t.equal(Buffer.from(one.stdout.trim(), 'base64url').length, 32)
  t.not((await runInProcess(['secret'])).stdout, one.stdout)
  for (const bytes of [32, 64, 1024]) {
    const { stdout } = await runInProcess(['secret', '--bytes', String(bytes)])
    t.equal(Buffer.from(stdout.trim(), 'base64url').length, bytes)
  }
  for (const bytes of ['31', '1025', 'many', '-1', '1e2', '']) {
    t.match(
      await runInProcess(['secret', `--bytes=${bytes}`]),
      { code: 2, stdout: '', stderr: /--bytes must be a whole number from 32 to 1024/ }
    )
  }
})

for (const [alg, args] of [
  ['ES256', []], ['ES256', ['--alg', 'ES256']], ['EdDSA', ['--alg=EdDSA']], ['Ed25519', ['--alg', 'Ed25519']]
] as const) {
  t.test(`generates a key set for ${alg} (${args.join('')}) whose public half verifies what it signs`, async t => {
    const { code, stdout } = await runInProcess(['keys', ...args])
    const sets = JSON.parse(stdout)
    t.equal(code, 0)
    t.match(sets.public.keys, [{ alg, use: 'sig', kid: /^[\w-]{43}$/ }])
    t.same(sets.private.keys, [{ ...sets.public.keys[0], d: sets.private.keys[0].d }])
    t.notOk(JSON.stringify(sets.public).includes('"d"'))
    t.equal(sets.public.keys[0].kid, await calculateJwkThumbprint(sets.public.keys[0]))
    const trust = { issuer: 'https://id.example.com', audience: 'https://api.example.com' }
    const [mine, theirs] = [Fastify(), Fastify()]
    t.teardown(async () => { await Promise.all([mine.close(), theirs.close()]) })
    await mine.register(
      authPlugin, { schemes: { user: jwt({ ...trust, keys: JSON.stringify(sets.private), sign: true }) } }
    )
    await theirs.register(authPlugin, { schemes: { user: jwt({ ...trust, keys: sets.public }) } })
    theirs.get('/', async request => request.principal?.id)
    const token = await mine.gatehouse.tokens.issue({ id: 'ada' })
    const { statusCode, body } = await theirs.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
    t.same([statusCode, body], [200, 'ada'])
  })
}

/** Creates a file, which is removed when the test ends. */
function file (t: Test, content: string | Uint8Array): string {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const path = join(folder, 'keys.json')
  writeFileSync(path, content)
  return path
}

t.test('rotates keys so that each is published before it signs, and verifies after it has signed', async t => {
  const rotate = async (text: string, ...more: string[]) => {
    const { code, stdout } = await runInProcess(['keys', '--rotate', file(t, text), ...more])
    t.equal(code, 0)
    return { text: stdout, sets: JSON.parse(stdout) }
  }
  const kidsOf = (keys: ReadonlyArray<{ kid: string }>) => keys.map(({ kid }) => kid)
  const made = await runInProcess(['keys', '--alg', 'EdDSA'])
  const [first] = JSON.parse(made.stdout).private.keys
  const begun = await rotate(made.stdout)
  t.match(begun.sets.private.keys, [first, { alg: 'EdDSA', next: true, d: String }])
  t.equal(begun.sets.private.keys.length, 2)
  const second = await rotate(begun.text)
  const [, next] = begun.sets.private.keys
  const { next: _, ...signing } = next
  const { d: __, ...old } = first
  t.match(second.sets.private.keys, [signing, { alg: 'EdDSA', next: true, d: String }, old])
  t.notOk('next' in second.sets.private.keys[0])
  t.notOk('d' in second.sets.private.keys[2])
  const third = await rotate(JSON.stringify(second.sets.private), '--alg', 'ES256')
  t.equal(third.sets.private.keys[1].alg, 'ES256')
  t.notOk(kidsOf(third.sets.private.keys).includes(first.kid), 'the oldest is left out')
  const reordered = await rotate(JSON.stringify({ keys: [...second.sets.private.keys].reverse() }))
  t.same(
    kidsOf(reordered.sets.private.keys).filter((_kid, i) => i !== 1), [second.sets.private.keys[1].kid, signing.kid],
    'the order of the keys means nothing'
  )
  for (const { sets } of [begun, second, third]) {
    t.same(kidsOf(sets.public.keys), kidsOf(sets.private.keys))
    t.notMatch(JSON.stringify(sets.public), /"d"|next/)
  }
  const trust = { issuer: 'https://id.example.com', audience: 'https://api.example.com' }
  const apps = await Promise.all([begun, second, third].map(async ({ sets }) => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(authPlugin, { schemes: { user: jwt({ ...trust, keys: sets.private, sign: true }) } })
    app.get('/', async request => request.principal?.id)
    return app
  }))
  for (const [i, app] of apps.entries()) {
    const token = await app.gatehouse.tokens.issue({ id: 'ada' })
    for (const other of apps.slice(Math.max(0, i - 1), i + 2)) {
      const { body } = await other.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })
      t.equal(body, 'ada')
    }
  }
})

t.test('rotates keys of a file with a byte order mark, as Windows PowerShell writes it', async t => {
  const { stdout } = await runInProcess(['keys'])
  for (const encoding of ['utf16le', 'utf8'] as const) {
    const written = file(t, Buffer.from(`\uFEFF${stdout.replaceAll('\n', '\r\n')}`, encoding))
    const { code, stdout: next } = await runInProcess(['keys', '--rotate', written])
    t.equal(code, 0, encoding)
    const [{ kid }] = JSON.parse(stdout).private.keys
    t.ok(JSON.parse(next).private.keys.some((key: { kid: string }) => key.kid === kid))
  }
})

t.test('publishes nothing of an RSA key but its public half', async t => {
  const rsa = (kid: string, more: object = {}) => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    return { ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', ...more }
  }
  const content = JSON.stringify({ keys: [rsa('old'), rsa('new', { next: true })] })
  const { stdout } = await runInProcess(['keys', '--rotate', file(t, content), '--alg', 'ES256'])
  const { private: { keys: [first, next, previous] }, public: { keys } } = JSON.parse(stdout)
  t.match(first, { kid: 'new', d: String, p: String, qi: String })
  const published = ['alg', 'e', 'kid', 'kty', 'n']
  const half = ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']
  t.same(keys.map((key: object) => Object.keys(key).sort()), [published, half, published])
  t.same(keys.map(({ kid }: { kid: string }) => kid), ['new', next.kid, 'old'])
  t.same(previous, keys[2])
})

t.test('refuses to rotate what holds no signing key, without quoting it', async t => {
  const rsa = { kty: 'RSA', n: 'AQAB', e: 'AQAB', d: 'secretpart', alg: 'RS256' }
  for (const [content, message] of [
    ['secretpart', /not JSON/],
    ['null', /neither a JWK set/],
    ['{"keys":[]}', /neither a JWK set/],
    ['{"keys":["secretpart"]}', /neither a JWK set/],
    [JSON.stringify({ keys: [{ ...rsa, next: true }] }), /no private key that signs/],
    [JSON.stringify({ keys: [rsa] }), /with --alg/]
  ] as const) {
    const { code, stdout, stderr } = await runInProcess(['keys', '--rotate', file(t, content)])
    t.same([code, stdout], [1, ''])
    t.match(stderr, message)
    t.notMatch(stderr, /secretpart/)
  }
  t.match(await runInProcess(['keys', '--rotate', '/nowhere/at/all']), { code: 1, stderr: /cannot be read/ })
  t.match(await runInProcess(['keys', '--rotate']), {
    code: 2, stderr: /The options are --alg and --rotate, and each needs/
  })
})

t.test('reads a password as one line of UTF-8 from standard input, without the line ending', async t => {
  for (const input of [['correct horse'], ['correct horse\n'], ['correct horse\r\n'], ['correct', ' horse\n']]) {
    const { code, stdout } = await runInProcess(['hash'], input)
    t.equal(code, 0)
    t.match(await verifyPassword('correct horse', stdout.trim()), { valid: true })
  }
  t.equal((await runInProcess(['hash'], ['hunter28'])).code, 0, 'eight characters are enough')
  const refused: ReadonlyArray<readonly [input: ReadonlyArray<string | Buffer>, reason: RegExp]> = [
    [[''], /is empty/],
    [['\n'], /is empty/],
    [['hunter2'], /fewer than 8 characters/],
    [['hunter2\nhunter3\n'], /more than one line/],
    [['hunter2hunter2\u0000'], /NUL/],
    [['hunter2'.repeat(200)], /too long/],
    [['hunter2'.repeat(5000), 'hunter2'.repeat(5000), 'never read'], /too long/],
    [[Buffer.from('hunter2 \u00e9', 'latin1')], /not UTF-8/]
  ]
  for (const [input, reason] of refused) {
    const { code, stdout, stderr } = await runInProcess(['hash'], input)
    t.same([code, stdout], [1, ''])
    t.match(stderr, reason)
    t.notMatch(stderr, /hunter/)
  }
})

t.test('stops to read an endless input', { timeout: 20_000 }, async t => {
  let read = 0
  const endless = Readable.from(function * () {
    while (read < 1_000_000) {
      read += 8_192
      yield Buffer.alloc(8_192, 'x')
    }
  }())
  const stdin = Object.assign(endless, { isTTY: false }) as unknown as Terminal['stdin']
  let output = ''
  const stderr = { write: (text: string) => { output += text } }
  t.equal(await run(['hash'], { stdin, stdout: stderr, stderr }), 1)
  t.match(output, /^The password is too long: .*\n$/)
  t.ok(read < 100_000, `after ${read} bytes`)
})

t.test('hashes with the chosen algorithm', async t => {
  t.match(await runInProcess(['hash', '--algorithm', 'bcrypt'], ['correct horse']), {
    code: 0, stdout: /^\$2b\$12\$.{53}\n$/
  })
  t.match(await runInProcess(['hash', '--algorithm=scrypt'], ['correct horse']), {
    code: 0, stdout: /^\$scrypt\$ln=17,r=8,p=1\$/
  })
  t.match(await runInProcess(['hash', '--algorithm', 'bcrypt'], ['x'.repeat(73)]), { code: 1, stderr: /72 for bcrypt/ })
  t.match(
    await runInProcess(['hash', '--algorithm', 'md5'], ['correct horse']),
    { code: 2, stderr: /must be argon2id, scrypt or bcrypt/ }
  )
})

t.test('echoes nothing on a terminal before the first prompt and until the second answer', async t => {
  const { code, stdout, stderr, modes } = await runInProcess(
    ['hash'], ['correct horsf', '\u007fe\r', 'wrong\u0015correct h', 'orsee\b\r'], true
  )
  t.equal(code, 0)
  t.same(modes, ['silent', 'Password: ', '\nAgain: ', 'echo', '\n'])
  t.equal(stderr, 'Password: \nAgain: \n')
  t.match(await verifyPassword('correct horse', stdout.trim()), { valid: true })
})

t.test('accepts pasted input, Ctrl-D at the end, and characters split across chunks', async t => {
  const bytes = Buffer.from('correct hörse')
  for (const input of [
    ['correct hörse\r\ncorrect hörse\r\nmore'], ['correct hörse\u0004', 'correct hörse\u0004'],
    [bytes.subarray(0, 10), bytes.subarray(10), '\n', bytes, '\n']
  ]) {
    const { code, stdout } = await runInProcess(['hash'], input, true)
    t.equal(code, 0)
    t.match(await verifyPassword('correct hörse', stdout.trim()), { valid: true })
  }
})

t.test('hashes nothing if the input is cancelled, the passwords differ or the text is empty', async t => {
  for (const input of [['corr\u0003'], ['\u0004'], ['correct horse\r', '\u0003'], ['corr', 'END']]) {
    const { code, stdout, stderr, modes } = await runInProcess(['hash'], input, true)
    t.same([code, stdout], [130, ''])
    t.match(stderr, /Nothing was hashed\.\n$/)
    t.equal(modes.filter(mode => mode === 'echo').length, 1, 'the terminal echoes again')
  }
  t.match(
    await runInProcess(['hash'], ['correct horse\r', 'correct hearse\r'], true),
    { code: 1, stdout: '', stderr: /passwords differ/ }
  )
  t.match(
    await runInProcess(['hash'], [Buffer.from('correct h\u00f6rse\rcorrect h\u00f6rse\r', 'latin1')], true),
    { code: 1, stdout: '', stderr: /not UTF-8/ }
  )
})

t.test('prints help to standard output, and errors to standard error without the arguments', async t => {
  for (const args of [['--help'], ['-h'], ['help'], ['hash', '--help'], ['secret', '-h']]) {
    t.match(await runInProcess(args), { code: 0, stdout: /^Usage: fastify-gatehouse/, stderr: '' })
  }
  const wrong = [[], ['hunter2'], ['hash', 'hunter2'], ['hash', '--password=hunter2'], ['hash', '--hunter2'], [
    'hash', '--', 'hunter2'
  ], ['hash', '--algorithm'], ['secret', 'hunter2'], ['keys', 'hunter2'],
  ['keys', '--alg', 'none'], ['keys', '--alg', 'ES256', '--alg', 'EdDSA']]
  for (const args of wrong) {
    const { code, stdout, stderr } = await runInProcess(args)
    t.same([code, stdout], [2, ''], args.join(' '))
    t.match(stderr, /Usage: fastify-gatehouse/)
    t.notMatch(stderr, /hunter2/)
  }
})

t.test('exits with 1 on an unexpected error, and prints the reason of a named one', async t => {
  for (const [error, text] of [
    [new Error('no space left'), 'Error: no space left\n'], [internalError('the engine broke'), 'the engine broke\n']
  ] as const) {
    const stderr = { text: '', write (more: string) { this.text += more } }
    t.equal(await run(['secret'], { stdin: process.stdin, stdout: { write () { throw error } }, stderr }), 1)
    t.equal(stderr.text, text)
  }
})
