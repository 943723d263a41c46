import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Test } from 'tap'
import { forkProgram } from '../../support/programs.js'
import type { Setting, Word } from './application.js'
import { send, type Answer, type Call } from './traffic.js'

/** A key, and the id by which it is revoked. */
export interface Key {
  readonly key: string
  readonly id: string
}

/** Applications in processes of their own, over one store. */
export interface Fleet {
  readonly ports: readonly number[]
  readonly secret: string
  /** What would have ended one of them, and those that ended. */
  faults (): readonly string[]
  /** Ends them as an operator does. @returns their exit codes. */
  end (): Promise<ReadonlyArray<number | null>>
}

/** Starts one application for each setting. */
export async function fleet (t: Test, settings: ReadonlyArray<Omit<Setting, 'secret'>>): Promise<Fleet> {
  const secret = randomBytes(32).toString('base64url')
  const faults: string[] = []
  const children: ChildProcess[] = []
  let ending = false
  t.teardown(() => { for (const child of children) child.kill('SIGKILL') })
  const ports = await Promise.all(settings.map(async setting => {
    const child = forkProgram('test/stores/support/application.ts')
    children.push(child)
    child.once('exit', (code, signal) => { if (!ending) faults.push(`an application ended with ${String(code ?? signal)}`) })
    child.send({ ...setting, secret } satisfies Setting)
    return await portOf(child, faults)
  }))
  return {
    ports,
    secret,
    faults: () => faults,
    async end () {
      ending = true
      return await Promise.all(children.map(async child => {
        if (child.exitCode === null && child.signalCode === null) {
          const ended = once(child, 'exit')
          child.send('end')
          await ended
        }
        return child.exitCode
      }))
    }
  }
}

function portOf (child: ChildProcess, faults: string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('exit', () => { reject(new Error('an application did not start')) })
    child.on('message', (word: Word) => {
      if ('port' in word) resolve(word.port)
      else faults.push(word.fault)
    })
  })
}

/** What the tests ask of one application beside the load. */
export function desk ({ secret }: Pick<Fleet, 'secret'>, port: number) {
  const ask = async (what: Pick<Call, 'method' | 'path'> & Partial<Call>): Promise<Answer> => send({ kind: 'desk', subject: '', headers: { 'x-admin-key': secret }, port, ...what })
  const key = async (): Promise<Key> => {
    const answer = await ask({ method: 'POST', path: '/keys', body: { id: 'client' } })
    if (answer.status !== 200) throw new Error(`no key was made: ${answer.status} ${answer.text}`)
    const { key, record } = JSON.parse(answer.text) as { key: string, record: { id: string } }
    return { key, id: record.id }
  }
  const login = async (username: string): Promise<string> => {
    const answer = await ask({ method: 'POST', path: '/login', body: { username, password: secret } })
    const cookie = cookieOf(answer)
    if (cookie === null) throw new Error(`nobody was logged in: ${answer.status} ${answer.text}`)
    return cookie
  }
  return {
    keys: async (length: number): Promise<readonly Key[]> => await Promise.all(Array.from({ length }, key)),
    /** Cookies of new sessions. */
    sessions: async (length: number): Promise<readonly string[]> => await Promise.all(Array.from({ length }, async (_, n) => await login(`person${n}`))),
    create: async () => await ask({ method: 'POST', path: '/keys', body: { id: 'client' } }),
    revoke: async ({ id }: Key) => await ask({ method: 'DELETE', path: `/keys/${id}` }),
    logout: async (cookie: string) => await ask({ method: 'POST', path: '/logout', headers: { cookie } })
  }
}

export type Desk = ReturnType<typeof desk>

/** `name=value` of the session that an answer begins; `null` where it begins none. */
export function cookieOf ({ headers }: Answer): string | null {
  return headers['set-cookie']?.map(line => line.split(';')[0] ?? '').find(pair => /^__Host-web=./.test(pair)) ?? null
}
