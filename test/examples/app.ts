import { Writable } from 'node:stream'
import type { LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { build, type Example } from '../../examples/app.js'
import { folder } from './running.js'

/** The order desk without a socket, with everything that it logs. */
export interface Quiet extends Example {
  /** Its DATA_DIR. */
  readonly path: string
  readonly logged: () => string
}

/** Builds the order desk. When the tests of the file end, it is closed and its folder removed. */
export async function startQuiet (environment: NodeJS.ProcessEnv = {}): Promise<Quiet> {
  let lines = ''
  const stream = new Writable({ write (chunk, _encoding, done) { lines += String(chunk); done() } })
  const { path, remove } = folder()
  t.teardown(remove)
  const desk = await build({ logger: { level: 'trace', stream }, environment: { DATA_DIR: path, ...environment } })
  t.teardown(() => desk.app.close())
  return { ...desk, path: environment['DATA_DIR'] ?? path, logged: () => lines }
}

export const form = { 'content-type': 'application/x-www-form-urlencoded' }

export function encode (fields: Readonly<Record<string, string>>): string {
  return new URLSearchParams(fields).toString()
}

/** Logs a person in with the form, and returns the response and the cookie. */
export async function logIn ({ app, config }: Example, username: string, url = '/login') {
  const response = await app.inject({
    method: 'POST', url, headers: form, payload: encode({ username, password: config.PEOPLE_PASSWORD })
  })
  return { response, line: lineOf(response), cookie: cookieOf(response) }
}

/** Returns the `Set-Cookie` line of a session; `''` if there is none. */
function lineOf ({ headers }: LightMyRequestResponse): string {
  return [headers['set-cookie'] ?? []].flat().find(each => /^(?:__Host-)?web=/.test(each)) ?? ''
}

/** Returns the session cookie that a response sets; `''` if it sets none. */
export function cookieOf (response: LightMyRequestResponse): string {
  return lineOf(response).split(';', 1)[0] ?? ''
}

export async function tokenOf ({ app, config }: Example, username: string): Promise<string> {
  const response = await app.inject({
    method: 'POST', url: '/api/token', payload: { username, password: config.PEOPLE_PASSWORD }
  })
  return `Bearer ${response.json<{ access_token: string }>().access_token}`
}
