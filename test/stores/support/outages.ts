import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { StoreUnavailable } from '../../../lib/stores/errors.js'
import type { Store } from '../../../types/store.js'
import { missing } from './services.js'

/** A server on loopback that can be ended, with everybody who is connected, and begin again on the same port. */
export interface Endable {
  readonly port: number
  end (): Promise<void>
  begin (): Promise<void>
}

async function endable (serve: (socket: Socket) => void): Promise<Endable> {
  const sockets = new Set<Socket>()
  let port = 0
  let server: Server | null = null
  const begin = async (): Promise<void> => {
    server = createServer(socket => {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => sockets.delete(socket))
      serve(socket)
    }).listen(port, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  }
  const end = async (): Promise<void> => {
    for (const socket of sockets) socket.resetAndDestroy()
    if (server?.listening !== true) return
    server.close()
    await once(server, 'close')
  }
  await begin()
  return { port, begin, end }
}

/** A server that accepts, and never says a word. */
export function silentServer (): Promise<Endable> {
  return endable(socket => { socket.resume() })
}

/** A way to another server, which can be cut. Where the port is a function, new connections lead to what it returns. */
export function proxyTo (port: number | (() => number)): Promise<Endable> {
  return endable(socket => {
    const other = connect(typeof port === 'number' ? port : port(), '127.0.0.1')
    other.on('error', () => socket.destroy())
    other.once('close', () => socket.destroy())
    socket.once('close', () => other.destroy())
    socket.pipe(other)
    other.pipe(socket)
  })
}

/** A port on which nobody listens, with room above it for the second one that a node of a cluster has. */
async function freePort (): Promise<number> {
  for (;;) {
    const { port, end } = await silentServer()
    await end()
    if (port + 10_000 < 65_536) return port
  }
}

/** A redis-server of the test's own, on a free port. `end` is SIGKILL. */
export async function redisServer (...options: readonly string[]): Promise<Endable & { signal (name: 'SIGSTOP' | 'SIGCONT'): void }> {
  const port = await freePort()
  let folder = ''
  let child: ChildProcess | null = null
  // a test that is cut off leaves no server behind
  process.once('exit', () => { child?.kill('SIGKILL') })
  const begin = async (): Promise<void> => {
    folder = mkdtempSync(join(tmpdir(), 'gatehouse-redis-'))
    child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder, ...options], { stdio: ['ignore', 'pipe', 'ignore'] })
    let said = ''
    for await (const chunk of child.stdout ?? []) {
      said += String(chunk)
      if (said.includes('Ready to accept connections')) return
    }
    throw new Error(`redis-server did not start:\n${said}`)
  }
  await begin()
  return {
    port,
    begin,
    signal: name => { child?.kill(name) },
    async end () {
      if (child === null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      child = null
      await ended
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** A cluster of three nodes, each with a third of the slots. */
export interface RedisCluster {
  readonly nodes: readonly Endable[]
  end (): Promise<void>
}

export async function redisCluster (): Promise<RedisCluster> {
  const options = ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1', '--cluster-require-full-coverage', 'no']
  const nodes = await Promise.all([0, 1, 2].map(() => redisServer(...options)))
  const clients = nodes.map(({ port }) => new Redis(port))
  for (const [n, client] of clients.entries()) {
    await client.cluster('SET-CONFIG-EPOCH', n + 1)
    await client.call('CLUSTER', 'ADDSLOTSRANGE', n * 5_461, n === 2 ? 16_383 : (n + 1) * 5_461 - 1)
    await client.cluster('MEET', '127.0.0.1', nodes[0]?.port ?? 0)
  }
  for (const client of clients) {
    while (!/cluster_state:ok[^]*cluster_slots_assigned:16384[^]*cluster_known_nodes:3/.test(String(await client.cluster('INFO')))) await sleep(50)
    client.disconnect()
  }
  return { nodes, end: async () => { await Promise.all(nodes.map(node => node.end())) } }
}

/** Why a Redis of the test's own cannot be had, `false` when it can. */
export function noRedisServer (): Promise<string | false> {
  return missing('redis-server', async () => {
    const server = await redisServer()
    await server.end()
  })
}

/** What a load saw. */
export interface Seen {
  answered: number
  unavailable: number
  /** Neither answered nor unavailable. */
  readonly other: unknown[]
  /** Of the slowest call, in milliseconds. */
  slowest: number
  /** When something was last answered, by `performance.now`. */
  answeredAt: number
}

/** Asks a store 500 times a second, until it is ended, whatever it answers. */
export function load (store: Store): { readonly seen: Seen, end (): Promise<void> } {
  const seen: Seen = { answered: 0, unavailable: 0, other: [], slowest: 0, answeredAt: 0 }
  const pending = new Set<Promise<void>>()
  const ask = async (n: number): Promise<void> => {
    const began = performance.now()
    try {
      await (n % 2 === 0 ? store.get('load', `n${n}`) : store.increment('load', `n${n % 10}`, { window: 60 }))
      seen.answered++
      seen.answeredAt = performance.now()
    } catch (error) {
      if (error instanceof StoreUnavailable) seen.unavailable++
      else seen.other.push(error)
    }
    seen.slowest = Math.max(seen.slowest, performance.now() - began)
  }
  const timer = setInterval(() => {
    for (let n = 0; n < 10; n++) {
      const one = ask(n).finally(() => pending.delete(one))
      pending.add(one)
    }
  }, 20)
  return {
    seen,
    async end () {
      clearInterval(timer)
      await Promise.all(pending)
    }
  }
}
