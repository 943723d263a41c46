import { fork } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cleanEnvironment } from './run.js'

/** A `curl` line of the README with the expected status: `curl -H 'x-api-key: abc' localhost:3000/me # 200`. */
export interface Call {
  readonly line: string
  readonly path: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
  readonly status: number
}

export interface Example {
  readonly code: string
  readonly calls: readonly Call[]
}

/** Returns the first TypeScript or JavaScript block of a text, and the `curl` lines between it and the next heading. */
export function firstExample (text: string): Example | null {
  const block = /^```(?:ts|js|typescript|javascript)\b[^\n]*\n(.*?)^```/ms.exec(text)
  if (block === null) return null
  const after = text.slice(block.index + block[0].length).split(/^#{1,6} /m, 1)[0] ?? ''
  const lines = after.split('\n').map(
    line => line.trim().replace(/^\$ /, '')
  ).filter(line => /^curl .*#\s*\d{3}/.test(line))
  return { code: block[1] ?? '', calls: lines.map(callOf) }
}

function callOf (line: string): Call {
  const [command = '', comment = ''] = line.split(/\s#\s*(?=\d{3}[^#]*$)/)
  const words = [
    ...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)
  ].map(match => match[1] ?? match[2] ?? match[3] ?? '').slice(1)
  const headers: Record<string, string> = {}
  let call = { path: '/', method: 'GET', body: undefined as string | undefined }
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? ''
    const value = words[i + 1] ?? ''
    if (!word.startsWith('-')) call = { ...call, path: word.replace(/^(?:https?:\/\/)?[^/]*/, '') || '/' }
    else if (/^(?:-X|--request)$/.test(word)) {
      call = { ...call, method: value }
      i++
    } else if (/^(?:-H|--header)$/.test(word)) {
      headers[value.split(':', 1)[0] ?? ''] = value.slice(value.indexOf(':') + 1).trim()
      i++
    } else if (/^(?:-u|--user)$/.test(word)) {
      headers['authorization'] = `Basic ${Buffer.from(value).toString('base64')}`
      i++
    } else if (/^(?:-d|--data|--json)$/.test(word)) {
      call = { ...call, body: value, method: call.method === 'GET' ? 'POST' : call.method }
      headers['content-type'] ??= word === '--json' ? 'application/json' : 'application/x-www-form-urlencoded'
      i++
    }
  }
  return { line, ...call, headers, status: Number(comment.slice(0, 3)) }
}

/**
 * Makes a program listen on a free port of loopback instead of the one it asks for, and sends the port to its parent.
 */
const onFreePort = `
import net from 'node:net'
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (options, ...rest) {
  this.once('listening', () => process.send?.(this.address().port))
  return listen.call(this, { ...(typeof options === 'object' ? options : {}), host: '127.0.0.1', port: 0 }, ...rest)
}
`

export interface Running {
  readonly port: number
  stop (): Promise<void>
}

/** Starts a program that listens. Rejects with everything it printed if it ends before. */
export function start (file: string, cwd: string): Promise<Running> {
  const preload = join(cwd, 'on-free-port.mjs')
  writeFileSync(preload, onFreePort)
  const child = fork(
    file, { cwd, env: cleanEnvironment(), execArgv: [`--import=${preload}`], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }
  )
  let output = ''
  child.stdout?.on('data', chunk => { output += String(chunk) })
  child.stderr?.on('data', chunk => { output += String(chunk) })
  const ended = new Promise<void>(resolve => child.once('close', () => { resolve() }))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => { reject(new Error(`the example ended with ${code}:\n${output}`)) })
    child.once('message', port => {
      resolve({ port: Number(port), stop: () => { child.kill(); return ended } })
    })
  })
}
