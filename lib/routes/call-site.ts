import { fileURLToPath } from 'node:url'
import { getOrCreate } from '../util/objects.js'

const library = fileURLToPath(new URL('..', import.meta.url))

/** Number of frames to capture. Those of Fastify and of wrappers are above the application's. */
const maxFrames = 50

/**
 * Number of frames that reach the application, unless another library adds the route: ours, four of Fastify, and the
 * application's. Each frame costs time.
 */
const usualFrames = 6

/** A function whose callers are wanted. */
type Called = (...args: never[]) => unknown

/**
 * Returns the path of the file that declares the route of the running `onRoute` hook: the nearest file of the
 * application on the stack, otherwise that of the library that adds the route, otherwise `null`.
 *
 * Reads the frames of V8 instead of the stack as text, which resolves source maps and takes milliseconds for a route.
 * @param called the function that the hook calls. The stack below it is not read.
 */
export function declaringFile (called: Called): string | null {
  const near = declarerWithin(usualFrames, called)
  return (near?.kind === 'application' ? near : declarerWithin(maxFrames, called))?.path ?? null
}

function declarerWithin (frames: number, called: Called): StackFile | null {
  const { prepareStackTrace, stackTraceLimit } = Error
  let declarer: StackFile | null = null
  Error.stackTraceLimit = frames
  Error.prepareStackTrace = (_error, sites) => {
    declarer = firstDeclarer(sites)
    return ''
  }
  try {
    const place = { stack: '' }
    Error.captureStackTrace(place, called)
    void place.stack
  } finally {
    Error.prepareStackTrace = prepareStackTrace
    Error.stackTraceLimit = stackTraceLimit
  }
  return declarer
}

function firstDeclarer (sites: readonly NodeJS.CallSite[]): StackFile | null {
  let dependency: StackFile | null = null
  // the hook itself is always on top
  let isHook = true
  for (const site of sites) {
    const file = stackFile(site.getFileName() ?? '')
    isHook &&= file?.kind === 'own'
    if (file === null || isHook || file.kind === 'framework') continue
    if (file.kind === 'application') return file
    dependency ??= file
  }
  return dependency
}

interface StackFile {
  readonly path: string
  readonly kind: 'application' | 'dependency' | 'framework' | 'own'
}

const cache = new Map<string, StackFile | null>()

function stackFile (name: string): StackFile | null {
  return getOrCreate<string, StackFile | null>(cache, name, () => {
    const path = toPath(name)
    return path === null ? null : { path, kind: kindOf(path) }
  })
}

/** Returns the path of a frame's file, or `null` for parts of Node, evaluated code and named scripts. */
export function toPath (name: string): string | null {
  if (/^(?:[\\/]|[A-Za-z]:\\)/.test(name)) return name
  try {
    return name.startsWith('file://') ? fileURLToPath(name) : null
  } catch {
    return null
  }
}

function kindOf (path: string): StackFile['kind'] {
  if (path.startsWith(library)) return 'own'
  if (!/[\\/]node_modules[\\/]/.test(path)) return 'application'
  return /[\\/]node_modules[\\/](?:fastify|avvio|fastq)[\\/]/.test(path) ? 'framework' : 'dependency'
}

/**
 * Returns the place of the application's code on the stack, for boot errors: ` (in file:line)`, or an empty string if
 * there is none. Reads the stack as text, in which source maps are resolved.
 */
export function callSite (): string {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = maxFrames
  const { stack } = new Error()
  Error.stackTraceLimit = stackTraceLimit
  return placeIn(stack)
}

/** Returns the same as {@link callSite} for the stack of an error. */
export function placeIn (stack: unknown): string {
  for (const frame of String(stack).split('\n').slice(1)) {
    const at = (/ \((.+:\d+):\d+\)$/.exec(frame) ?? /^ +at (?:async )?(.+:\d+):\d+$/.exec(frame))?.[1]
    const file = toPath(at ?? '')
    if (file !== null && kindOf(file) === 'application') return ` (in ${file})`
  }
  return ''
}
