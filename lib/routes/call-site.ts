import { fileURLToPath } from 'node:url'

const own = fileURLToPath(new URL('..', import.meta.url))

/** Where the application's code stands on the stack, as ` (in file:line)`; nothing when it cannot be told. For boot errors only: it takes a stack. */
export function callSite (): string {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 50
  const frames = String(new Error().stack).split('\n').slice(1)
  Error.stackTraceLimit = limit
  for (const frame of frames) {
    const at = (/ \((.+:\d+):\d+\)$/.exec(frame) ?? /^ +at (?:async )?(.+:\d+):\d+$/.exec(frame))?.[1]
    if (at === undefined || !/^(?:file:\/\/|\/|[A-Za-z]:\\)/.test(at)) continue
    const file = at.startsWith('file://') ? fileURLToPath(at) : at
    if (!file.includes('/node_modules/') && !file.startsWith(own)) return ` (in ${file})`
  }
  return ''
}
