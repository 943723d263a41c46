import { spawn } from 'node:child_process'

const children = new Set()

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    for (const child of children) child.kill(signal)
    process.exit(1)
  })
}

/**
 * Starts a command that ends with this process: a signal ends both. On Windows npm and npx are scripts, which only a
 * shell can start.
 */
export function start (program, args, options = { stdio: 'inherit' }) {
  const shell = process.platform === 'win32' && ['npm', 'npx'].includes(program)
  const child = spawn(program, args, { ...options, shell })
  children.add(child)
  child.once('close', () => { children.delete(child) })
  return child
}
