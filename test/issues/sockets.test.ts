import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import t from 'tap'
import authPlugin, { session } from '../../lib/index.js'
import { passwords, verifyPassword } from '../../lib/passwords/index.js'

/** Faults that a security review with many sockets reported. */

t.test('logs why a login answered 503', async t => {
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: line => { lines.push(line) } } } })
  t.teardown(() => app.close())
  const busy = passwords({ concurrency: 1, queue: 0 })
  const hash = await busy.hash('correct horse')
  await app.register(authPlugin, {
    schemes: { web: session({ secret: randomBytes(32).toString('base64url') }) },
    publicPaths: ['/login']
  })
  app.post('/login', async (_request, reply) =>
    app.gatehouse.guesses.attempt(reply, 'ann', async () => (await busy.verify('correct horse', hash)).valid)
  )
  const answers = await Promise.all([1, 2, 3].map(async () => app.inject({ method: 'POST', url: '/login' })))
  const late = answers.filter(({ statusCode }) => statusCode === 503)
  t.ok(late.length > 0)
  for (const { headers } of late) t.equal(headers['retry-after'], '5')
  const logged = lines.filter(line => line.includes('password hashes are waiting already'))
  t.equal(logged.length, late.length, 'once each')
})

t.test('refuses a stored hash with a salt or a digest of megabytes without computing it', async t => {
  const long = 'A'.repeat(4 * 1_000_000)
  const short = 'A'.repeat(43)
  for (const stored of [`$argon2id$v=19$m=19456,t=2,p=1$${short}$${long}`, `$scrypt$ln=14,r=8,p=1$${long}$${short}`]) {
    await t.rejects(verifyPassword('correct horse', stored), { code: 'AUTH_FAULT', detail: /longer than 128 bytes/ })
  }
})
