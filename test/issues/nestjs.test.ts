import { once } from 'node:events'
import t from 'tap'
import { forkProgram } from '../fixtures/programs.js'

t.test('NestJS answers refusals with their status, message and challenge', async t => {
  const program = forkProgram('test/issues/nestjs-application.ts')
  t.teardown(() => { program.kill() })
  const [{ port, key }] = await once(program, 'message') as [{ readonly port: number, readonly key: string }]
  const ask = async (url: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}${url}`, { headers })
    const challenge = answer.headers.get('www-authenticate') ?? undefined
    return { status: answer.status, body: await answer.json() as unknown, challenge }
  }
  const credentials = { 'x-api-key': key }
  const challenge = 'APIKey realm="service"'
  t.same(await ask('/list', credentials), { status: 200, body: { id: 'billing' }, challenge: undefined })
  t.same(await ask('/list'), { status: 401, body: { statusCode: 401, message: 'Authentication required' }, challenge })
  t.same(await ask('/list', { 'x-api-key': 'wrong' }),
    { status: 401, body: { statusCode: 401, message: 'Invalid credentials' }, challenge })
  t.match(await ask('/write', credentials), { status: 403, body: { statusCode: 403, message: 'Access denied' } })
  t.match(await ask('/status'), { status: 200, body: { up: true } })
  t.match(await ask('/broken'), { status: 500, body: { statusCode: 500, message: 'Internal Server Error' } })
})
