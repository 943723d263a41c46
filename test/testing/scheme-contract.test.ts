import t from 'tap'
import { authenticated, foreign, invalid, read, type Outcome, type Scheme } from '../../lib/index.js'
import { schemeContract, type SchemeContract } from '../../lib/testing/index.js'

const device: Scheme = {
  openapi: { type: 'apiKey', in: 'header', name: 'x-device' },
  challenge: ({ code }) => ({ scheme: 'Device', params: code === 'AUTH_REQUIRED' ? {} : { error: 'unknown' } }),
  authenticate (request) {
    const serial = read(request, 'header:x-device')
    if (typeof serial !== 'string') return serial
    if (!serial.startsWith('dev-')) return foreign
    return serial === 'dev-0123456789' ? authenticated({ id: 'ann' }) : invalid('unknown device')
  }
}
const carry = (text: string) => ({ headers: { 'x-device': text } })

/** Runs the contract, and returns the titles of the tests that fail. */
async function failuresOf (change: Partial<Scheme>, more: Partial<SchemeContract> = {}): Promise<readonly string[]> {
  const tests: Array<{ readonly title: string, readonly run: () => Promise<void> }> = []
  schemeContract({
    test: (title, run) => { tests.push({ title, run }) },
    scheme: { ...device, ...change },
    good: { 'a device': carry('dev-0123456789') },
    bad: { 'an unknown device': carry('dev-1234567890') },
    foreign: { 'another kind': carry('other') },
    carry,
    sync: true,
    challenge: 'Device',
    ...more
  })
  t.equal(tests.length, 7)
  const results = await Promise.allSettled(tests.map(({ run }) => run()))
  return tests.filter((_test, i) => results[i]?.status === 'rejected').map(({ title }) => title)
}

t.test('a scheme that keeps the contract passes', async t => {
  t.same(await failuresOf({}), [])
})

t.test('names a wrong option, which would test nothing', async t => {
  const wrong: ReadonlyArray<readonly [options: unknown, message: RegExp]> = [
    [undefined, /^The options of schemeContract must be an object/],
    [{ foriegn: {} }, /^The options of schemeContract have an unknown key 'foriegn'\. Did you mean 'foreign'\?/],
    [{ test: undefined }, /^The option schemeContract\.test must be a function \(title, run\)/],
    [{ scheme: null }, /^The option schemeContract\.scheme must be a scheme, or the function that makes it\. Got null/],
    [{ bad: ['dev-1'] }, /^The option schemeContract\.bad must be an object from the name of a credential .* a list/],
    [{ good: { device: 'dev-1' } }, /^The option schemeContract\.good must be an object from the name/],
    [{ expired: undefined }, /'expired' set to undefined/],
    [{ sync: 'no' }, /^The option schemeContract\.sync must be true or false/],
    [{ challenge: '' }, /^The option schemeContract\.challenge must be a non-empty string/],
    [{ carry: {} }, /^The option schemeContract\.carry must be a function/]
  ]
  const whole = { test: () => {}, scheme: device, good: {}, bad: {}, carry, challenge: 'Device' }
  for (const [options, message] of wrong) {
    const contract = options === undefined ? options : { ...whole, ...options as object }
    t.throws(() => { schemeContract(contract as never) }, { code: 'AUTH_MISCONFIGURED', message })
  }
})

const ask = device.authenticate.bind(device) as (request: never) => Outcome
const broken: Readonly<Record<string, readonly [Partial<Scheme>, RegExp]>> = {
  'returns a promise': [{ authenticate: async request => ask(request as never) }, /^returns authenticated/],
  throws: [{ authenticate: () => { throw new Error('broken') } }, /^returns an outcome for any text/],
  'takes any device': [{
    authenticate: request => typeof request.headers['x-device'] === 'string' ? authenticated({ id: 'ann' }) : foreign
  }, /^returns an outcome for any text/],
  'gives the credential away': [{
    authenticate (request) {
      const outcome = ask(request as never)
      return outcome.kind === 'invalid' ? invalid(`unknown: ${String(request.headers['x-device'])}`) : outcome
    }
  }, /^leaves|leaves no credential in the log/],
  'gives the reason away': [
    { challenge: ({ detail }) => ({ scheme: 'Device', params: { reason: detail } }) }, /^writes challenges/
  ],
  'writes an error where nothing was sent': [
    { challenge: () => ({ scheme: 'Device', params: { error: 'required' } }) }, /^writes challenges/
  ],
  'treats HEAD differently': [
    { authenticate: request => request.method === 'HEAD' ? invalid('HEAD') : ask(request as never) },
    /^is enforced in every mode/
  ],
  'is ambient': [{ ambient: true }, /^describes itself/],
  'has no name': [{ openapi: { type: 'apiKey', in: 'header', name: '' } }, /^describes itself/],
  'reads the first of two': [{
    authenticate (request) {
      const first = [request.headers['x-device'] ?? []].flat().join().split(',', 1)[0] ?? ''
      return ask({ ...request, headers: { 'x-device': first }, raw: { rawHeaders: ['x-device', first] } } as never)
    }
  }, /^refuses a credential that is sent twice/]
}

for (const [name, [change, expected]] of Object.entries(broken)) {
  t.test(`a scheme that ${name} fails`, async t => {
    const failures = await failuresOf(change)
    t.ok(failures.some(title => expected.test(title)), failures.join('; '))
  })
}
