import { randomBytes } from 'node:crypto'
import t from 'tap'
import { AuthError, secretsFromEnvironment, type SecretPurpose } from '../../lib/index.js'

const secret = (): string => randomBytes(32).toString('base64url')

/** Returns the message of the error that stops the start; `''` if there is none. */
function mistakes (variables: Record<string, SecretPurpose>, env: Record<string, string | undefined>): string {
  try {
    secretsFromEnvironment(variables, env)
    return ''
  } catch (error) {
    t.ok(error instanceof AuthError && error.code === 'AUTH_MISCONFIGURED')
    const { message, stack = '' } = error as AuthError
    for (const value of Object.values(env)) {
      if (value !== undefined && value.trim().length >= 8) {
        t.notOk(`${message}${stack}`.includes(value.trim()), 'no value is printed')
      }
    }
    return message
  }
}

t.test('reads each secret from its named variable', async t => {
  const env = {
    SESSION_SECRET: secret(),
    JWT_SECRET: secret(),
    DEVICE_SECRET: `${secret()},${secret()}`,
    SHOP_KEY: randomBytes(16).toString('base64url'),
    PEPPER: `"quoted" ${secret()}`,
    OTHER: `${secret()} "quoted"`,
    OPS_PASSWORD: 'long, and a phrase for a <test>',
    PATH: '/bin'
  }
  const read = secretsFromEnvironment(
    {
      SESSION_SECRET: 'session',
      JWT_SECRET: 'jwt',
      DEVICE_SECRET: 'device',
      SHOP_KEY: 'apiKey',
      PEPPER: 'pepper',
      OTHER: 'secret',
      OPS_PASSWORD: 'password'
    },
    env
  )
  t.same(
    read,
    {
      SESSION_SECRET: [env.SESSION_SECRET],
      JWT_SECRET: env.JWT_SECRET,
      DEVICE_SECRET: env.DEVICE_SECRET.split(','),
      SHOP_KEY: env.SHOP_KEY,
      PEPPER: env.PEPPER,
      OTHER: env.OTHER,
      OPS_PASSWORD: env.OPS_PASSWORD
    }
  )
  t.ok(Object.isFrozen(read))
  process.env.GATEHOUSE_TEST_SECRET = env.OTHER
  t.teardown(() => { delete process.env.GATEHOUSE_TEST_SECRET })
  t.equal(secretsFromEnvironment({ GATEHOUSE_TEST_SECRET: 'jwt' }).GATEHOUSE_TEST_SECRET, env.OTHER)
})

t.test('names a variable that is missing, too short, guessable or an example, without its value', async t => {
  const table: ReadonlyArray<readonly [SecretPurpose, string | undefined, RegExp]> = [
    ['session', undefined, /- IT is not set/],
    ['jwt', '', /- IT is not set/],
    ['jwt', '  \n', /- IT is not set/],
    ['jwt', randomBytes(20).toString('base64url'), /- IT is too short: it has 27 bytes and needs at least 32/],
    ['apiKey', 'short', /- IT is too short: it has 5 bytes and needs at least 16/],
    ['jwt', 'a'.repeat(64), /- IT is too easy to guess/],
    ['jwt', 'change-me-change-me-change-me-change-me', /- IT looks like a placeholder/],
    ['jwt', '<put 32 random bytes in base64url here>', /- IT looks like a placeholder/],
    ['jwt', ['$', '{SESSION_SECRET_THAT_NOBODY_REPLACED}'].join(''), /- IT looks like a placeholder/],
    ['session', `your-secret-${secret()}`, /- IT looks like a placeholder/],
    ...['test', 'dummy', 'Todo', 'FIXME', 'xxxx'].map(
      word => ['jwt', `${word} ${secret()}`, /- IT looks like a placeholder/] as const
    ),
    ['password', 'changeme12345', /- IT looks like a placeholder/],
    ['password', 'password1234', /- IT looks like a placeholder/],
    ['password', 'tooshort', /- IT is too short: it has 8 bytes and needs at least 12/],
    ['password', 'abababababababab', /- IT repeats few characters/],
    ['password', 'kqzvkzqvkvzq', /- IT repeats few characters/],
    ['password', 'welcomekqzvx', /- IT is made of what attackers try first/],
    ['password', 'qwertyuiop12', /- IT is made of what attackers try first/],
    ['jwt', `${secret()}\n`, /- IT begins or ends with a space or a line end/],
    ['jwt', `"${secret()}"`, /- IT is in quotes/],
    ['jwt', `'${secret()}'`, /- IT is in quotes/],
    ['jwt', `IT=${secret()}`, /- IT begins with its own name/],
    ['session', `${secret()}, ${secret()}`, /- IT \(number 2\) begins or ends with a space/],
    ['session', `${secret()},short`, /- IT \(number 2\) is too short/],
    ['session', `${secret()},`, /- IT \(number 2\) is too short/]
  ]
  for (const [purpose, value, message] of table) t.match(mistakes({ IT: purpose }, { IT: value }), message)
  for (const password of ['kqzvxkzqvxkq', 'welcomekqzvxj']) t.equal(mistakes({ IT: 'password' }, { IT: password }), '')
})

t.test('takes a secret of the length that its purpose needs, and none that is a byte shorter', async t => {
  const needed: Readonly<Record<SecretPurpose, number>> = {
    session: 32, jwt: 32, device: 32, apiKey: 16, pepper: 32, secret: 32, password: 12
  }
  for (const [purpose, bytes] of Object.entries(needed) as Array<[SecretPurpose, number]>) {
    const text = randomBytes(bytes).toString('base64url').slice(0, bytes - 2)
    t.equal(mistakes({ IT: purpose }, { IT: `é${text}` }), '', purpose)
    t.match(
      mistakes({ IT: purpose }, { IT: `e${text}` }),
      new RegExp(`\\n- IT is too short: it has ${bytes - 1} bytes and needs at least ${bytes}\\. Make one with: npx`)
    )
  }
})

t.test('refuses one secret for two purposes, even trimmed or in another encoding', async t => {
  const bytes = randomBytes(32)
  const texts = [
    bytes.toString('base64url'), bytes.toString('base64'), bytes.toString('hex'), bytes.toString('hex').toUpperCase(),
    ` ${bytes.toString('base64url')}\n`
  ]
  for (const one of texts) {
    for (const other of texts) {
      t.match(
        mistakes({ SESSION_SECRET: 'session', JWT_SECRET: 'jwt' }, { SESSION_SECRET: one, JWT_SECRET: other }),
        /SESSION_SECRET and JWT_SECRET hold the same secret/
      )
    }
  }
  const phrase = 'Kqz wvj 83 – Xyf pgh 17 – Lmb rtd 59 – Ncs'
  t.match(mistakes({ A: 'jwt', B: 'secret' }, { A: phrase, B: ` ${phrase}\n` }), /A and B hold the same secret/)
  const twice = Buffer.from(bytes.toString('base64url')).toString('base64url')
  t.match(
    mistakes({ A: 'jwt', B: 'secret' }, { A: bytes.toString('base64url'), B: twice }), /A and B hold the same secret/
  )
  t.match(
    mistakes({ A: 'session' }, { A: `${texts[0]},${texts[0]}` }),
    /A \(number 1\) and A \(number 2\) hold the same secret/
  )
  t.equal(mistakes({ A: 'jwt', B: 'jwt' }, { A: secret(), B: secret() }), '')
})

t.test('reports all mistakes in one error', async t => {
  const reused = secret()
  const message = mistakes(
    { A: 'session', B: 'jwt', C: 'jwt', D: 'password' }, { A: undefined, B: reused, C: reused, D: 'short' }
  )
  for (const name of ['- A is not set', '- B and C hold the same secret', '- D is too short']) {
    t.ok(message.includes(name), name)
  }
  t.equal(message.split('\n').length, 4)
})

t.test('throws on wrong arguments', async t => {
  t.match(mistakes({}, {}), /needs an object from variable to purpose/)
  t.throws(() => secretsFromEnvironment(null as never, {}), { code: 'AUTH_MISCONFIGURED' })
  t.match(mistakes({ A: 'sesion' as never }, { A: secret() }), /does not know the purpose 'sesion' of A/)
  t.match(mistakes({ A: 'toString' as never }, { A: secret() }), /does not know the purpose/)
  for (const env of [null, 'A=1'] as const) {
    t.throws(() => secretsFromEnvironment({ A: 'jwt' }, env as never), {
      message: /^The environment of secretsFromEnvironment must be an object, such as process\.env\. Got /
    })
  }
  t.throws(() => secretsFromEnvironment({ A: 'jwt', B: 'jwt' }, { A: 7, B: null } as never), {
    message: /\n- A must be a text\. Got 7\.\n- B is not set\. /
  })
})

t.test('practically never takes a random secret for a placeholder', async t => {
  let refused = 0
  for (let i = 0; i < 500; i++) {
    refused += Number(mistakes({ A: 'jwt' }, { A: randomBytes(32).toString(i % 2 === 0 ? 'base64url' : 'hex') }) !== '')
  }
  t.equal(refused, 0)
})

t.test('never takes two random secrets for the same one', async t => {
  const env = Object.fromEntries(Array.from({ length: 300 }, (_, i) => {
    const text = randomBytes(32).toString((['hex', 'base64', 'base64url'] as const)[i % 3])
    return [`S${i}`, i % 2 === 0 ? text : `${text.slice(0, 40)} ${text.slice(40)}`]
  }))
  // a text of letters alone with a space in it is taken for a phrase, which is too easy to guess
  t.notMatch(mistakes(Object.fromEntries(Object.keys(env).map(name => [name, 'secret'])), env), /hold the same secret/)
})
