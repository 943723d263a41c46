import { spawn } from 'node:child_process'

const children = new Set()

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    for (const child of children) child.kill(signal)
    process.exit(1)
  })
}

/** Starts a command that ends with this process: a signal ends both. */
export function start (program, args, options = { stdio: 'inherit' }) {
  const child = spawn(program, args, options)
  children.add(child)
  child.once('close', () => { children.delete(child) })
  return child
}
