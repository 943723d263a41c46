import { mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import type { GatehouseOptions, Scheme } from '../../lib/index.js'
import { createApplication, handler } from '../fixtures/schemes.js'
import { authorizePath, login, serverApp, visit } from '../oauth/app.js'

/** A function of the application that has to send a response, and sends none, does not keep the request for ever. */

const schemeWith = (refuse: (reply: FastifyReply) => unknown): Scheme => ({
  openapi: { type: 'apiKey', in: 'header', name: 'x-own' },
  authenticate: () => ({ kind: 'absent' }),
  refuse: (_request, reply) => refuse(reply) as boolean
})

/** Runs a request while the clock runs for some seconds. */
async function waitFor<T> (seconds: number, run: () => Promise<T>): Promise<T> {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const running = run()
    for (let second = 0; second < seconds; second++) {
      for (let i = 0; i < 10; i++) await turn()
      mock.timers.tick(1000)
    }
    return await running
  } finally {
    mock.timers.reset()
  }
}

/** Sends two requests that are refused. */
async function ask (options: Partial<GatehouseOptions>, seconds: number) {
  const { app, log } = await createApplication({ schemes: { own: schemeWith(() => false) }, ...options })
  t.teardown(() => app.close())
  const route = handler()
  app.get('/', route.handler)
  app.get('/public', { config: { auth: { public: 'test' } } }, async (_request, reply) => reply.challenge())
  await app.ready()
  const answers = []
  for (const url of ['/', '/public']) {
    const { statusCode: status, body } = await waitFor(seconds, async () => await app.inject(url))
    answers.push({ status, body })
  }
  const reasons = log.flatMap(({ auth, msg }) => msg === 'the errors function failed' ? msg : auth?.reason ?? [])
    .filter(reason => !['no credential was sent', 'the handler called reply.challenge()'].includes(reason))
  return { answers, reasons, reached: route.reached }
}

const fault = {
  statusCode: 500, code: 'AUTH_FAULT', error: 'Internal Server Error', message: 'Internal Server Error'
}

t.test('answers 500 after ten seconds if refuse() returned true and sent no response', async t => {
  const schemes = { own: schemeWith(() => true) }
  const { answers, reasons, reached } = await ask({ schemes }, 10)
  t.same(answers.map(({ status, body }) => [status, JSON.parse(body)]), [[500, fault], [500, fault]])
  const reason = "refuse() of the scheme 'own' returned true, and no response was sent for 10 s"
  t.same(reasons, [reason, reason])
  t.equal(reached, 0)
  const other = await ask({ schemes, errors: 'problem' }, 10)
  t.match(other.answers, [{ status: 500, body: /"code":"AUTH_FAULT"/ }, { status: 500, body: /"code":"AUTH_FAULT"/ }])
})

t.test('refuse() may send its response later', async t => {
  const own = schemeWith(reply => {
    setTimeout(() => { void reply.code(401).send('log in first') }, 9_000)
    return true
  })
  const { answers, reasons } = await ask({ schemes: { own } }, 60)
  t.same(answers, [{ status: 401, body: 'log in first' }, { status: 401, body: 'log in first' }])
  t.same(reasons, [])
})

t.test('sends the usual error after ten seconds if an errors function sent nothing', async t => {
  for (const errors of [
    (_error: unknown, _request: unknown, reply: FastifyReply) => reply,
    async (_error: unknown, _request: unknown, reply: FastifyReply) => reply,
    () => new Promise(() => {})
  ]) {
    const { answers, reasons } = await ask({ errors }, 10)
    for (const { status, body } of answers) t.match([status, JSON.parse(body)], [401, { code: 'AUTH_REQUIRED' }])
    t.match(reasons, ['the errors function failed', 'the errors function failed'])
  }
})

t.test('sends what an errors function returns in time, once', async t => {
  const errors = async () => await new Promise(resolve => { setTimeout(resolve, 9_000, { late: true }) })
  const { answers, reasons } = await ask({ errors }, 60)
  t.same(answers, [{ status: 401, body: '{"late":true}' }, { status: 401, body: '{"late":true}' }])
  t.same(reasons, [])
  const tooLate = () => new Promise(resolve => { setTimeout(resolve, 11_000, { late: true }) })
  t.match((await ask({ errors: tooLate }, 60)).answers, [{ status: 401, body: /AUTH_REQUIRED/ }, { status: 401 }])
})

t.test('sends server_error to the client if a consent page is not sent in ten seconds', async t => {
  const pages: ReadonlyArray<(reply: FastifyReply) => unknown> = [
    () => undefined, async () => undefined, reply => reply, async reply => reply, () => new Promise(() => {})
  ]
  for (const page of pages) {
    const lines: string[] = []
    const app = await serverApp(t, {
      oauth: { consent: (_request, reply) => page(reply) as never },
      fastify: { logger: { level: 'error', stream: { write: line => lines.push(line) } } }
    })
    const { cookie } = await login(app)
    const { params } = await waitFor(10, async () => await visit(app, authorizePath(), cookie))
    t.match(params, { error: 'server_error', state: String, code: undefined })
    t.match(lines.join(''), 'the function of the option oauthServer.consent sent no page for 10 s')
  }
})

t.test('a consent page may be sent later', async t => {
  const app = await serverApp(t, {
    oauth: { consent: (_request, reply) => { setTimeout(() => { void reply.send('May it?') }, 9_000) } }
  })
  const { cookie } = await login(app)
  const headers = { cookie, accept: 'text/html' }
  const { body } = await waitFor(60, async () => await app.inject({ url: authorizePath(), headers }))
  t.equal(body, 'May it?')
})
