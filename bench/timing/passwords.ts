import { randomBytes } from 'node:crypto'
import Fastify from 'fastify'
import authPlugin, { basic, session } from '../../lib/index.js'
import { hashPassword, passwords, verifyPassword } from '../../lib/passwords/index.js'
import type { Question } from './question.js'
import { always } from './stage.js'

/** Both kinds are asked by the same path: what differs is the name. */
function askers (ask: (user: string) => Promise<number>, known: string): Question['kinds'] {
  const refused = (user: string) => always(async () => {
    const status = await ask(user)
    if (status !== 401) throw new Error(`${status} instead of 401`)
  })
  return { known: refused(known), unknown: refused('n'.repeat(known.length)) }
}

async function basicQuestion (
  name: string, users: Parameters<typeof basic>[0]['users'], pace: Question['pace']
): Promise<Question> {
  const app = Fastify()
  await app.register(authPlugin, { schemes: { ops: basic({ users: users ?? {} }) }, limits: { guesses: false } })
  app.get('/', async () => 'never')
  const ask = async (user: string): Promise<number> =>
    (
      await app.inject({
        url: '/', headers: { authorization: `Basic ${Buffer.from(`${user}:wrong password`).toString('base64')}` }
      })
    ).statusCode
  return { name, pace, kinds: askers(ask, 'operator') }
}

/** A login of the application's own, with its guesses counted, as docs/limits.md writes it. */
async function formQuestion (stored: string): Promise<Question> {
  const app = Fastify()
  const people = passwords()
  const users = new Map([['operator', stored]])
  const many = 1_000_000_000
  await app.register(authPlugin, {
    schemes: { web: session({ secret: randomBytes(32).toString('base64url') }) },
    publicPaths: ['/login'],
    limits: { guesses: { perAccount: many, perAddress: many } }
  })
  app.post<{ Body: { username: string, password: string } }>('/login', async (request, reply) => {
    const { username, password } = request.body
    const person = await app.gatehouse.guesses.attempt(
      reply, username, async () => (await people.verify(password, users.get(username))).valid ? { id: username } : null
    )
    if (person === null) return reply.code(401).send({ error: 'Wrong name or password' })
    return reply.login(person)
  })
  const ask = async (username: string): Promise<number> => (
    await app.inject({ method: 'POST', url: '/login', payload: { username, password: 'wrong password' } })
  ).statusCode
  return { name: 'login by form, argon2id', pace: 'slow', kinds: askers(ask, 'operator') }
}

export async function passwordQuestions (): Promise<readonly Question[]> {
  const argon2 = await hashPassword('correct horse')
  const bcrypt = await hashPassword('correct horse', { algorithm: 'bcrypt', cost: 10 })
  const mixed = passwords({ legacy: [{ algorithm: 'bcrypt', cost: 10 }] })
  const wrong = (stored: string | null) => always(() => mixed.verify(randomBytes(8).toString('hex'), stored))
  return [
    {
      name: 'passwords, argon2id',
      pace: 'slow',
      kinds: {
        known: always(() => verifyPassword('wrong password', argon2)),
        unknown: always(() => verifyPassword('wrong password', null))
      }
    },
    {
      name: 'passwords, argon2id beside bcrypt, new hash',
      pace: 'slow',
      kinds: { known: wrong(argon2), unknown: wrong(null) }
    },
    {
      name: 'passwords, argon2id beside bcrypt, old hash',
      pace: 'slow',
      kinds: { known: wrong(bcrypt), unknown: wrong(null) }
    },
    await basicQuestion('basic, argon2id', { operator: { hash: argon2 } }, 'slow'),
    await basicQuestion('basic, given passwords', { operator: { password: 'correct horse battery' } }, 'fast'),
    await formQuestion(argon2)
  ]
}
