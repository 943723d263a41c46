import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentServer, type Endable } from './outages.js'

/** What is spawned, and as whom. */
interface Programs {
  readonly folder: string
  /** `null`: as whoever runs the tests. */
  readonly user: { readonly uid: number, readonly gid: number } | null
}

/**
 * A PostgreSQL of the test's own, on a free port of loopback. `end` is SIGKILL, for the postmaster and for everybody whom it started; `begin` starts it on the same
 * folder, so that it recovers as after a crash.
 */
export async function postgresServer (): Promise<Endable & { remove (): Promise<void> }> {
  const programs = { folder: programsFolder(), user: userFor() }
  const { port, end: leave } = await silentServer()
  await leave()
  const data = initialized(programs)
  let child: ChildProcess | null = null
  const end = async (): Promise<void> => {
    const [ending, pids] = [child, child?.pid === undefined ? [] : [child.pid, ...childrenOf(child.pid)]]
    child = null
    if (ending === null || ending.exitCode !== null) return
    const ended = once(ending, 'exit')
    pids.forEach(killed)
    await ended
  }
  const begin = async (): Promise<void> => { child = await started(programs, data, port) }
  await begin()
  return {
    port,
    begin,
    end,
    async remove () {
      await end()
      rmSync(data, { recursive: true, force: true })
    }
  }
}

/** Where the server's programs are: distributions keep them out of the PATH. */
function programsFolder (): string {
  const versions = '/usr/lib/postgresql'
  const installed = existsSync(versions) ? readdirSync(versions).map(version => join(versions, version, 'bin')) : []
  const folder = [binFolder(), ...installed].find(each => each !== null && existsSync(join(each, 'initdb')))
  if (folder == null) throw new Error('the programs initdb and postgres are not installed')
  return folder
}

function binFolder (): string | null {
  try {
    return execFileSync('pg_config', ['--bindir'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return null
  }
}

/** It refuses to run as root. */
function userFor (): Programs['user'] {
  if (process.getuid?.() !== 0) return null
  const name = ['postgres', 'nobody'].find(each => idOf(each, '-u') !== null)
  if (name === undefined) throw new Error('PostgreSQL does not run as root, and there is no other user')
  return { uid: Number(idOf(name, '-u')), gid: Number(idOf(name, '-g')) }
}

function idOf (name: string, which: '-u' | '-g'): string | null {
  try {
    return execFileSync('id', [which, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return null
  }
}

/** The making of the folder need not outlive a power failure; what is written there later is synchronized as PostgreSQL does it by itself. */
function initialized ({ folder, user }: Programs): string {
  const data = mkdtempSync(join(tmpdir(), 'gatehouse-postgres-'))
  if (user !== null) chownSync(data, user.uid, user.gid)
  execFileSync(join(folder, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], { ...user ?? {}, cwd: data, stdio: 'ignore' })
  return data
}

async function started ({ folder, user }: Programs, data: string, port: number): Promise<ChildProcess> {
  const options = ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=']
  const child = spawn(join(folder, 'postgres'), options, { ...user ?? {}, cwd: data, stdio: ['ignore', 'ignore', 'pipe'] })
  // a test that is cut off leaves no server behind
  const cutOff = (): void => { child.kill('SIGKILL') }
  process.once('exit', cutOff)
  child.once('exit', () => process.off('exit', cutOff))
  let said = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      said += String(chunk)
      if (said.includes('ready to accept connections')) resolve()
    })
    child.once('exit', () => { reject(new Error(`PostgreSQL did not start:\n${said}`)) })
    child.once('error', reject)
  })
  return child
}

/** Each is the leader of a session of its own, so no group has them all. */
function childrenOf (parent: number): readonly number[] {
  const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
  return table.split('\n').map(line => line.trim().split(/\s+/).map(Number)).filter(([, ppid]) => ppid === parent).map(([pid]) => Number(pid))
}

function killed (pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {}
}
